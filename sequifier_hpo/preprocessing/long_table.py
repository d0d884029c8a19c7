"""The long table of a split: one row per window and feature column, as CSV or Parquet."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

from sequifier_hpo.preprocessing.encode import ColumnKind, EncodedColumn
from sequifier_hpo.preprocessing.staging import disk_faults
from sequifier_hpo.preprocessing.windows import Layout, Windows
from sequifier_hpo.stored_tables import WINDOW_COLUMNS

# Numbers made at once: 32 MiB of them, whatever the length of the windows.
_CHUNK_NUMBERS = 4 * 2**20
_ROW_GROUP_NUMBERS = 4 * 2**20


def write_long_table(
    path: Path,
    write_format: str,
    layout: Layout,
    columns: Sequence[EncodedColumn],
    begin: int = 0,
    end: int | None = None,
) -> None:
    """Write the windows of a split from `begin` to before `end`; `write_format` is csv or parquet.

    Raises:
        EnvironmentFaultError: If the disk is full or not writable.
    """
    schema = table_schema(layout.seq_length, columns)
    with disk_faults(path):
        chunks = _chunks(layout, columns, begin, len(layout) if end is None else end)
        if write_format == "csv":
            _write_csv(path, schema, chunks)
        else:
            _write_parquet(path, schema, chunks, layout.seq_length)


def _write_csv(path: Path, schema: pl.Schema, chunks: Iterator[pl.DataFrame]) -> None:
    with path.open("wb") as file:
        schema.to_frame().write_csv(file)
        for chunk in chunks:
            chunk.write_csv(file, include_header=False)


def _write_parquet(
    path: Path, schema: pl.Schema, chunks: Iterator[pl.DataFrame], seq_length: int
) -> None:
    """Stream the chunks into one file: the whole table may be far larger than the raw one."""

    def produce(
        with_columns: list[str] | None,
        predicate: pl.Expr | None,
        n_rows: int | None,
        batch_size: int | None,  # noqa: ARG001 - a wish of polars that sources may disregard
    ) -> Iterator[pl.DataFrame]:
        assert with_columns is None, "a sink asks for whole rows"
        assert predicate is None, "a sink asks for all rows"
        assert n_rows is None, "a sink asks for all rows"
        yield from chunks

    row_group = max(_ROW_GROUP_NUMBERS // (seq_length + 1), 1)
    try:
        register_io_source(produce, schema=schema).sink_parquet(
            path, compression="snappy", row_group_size=row_group, maintain_order=True
        )
    except pl.exceptions.ComputeError as error:
        # polars packs what the system said about the disk into the text of its own error.
        _, is_about_disk, reason = str(error).rpartition("IO error: ")
        if not is_about_disk:
            raise
        raise OSError(reason) from error


def table_schema(seq_length: int, columns: Sequence[EncodedColumn]) -> pl.Schema:
    """Columns and types of the long table: ids stay whole only when no column is real."""
    types: dict[str, pl.DataType] = dict.fromkeys(WINDOW_COLUMNS, pl.Int64())
    types["inputCol"] = pl.String()
    items = pl.Int64() if _dtype(columns) == np.int64 else pl.Float64()
    return pl.Schema(types | {str(i): items for i in range(seq_length, -1, -1)})


def _dtype(columns: Sequence[EncodedColumn]) -> type[np.int64] | type[np.float64]:
    is_whole = all(column.kind is ColumnKind.CATEGORICAL for column in columns)
    return np.int64 if is_whole else np.float64


def _chunks(
    layout: Layout, columns: Sequence[EncodedColumn], begin: int, end: int
) -> Iterator[pl.DataFrame]:
    step = max(_CHUNK_NUMBERS // (len(columns) * (layout.seq_length + 1)), 1)
    for first in range(begin, end, step):
        yield _chunk(layout.part(first, min(first + step, end)), columns)


def _chunk(windows: Windows, columns: Sequence[EncodedColumn]) -> pl.DataFrame:
    num_windows, num_columns = len(windows), len(columns)
    ids = (windows.sequence_ids, windows.subsequence_ids, windows.start_positions)
    series = [
        pl.Series(name, np.repeat(values, num_columns))
        for name, values in zip(WINDOW_COLUMNS, ids, strict=False)
    ]
    names = pl.Series("inputCol", [column.name for column in columns])
    series.append(names.gather(np.tile(np.arange(num_columns), num_windows)))
    num_items = windows.seq_length + 1
    items = np.empty((num_items, num_windows, num_columns), dtype=_dtype(columns))
    for i, column in enumerate(columns):
        of_column = column.numbers.windows(windows.first_rows, windows.lower_rows, num_items)
        items[:, :, i] = of_column.T
    series += [
        pl.Series(str(windows.seq_length - offset), items[offset].reshape(-1))
        for offset in range(num_items)
    ]
    return pl.DataFrame(series)
