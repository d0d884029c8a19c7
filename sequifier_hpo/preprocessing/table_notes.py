"""What a table holds that was probably not meant: read as it stands, and said to the user."""

from collections.abc import Iterable, Iterator, Mapping

import polars as pl

from sequifier_hpo.preprocessing.categories import Categories, find_categories
from sequifier_hpo.preprocessing.event_table import ROW, EventTable
from sequifier_hpo.preprocessing.raw_files import csv_names
from sequifier_hpo.words import counted

_MAX_SHOWN = 4
_BEGINS_WITH_ZERO = r"^\s*[+-]?0\d"
_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"


def table_notes(table: EventTable, categories: Mapping[str, Categories]) -> list[str]:
    """Remarks on columns that are read otherwise than their owner may think."""
    return [
        *_index_notes(table),
        *_number_notes(table, categories),
        *_spelling_notes(table, categories),
    ]


def _index_notes(table: EventTable) -> Iterator[str]:
    for column, values in table.index.items():
        name, fix = f"the column `{column}`", "name it in `selected_columns` to keep it"
        if not column.strip() or column.startswith("_duplicated_"):
            name, fix = "the first column, which has no name", "give it a name to keep it"
        more = ", ..." if table.num_read > len(values) else ""
        yield (
            f"left out {name} ({counted(table.num_read, 'row')}: {', '.join(values)}{more}): "
            f"it looks like the row index of pandas; {fix}"
        )


def _number_notes(table: EventTable, categories: Mapping[str, Categories]) -> Iterator[str]:
    """Columns of decimal numbers that a few cells make a category."""
    for column in table.features:
        if column not in categories or table.schema[column] != pl.String:
            continue
        found = categories[column]
        cells = pl.DataFrame(
            {"text": found.values, "count": found.counts, "row": found.first_rows}
        ).with_columns(pl.col("text").str.strip_chars())
        texts = cells["text"]
        is_plain = texts.cast(pl.Float64, strict=False).is_not_null()
        is_like_number = is_plain | texts.str.contains(_DECIMAL_COMMA)
        is_decimal = is_like_number & texts.str.contains(r"[.,]\d")
        num_rows = int(cells["count"].sum())
        num_like_number = int(cells.filter(is_like_number)["count"].sum())
        if is_plain.all() or not is_decimal.any() or 2 * num_like_number <= num_rows:
            continue
        others = cells.filter(~is_plain).sort("row")
        yield (
            f"column `{column}` is a category ({len(found):,} of them), because "
            f"{others['count'].sum():,} of its {counted(num_rows, 'value')} are not written as "
            f"numbers: {_examples(others['text'].unique(maintain_order=True))}; correct these cells (20.7, without "
            "marks, units or thousands separators) if the column is numeric, or leave it "
            "out with `selected_columns`"
        )


def _spelling_notes(table: EventTable, categories: Mapping[str, Categories]) -> Iterator[str]:
    """Columns in which texts like `03` and `3` are one number."""
    if not table.is_csv:
        return
    names = [table.sequence, *table.features]
    whole = [name for name in names if table.schema[name].is_integer()]
    for column, spellings in _with_leading_zeros(table, whole).items():
        numbers = spellings.select(
            pl.col(column).cast(pl.Int64, strict=False).alias("number"), "count", text=column
        ).drop_nulls()
        values = categories.get(column) or find_categories(table, column)
        in_all = pl.DataFrame(
            {column: values.values.cast(pl.Int64, strict=False), "in_all": values.counts}
        )
        by_number = (
            numbers.group_by("number", maintain_order=True)
            .agg(pl.col("text"), pl.col("count").sum())
            .join(in_all.rename({column: "number"}), on="number", maintain_order="left")
        )
        is_merged = (pl.col("text").list.len() > 1) | (pl.col("in_all") > pl.col("count"))
        merged = by_number.filter(is_merged)
        if merged.is_empty():
            continue
        number, texts = merged.row(0)[:2]
        kind = "sequence" if column == table.sequence else "category"
        others = [text for text in (str(number), *texts[1:]) if text != texts[0]]
        yield (
            f"column `{column}` is read as whole numbers, so that `{texts[0]}` and `{others[0]}` are "
            f"one {kind}; {counted(int(merged['count'].sum()), 'value')} with a 0 in front "
            f"({_examples(merged['text'].explode())}) share one with another spelling; if they are "
            "names, put a letter in front of them, or store the table as Parquet with a text column"
        )


def _with_leading_zeros(table: EventTable, columns: list[str]) -> dict[str, pl.DataFrame]:
    """Column -> its texts that begin with a needless 0, and how often each occurs."""
    found: dict[str, list[pl.DataFrame]] = {}
    for path, num_rows in table.files if columns else ():
        in_header = csv_names(path)
        rows = pl.scan_csv(path, infer_schema=False, glob=False).head(num_rows)
        texts = rows.select(pl.col(in_header[column]).alias(column) for column in columns)
        begins = {column: pl.col(column).str.contains(_BEGINS_WITH_ZERO) for column in columns}
        is_there = texts.select(is_so.any().alias(c) for c, is_so in begins.items())
        for column, is_so in is_there.collect(engine="streaming").row(0, named=True).items():
            if is_so:
                counts = (
                    texts.select(column)
                    .with_row_index(ROW)
                    .filter(begins[column])
                    .group_by(pl.col(column).str.strip_chars())
                    .agg(pl.len().cast(pl.UInt32).alias("count"), pl.col(ROW).min())
                )
                found.setdefault(column, []).append(
                    counts.collect(engine="streaming").sort(ROW).drop(ROW)
                )
    return {
        column: pl.concat(parts).group_by(column, maintain_order=True).agg(pl.col("count").sum())
        for column, parts in found.items()
    }


def _examples(texts: Iterable[str]) -> str:
    shown = [f"`{text}`" for text in texts]
    return ", ".join(shown[:_MAX_SHOWN]) + (", ..." if shown[_MAX_SHOWN:] else "")
