"""Raw tables: their files as one table, whose columns have types that fit all values.

A folder of files is one table here, so that a sequence may go on in the next file; Sequifier
windows every file on its own. Files too large for memory become typed ones on disk, which are read part by part.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.event_table import ROW, EventTable
from sequifier_hpo.preprocessing.raw_files import (
    FIRST_ROWS,
    POLARS_FAULTS,
    choose_columns,
    common_type,
    csv_names,
    first_of_index,
    is_text,
    no_rows,
    numbers_of_text,
    read_file,
    unreadable,
)
from sequifier_hpo.words import first_line

# Rows that are read at a time: polars takes several groups into memory at once.
_ROW_GROUP = 2**17


def read_raw_table(
    config: PreprocessConfig, files: Sequence[Path], scratch: Path | None
) -> EventTable:
    """Read the id columns and the chosen features of all files.

    Args:
        config: What to read.
        files: The raw files.
        scratch: Folder for typed copies, about as large as the files; None = all fits into memory.

    Raises:
        InputError: If a file cannot be read, lacks a column, or disagrees with another one.
    """
    is_csv = config.is_csv
    chosen = choose_columns(config, files)
    parts: list[pl.LazyFrame] = []
    heights: list[int] = []
    rows_left = config.max_rows or None
    for i, path in enumerate(files):
        if rows_left == 0:
            break
        typed = None if scratch is None else scratch / f"raw{i}.parquet"
        part = _read(path, chosen.names, rows_left, typed, is_csv=is_csv)
        heights.append(_num_rows(path, part, is_csv=is_csv))
        parts.append(part.head(heights[-1]))
        rows_left = None if rows_left is None else rows_left - heights[-1]
    rows = pl.concat(_with_common_types(files, parts, heights, scratch, is_csv=is_csv))
    if is_csv:
        rows = _with_numbers_of_text(rows)
    if not sum(heights):
        raise no_rows(config)
    rows = rows.with_row_index(ROW)
    return EventTable(
        rows=rows.collect().lazy() if scratch is None else rows,
        num_rows=sum(heights),
        features=chosen.features,
        sequence=chosen.ids[0],
        order=chosen.ids[1],
        files=tuple(zip(files, heights, strict=False)),
        is_csv=is_csv,
        index=first_of_index(files[0], chosen, is_csv=is_csv),
        is_stored=scratch is not None,
    )


def _read(
    path: Path,
    columns: list[str],
    max_rows: int | None,
    typed: Path | None,
    *,
    is_csv: bool,
    as_text: Sequence[str] = (),
) -> pl.LazyFrame:
    """A file as a table of typed columns, in memory, or, if it is CSV, as the copy `typed`."""
    if typed is None:
        return read_file(path, columns, max_rows, is_csv=is_csv, as_text=as_text).lazy()
    try:
        if not is_csv:
            rows = pl.scan_parquet(path, n_rows=max_rows, glob=False, hive_partitioning=False)
            return rows.select(columns)
        in_header = csv_names(path)

        def store(rows_that_decide_types: int | None) -> None:
            rows = pl.scan_csv(
                path,
                n_rows=max_rows,
                glob=False,
                infer_schema_length=rows_that_decide_types,
                schema_overrides={in_header[column]: pl.String for column in as_text},
            ).select(pl.col(in_header[column]).alias(column) for column in columns)
            # Opened here: after an error, a thread of polars might still create it.
            with typed.open("wb") as file:
                rows.sink_parquet(
                    file,
                    compression="lz4",
                    row_group_size=_ROW_GROUP,
                    statistics=False,
                    maintain_order=True,
                )

        try:
            store(FIRST_ROWS)
        except POLARS_FAULTS:
            store(None)  # as in `raw_files`: a decimal point, or a word, may come late
        return pl.scan_parquet(typed, glob=False)
    except (*POLARS_FAULTS, OSError) as error:
        raise unreadable(path, error, is_csv=is_csv) from error


def _num_rows(path: Path, part: pl.LazyFrame, *, is_csv: bool) -> int:
    """The rows of a file, without those that blank lines at the end of a CSV file become."""
    try:
        if not is_csv:
            return int(part.select(pl.len()).collect(engine="streaming").item())
        filled = part.select(pl.any_horizontal(pl.all().is_not_null()).alias("is_filled"))
        last = (
            filled.with_row_index(ROW)
            .filter("is_filled")
            .select(pl.col(ROW).max())
            .collect(engine="streaming")
            .item()
        )
        return 0 if last is None else int(last) + 1
    except (*POLARS_FAULTS, OSError) as error:
        raise unreadable(path, error, is_csv=is_csv) from error


def _with_common_types(
    files: Sequence[Path],
    parts: Sequence[pl.LazyFrame],
    heights: Sequence[int],
    scratch: Path | None,
    *,
    is_csv: bool,
) -> list[pl.LazyFrame]:
    schemas = [part.collect_schema() for part in parts]
    columns = list(schemas[0])
    common = {
        column: common_type(column, files, [schema[column] for schema in schemas], is_csv=is_csv)
        for column in columns
    }
    result = []
    for i, (path, part, schema) in enumerate(zip(files, parts, schemas, strict=False)):
        text = [c for c in columns if common[c] == pl.String and schema[c] != pl.String]
        if is_csv and text:
            # `01` is the number 1 in one file, but a text where another file has `a1`.
            typed = None if scratch is None else scratch / f"text{i}.parquet"
            again = _read(path, columns, heights[i], typed, is_csv=True, as_text=text)
            result.append(_cast(path, again.head(heights[i]), common))
        else:
            result.append(_cast(path, part, common))
    return result


def _cast(path: Path, part: pl.LazyFrame, types: Mapping[str, pl.DataType]) -> pl.LazyFrame:
    changed = [c for c, dtype in part.collect_schema().items() if dtype != types[c]]
    if not changed:
        return part
    cast = part.with_columns(pl.col(column).cast(types[column]) for column in changed)
    try:
        cast.select(pl.col(changed).null_count()).collect(engine="streaming")
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"the columns of {path} do not match those of the other files: {first_line(error)}",
            "store the columns with the same types in all files",
        ) from error
    return cast


def _with_numbers_of_text(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The text columns as numbers where every text is one, with spaces or a plus sign perhaps."""
    numbers = []
    for name, dtype in rows.collect_schema().items():
        if is_text(dtype):
            distinct = rows.select(pl.col(name).unique()).collect(engine="streaming").to_series()
            found = numbers_of_text(distinct).dtype
            if found != dtype:
                texts = pl.col(name).str.strip_chars()
                numbers.append(texts.cast(found, strict=False))
    return rows.with_columns(numbers)
