"""What a table holds that was probably not meant: read as it stands, and said to the user."""

from collections.abc import Iterable, Iterator

import polars as pl

from sequifier_hpo.preprocessing.raw_files import RawTable, csv_names
from sequifier_hpo.words import counted

_MAX_SHOWN = 4
_BEGINS_WITH_ZERO = r"^\s*[+-]?0\d"
_DECIMAL_COMMA = r"^[+-]?\d+,\d+$"


def table_notes(table: RawTable) -> list[str]:
    """Remarks on columns that are read otherwise than their owner may think."""
    return [*_index_notes(table), *_number_notes(table), *_spelling_notes(table)]


def _index_notes(table: RawTable) -> Iterator[str]:
    for column, values in table.index.items():
        name, fix = f"the column `{column}`", "name it in `selected_columns` to keep it"
        if not column.strip() or column.startswith("_duplicated_"):
            name, fix = "the first column, which has no name", "give it a name to keep it"
        more = ", ..." if table.frame.height > len(values) else ""
        yield (
            f"left out {name} ({counted(table.frame.height, 'row')}: {', '.join(values)}{more}): "
            f"it looks like the row index of pandas; {fix}"
        )


def _number_notes(table: RawTable) -> Iterator[str]:
    """Columns of decimal numbers that a few cells make a category."""
    for column in table.features:
        values = table.frame[column]
        if values.dtype != pl.String:
            continue
        texts = values.str.strip_chars()
        is_plain = texts.cast(pl.Float64, strict=False).is_not_null()
        is_like_number = is_plain | texts.str.contains(_DECIMAL_COMMA)
        is_decimal = is_like_number & texts.str.contains(r"[.,]\d")
        if is_plain.all() or not is_decimal.any() or 2 * is_like_number.sum() <= len(values):
            continue
        others = texts.filter(~is_plain)
        yield (
            f"column `{column}` is a category ({values.n_unique():,} of them), because "
            f"{len(others):,} of its {counted(len(values), 'value')} are not written as numbers: "
            f"{_examples(others.unique(maintain_order=True))}; correct these cells (20.7, without "
            "marks, units or thousands separators) if the column is numeric, or leave it "
            "out with `selected_columns`"
        )


def _spelling_notes(table: RawTable) -> Iterator[str]:
    """Columns in which texts like `03` and `3` are one number."""
    if not table.is_csv:
        return
    names = ["sequenceId", *table.features]
    whole = [name for name in names if table.frame.schema[name].is_integer()]
    for column, spellings in _with_leading_zeros(table, whole).items():
        numbers = spellings.select(
            pl.col(column).cast(pl.Int64, strict=False).alias("number"), "count", text=column
        ).drop_nulls()
        in_all = table.frame[column].cast(pl.Int64, strict=False).value_counts(name="in_all")
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
        kind = "sequence" if column == "sequenceId" else "category"
        others = [text for text in (str(number), *texts[1:]) if text != texts[0]]
        yield (
            f"column `{column}` is read as whole numbers, so that `{texts[0]}` and `{others[0]}` are "
            f"one {kind}; {counted(int(merged['count'].sum()), 'value')} with a 0 in front "
            f"({_examples(merged['text'].explode())}) share one with another spelling; if they are "
            "names, put a letter in front of them, or store the table as Parquet with a text column"
        )


def _with_leading_zeros(table: RawTable, columns: list[str]) -> dict[str, pl.DataFrame]:
    """Column -> its texts that begin with a needless 0, and how often each occurs."""
    found: dict[str, list[pl.DataFrame]] = {}
    for path, num_rows in table.files:
        in_header = csv_names(path)
        texts = pl.scan_csv(path, infer_schema=False, glob=False).head(num_rows)
        chosen = [
            pl.col(in_header[column])
            .filter(pl.col(in_header[column]).str.contains(_BEGINS_WITH_ZERO))
            .str.strip_chars()
            .alias(column)
            .value_counts(name="count")
            .implode()
            for column in columns
        ]
        counts = texts.select(chosen).collect(engine="streaming") if chosen else pl.DataFrame()
        for column in counts.columns:
            spellings = counts[column].explode().drop_nulls()
            if len(spellings):
                found.setdefault(column, []).append(spellings.struct.unnest())
    return {
        column: pl.concat(parts).group_by(column, maintain_order=True).agg(pl.col("count").sum())
        for column, parts in found.items()
    }


def _examples(texts: Iterable[str]) -> str:
    shown = [f"`{text}`" for text in texts]
    return ", ".join(shown[:_MAX_SHOWN]) + (", ..." if shown[_MAX_SHOWN:] else "")
