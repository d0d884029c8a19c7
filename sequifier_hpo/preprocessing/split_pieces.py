"""The values of a split, some windows at a time: of a stored one in any format, or of memory."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sequifier_hpo.preprocessing.encode import EncodedColumn
from sequifier_hpo.preprocessing.shard_file import (
    SHARD_FAULTS,
    StoredTensor,
    read_shard,
    window_rows,
)
from sequifier_hpo.preprocessing.stored_split import StoredSplit
from sequifier_hpo.preprocessing.windows import Layout
from sequifier_hpo.stored_tables import (
    INDEX,
    TABLE_FAULTS,
    not_a_split,
    read_listing,
    scan_windows,
)
from sequifier_hpo.words import first_line

# What is in memory at a time: 8 MiB of the numbers of one column, or 32 MiB of all of a table.
_COLUMN_VALUES = 2**20
_TABLE_VALUES = 4 * 2**20

Values = NDArray[Any]


@dataclass(frozen=True)
class Piece:
    """The next windows of a split."""

    columns: Mapping[str, Callable[[], Values]]
    """Column -> makes its windows, (rows, L + 1), oldest item first; from any thread."""
    start_positions: Values
    """`startItemPosition` of every window."""


def pieces_in_memory(layout: Layout, columns: Sequence[EncodedColumn]) -> Iterator[Piece]:
    """Windows that are not stored yet."""
    for begin, end in _steps(len(layout), layout.seq_length):
        windows = layout.part(begin, end)
        places = windows.first_rows, windows.lower_rows, layout.seq_length + 1
        yield Piece(
            {c.name: partial(c.numbers.windows, *places) for c in columns},
            windows.start_positions,
        )


def pieces_of_table(path: Path, read_format: str, described: StoredSplit) -> Iterator[Piece]:
    """The windows of a long table, in the order of its rows.

    Raises:
        InputError: If it cannot be read, or does not list the same columns for every window.
    """
    names, length = described.columns, described.window_length + 1
    table, items = scan_windows(path, read_format)
    table = table.select(
        "inputCol",
        pl.col("startItemPosition").cast(pl.Float64).fill_null(0).fill_nan(0),
        pl.col(items).cast(pl.Float64),
    )
    num_windows = max(_TABLE_VALUES // (len(names) * length), 1)
    rest: pl.DataFrame | None = None
    try:
        for batch in table.collect_batches(
            chunk_size=num_windows * len(names), maintain_order=True
        ):
            rows = batch if rest is None else pl.concat([rest, batch])
            whole = rows.height // len(names) * len(names)
            rest = rows.slice(whole)
            if whole:
                yield _table_piece(path, rows.head(whole), names, items)
    except TABLE_FAULTS as error:
        reason = first_line(error)
        raise not_a_split(path, f"it cannot be read to its end: {reason}") from error


def _table_piece(path: Path, rows: pl.DataFrame, names: list[str], items: list[str]) -> Piece:
    num_windows = rows.height // len(names)
    expected = pl.Series(names).gather(np.tile(np.arange(len(names)), num_windows))
    if rows["inputCol"].ne_missing(expected).any():
        raise not_a_split(path, "its windows do not all list the same columns in the same order")
    values = rows.select(items).to_numpy(order="c").reshape(num_windows, len(names), len(items))
    return Piece(
        {name: partial(values.__getitem__, (slice(None), i)) for i, name in enumerate(names)},
        rows["startItemPosition"].gather_every(len(names)).to_numpy(),
    )


def pieces_of_shards(folder: Path, described: StoredSplit) -> Iterator[Piece]:
    """The windows of tensor shards, in the order of their listing.

    Raises:
        InputError: If a shard cannot be read, or is not like the others; also from the columns.
    """
    with _shard_faults(folder / INDEX):
        listing = read_listing(folder)
    for path, samples in listing.shards:
        shape = (samples, described.window_length)
        with _shard_faults(path):
            inputs, targets, _, _, start_positions = read_shard(path)
            tensors = {name: (inputs[name], targets[name]) for name in described.columns}
            if any(tensor.shape != shape for pair in tensors.values() for tensor in pair):
                raise ValueError(f"its windows are not all of shape {shape}")
        for begin, end in _steps(*shape):
            with _shard_faults(path):
                starts = start_positions.rows(begin, end)
            yield Piece(
                {name: partial(_shard_rows, path, *tensors[name], begin, end) for name in tensors},
                starts,
            )


def _shard_rows(
    path: Path, inputs: StoredTensor, targets: StoredTensor, begin: int, end: int
) -> Values:
    with _shard_faults(path):
        return window_rows(inputs, targets, begin, end)


@contextmanager
def _shard_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except SHARD_FAULTS as error:
        raise not_a_split(path, f"its content is not that of a shard: {error}") from error


def _steps(num_windows: int, seq_length: int) -> Iterator[tuple[int, int]]:
    step = max(_COLUMN_VALUES // (seq_length + 1), 1)
    for begin in range(0, num_windows, step):
        yield begin, min(begin + step, num_windows)
