"""Raw files of new events, read as they are written: whatever their values look like."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from sequifier_hpo.config.preprocess import ID_COLUMNS
from sequifier_hpo.config.schema import did_you_mean
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.raw_files import (
    POLARS_FAULTS,
    RawTable,
    column_names,
    csv_names,
    is_text,
    read_file,
    unreadable,
)

_ROW = "number of the row in its file"


def read_as_text(path: Path, columns: Sequence[str]) -> RawTable:
    """Read the ids and some features of one file: Parquet if its name ends so, else CSV as text.

    Raises:
        InputError: If the file cannot be read or lacks a column.
    """
    is_csv, wanted = _checked_for_text(path, columns)
    frame = read_file(path, wanted, None, is_csv=is_csv, as_text=wanted)
    frame = _texts_as_strings(frame)
    return RawTable(frame, list(columns), ((path, frame.height),), is_csv)


def parts_as_text(
    path: Path, columns: Sequence[str], num_rows: int, *, sequence_ids: pl.Series | None = None
) -> Iterator[RawTable]:
    """The same in parts, of which one is in memory at a time; blank lines are passed over.

    Args:
        path: The file.
        columns: Its features that are read.
        num_rows: Of a part, about.
        sequence_ids: The only sequences that are read, as numbers; None = all.

    Raises:
        InputError: As `read_as_text`.
    """
    is_csv, wanted = _checked_for_text(path, columns)
    try:
        if is_csv:
            names = csv_names(path)
            table = pl.scan_csv(path, infer_schema=False, glob=False).rename(
                {there: name for name, there in names.items() if there != name}
            )
        else:
            table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        table = table.select(wanted).with_row_index(_ROW)
        table = table.filter(pl.any_horizontal(pl.col(wanted).is_not_null()))
        if sequence_ids is not None:
            ids = pl.col(ID_COLUMNS[0]).cast(pl.Int64, strict=False)
            table = table.filter(ids.is_in(sequence_ids.to_list()))
        for part in table.collect_batches(chunk_size=num_rows, maintain_order=True):
            rows = part.drop_in_place(_ROW)
            files = ((path, rows[-1] + 1 if len(rows) else 0),)
            yield RawTable(_texts_as_strings(part), list(columns), files, is_csv, rows=rows)
    except (*POLARS_FAULTS, OSError) as error:
        raise unreadable(path, error, is_csv=is_csv) from error


def _checked_for_text(path: Path, columns: Sequence[str]) -> tuple[bool, list[str]]:
    """Whether a file is CSV, and the columns to read, which it has."""
    is_csv = path.suffix != ".parquet"
    wanted = [*ID_COLUMNS, *columns]
    names = column_names(path, is_csv=is_csv)
    missing = [column for column in wanted if column not in names]
    if missing:
        raise InputError(
            f"{path} has no column `{missing[0]}`; it has " + ", ".join(f"`{n}`" for n in names),
            did_you_mean(missing[0], names)
            or "give it the columns of the table preprocessed before",
        )
    return is_csv, wanted


def _texts_as_strings(frame: pl.DataFrame) -> pl.DataFrame:
    texts = [name for name, dtype in frame.schema.items() if is_text(dtype)]
    return frame.with_columns(pl.col(texts).cast(pl.String))
