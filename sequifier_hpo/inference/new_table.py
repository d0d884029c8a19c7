"""A table of new events, a part at a time: as many whole sequences as the memory holds.

A table that is larger is first divided into files by ranges of its sequences, whose bounds come from
a sample of them.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.preprocessing.new_rows import named_by, rows_of, sequences_in
from sequifier_hpo.preprocessing.raw_files import RawTable
from sequifier_hpo.preprocessing.raw_text import FILE_ROW, parts_as_text, read_as_text

BYTES_IN_MEMORY = 96 * 2**20
"""Of a file; as text in memory its events take about five times as much."""
_ROWS_AT_ONCE = 500_000
_EVERY = 64  # rows of which one decides about the bounds


def whole_sequences(
    path: Path,
    columns: Sequence[str],
    metadata: DataMetadata,
    *,
    sequence_ids: Sequence[str] | None = None,
    bytes_in_memory: int = BYTES_IN_MEMORY,
) -> Iterator[RawTable]:
    """The events of a table, in parts that hold whole sequences, ascending.

    Args:
        path: Parquet if its name ends so, else CSV.
        columns: Its features that are read.
        metadata: What preprocessing has learned about the columns.
        sequence_ids: The only sequences that are wanted; None = all.
        bytes_in_memory: How much of the file is in memory at a time.

    Raises:
        InputError: If it cannot be read, or lacks a column.
    """
    num_parts = -(-_size(path, columns) // bytes_in_memory)
    if num_parts <= 1:
        yield read_as_text(path, columns, metadata)
    elif sequence_ids is not None:
        wanted = named_by(sequence_ids, metadata).drop_nulls().to_list()
        yield _joined(
            [
                rows_of(part, _sequences(part, metadata).is_in(wanted).fill_null(value=False))
                for part in parts_as_text(path, columns, metadata, _ROWS_AT_ONCE)
            ]
        )
    else:
        yield from _divided(path, columns, metadata, num_parts)


def _size(path: Path, columns: Sequence[str]) -> int:
    """About how many bytes the columns are as text."""
    if not path.is_file():
        return 0  # whoever reads it says so
    if path.suffix != ".parquet":
        return path.stat().st_size
    try:
        num_rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
    except pl.exceptions.PolarsError:
        return 0
    return int(num_rows) * 8 * (len(columns) + 2)


def _divided(
    path: Path, columns: Sequence[str], metadata: DataMetadata, num_parts: int
) -> Iterator[RawTable]:
    bounds = _bounds(path, metadata, num_parts)
    with tempfile.TemporaryDirectory(prefix="sequifier-hpo-") as folder:
        files = _write_parts(path, columns, metadata, bounds, Path(folder))
        for i in range(len(bounds) + 1):
            if i not in files:
                continue
            frame = pl.concat(pl.read_parquet(file) for file in files[i])
            rows = frame.drop_in_place(FILE_ROW)
            is_csv = path.suffix != ".parquet"
            yield RawTable(frame, list(columns), ((path, rows[-1] + 1),), is_csv, rows=rows)
            for file in files[i]:
                file.unlink()


def _write_parts(
    path: Path, columns: Sequence[str], metadata: DataMetadata, bounds: pl.Series, folder: Path
) -> dict[int, list[Path]]:
    """Range of sequences -> its files, in the order of the table."""
    files: dict[int, list[Path]] = {}
    for number, table in enumerate(parts_as_text(path, columns, metadata, _ROWS_AT_ONCE)):
        # What is no sequence belongs anywhere, where it is found and refused.
        places = bounds.search_sorted(_sequences(table, metadata), side="right")
        assert table.rows is not None
        frame = table.frame.with_columns(table.rows.alias(FILE_ROW))
        for place in places.unique():
            part = frame.filter(places == place)
            file = folder / f"{place}-{number}.parquet"
            part.write_parquet(file, compression="lz4")
            files.setdefault(place, []).append(file)
    return files


def _bounds(path: Path, metadata: DataMetadata, num_parts: int) -> pl.Series:
    """The first sequence of every range but the first."""
    sample = [
        _sequences(part, metadata).gather_every(_EVERY)
        for part in parts_as_text(path, [], metadata, _ROWS_AT_ONCE)
    ]
    ids = pl.concat(sample).drop_nulls().sort()
    places = [len(ids) * i // num_parts for i in range(1, num_parts)]
    return ids.gather(places).unique().sort() if len(ids) else ids


def _sequences(table: RawTable, metadata: DataMetadata) -> pl.Series:
    return sequences_in(table.frame.to_series(0), metadata)


def _joined(parts: Sequence[RawTable]) -> RawTable:
    rows = pl.concat([part.rows for part in parts if part.rows is not None])
    return replace(parts[-1], frame=pl.concat([part.frame for part in parts]), rows=rows)
