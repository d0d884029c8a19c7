"""Raw files of new events, read as they are written: whatever their values look like."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import polars as pl

from sequifier_hpo.config.metadata import DataMetadata
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

FILE_ROW = "number of the row in its file"


def read_as_text(path: Path, columns: Sequence[str], metadata: DataMetadata) -> RawTable:
    """Read the ids and some features of one file: Parquet if its name ends so, else CSV as text.

    Beside them the frame has what decides which rows are left out, where the file has it.

    Args:
        path: The file.
        columns: Its features that are read.
        metadata: What preprocessing has learned about the columns.

    Raises:
        InputError: If the file cannot be read or lacks a column.
    """
    is_csv, wanted = _checked_for_text(path, columns, metadata)
    frame = read_file(path, wanted, None, is_csv=is_csv, as_text=wanted)
    frame = _texts_as_strings(frame)
    return RawTable(frame, list(columns), ((path, frame.height),), is_csv)


def parts_as_text(
    path: Path, columns: Sequence[str], metadata: DataMetadata, num_rows: int
) -> Iterator[RawTable]:
    """The same in parts, of which one is in memory at a time; blank lines are passed over.

    Args:
        path: The file.
        columns: Its features that are read.
        metadata: What preprocessing has learned about the columns.
        num_rows: Of a part, about.

    Raises:
        InputError: As `read_as_text`.
    """
    is_csv, wanted = _checked_for_text(path, columns, metadata)
    try:
        if is_csv:
            names = csv_names(path)
            table = pl.scan_csv(path, infer_schema=False, glob=False).rename(
                {there: name for name, there in names.items() if there != name}
            )
        else:
            table = pl.scan_parquet(path, glob=False, hive_partitioning=False)
        table = table.select(wanted).with_row_index(FILE_ROW)
        table = table.filter(pl.any_horizontal(pl.col(wanted).is_not_null()))
        for part in table.collect_batches(chunk_size=num_rows, maintain_order=True):
            rows = part.drop_in_place(FILE_ROW)
            files = ((path, rows[-1] + 1 if len(rows) else 0),)
            yield RawTable(_texts_as_strings(part), list(columns), files, is_csv, rows=rows)
    except (*POLARS_FAULTS, OSError) as error:
        raise unreadable(path, error, is_csv=is_csv) from error


def _checked_for_text(
    path: Path, columns: Sequence[str], metadata: DataMetadata
) -> tuple[bool, list[str]]:
    """Whether a file is CSV, and the columns to read, which it has."""
    is_csv = path.suffix != ".parquet"
    wanted = [*metadata.id_columns, *columns]
    names = column_names(path, is_csv=is_csv)
    missing = [column for column in wanted if column not in names]
    if missing:
        raise InputError(
            f"{path} has no column `{missing[0]}`; it has " + ", ".join(f"`{n}`" for n in names),
            did_you_mean(missing[0], names)
            or "give it the columns of the table preprocessed before",
        )
    dropping = [c for c, policy in metadata.missing.items() if policy == "drop" and c in names]
    return is_csv, list(dict.fromkeys([*wanted, *dropping]))


def _texts_as_strings(frame: pl.DataFrame) -> pl.DataFrame:
    texts = [name for name, dtype in frame.schema.items() if is_text(dtype)]
    return frame.with_columns(pl.col(texts).cast(pl.String))
