"""Digests of a split's values: the same for the same windows, however they are stored."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.preprocessing.encode import ColumnKind
from sequifier_hpo.preprocessing.split_pieces import Piece

# Little-endian. Reals are trained on in single precision, and shards hold nothing else; ids are
# whole numbers, which doubles hold exactly and tables that mix both kinds store as such.
_DTYPES = {ColumnKind.CATEGORICAL: "<f8", ColumnKind.REAL: "<f4"}

# Each holds a copy of a column's piece.
_NUM_THREADS = 4


class ColumnValues(FrozenModel):
    """A column's values, without their meaning."""

    kind: ColumnKind
    sha256: str


class SplitValues(FrozenModel):
    """The contents of a split, without their meaning."""

    num_windows: int
    window_length: int
    """L: windows hold L + 1 items."""
    names: list[str]
    """All columns of the split."""
    columns: dict[str, ColumnValues]
    """Those that were asked for."""
    padding: str
    """SHA-256 of the number of padding items of every window, if `startItemPosition` tells it."""

    def missing(self, kinds: Mapping[str, ColumnKind]) -> list[str]:
        """Columns of the split that are not digested as what they are."""
        found = {name: column.kind for name, column in self.columns.items()}
        return [name for name in self.names if name in kinds and found.get(name) != kinds[name]]


def digest_pieces(
    pieces: Iterable[Piece],
    names: list[str],
    window_length: int,
    kinds: Mapping[str, ColumnKind],
) -> SplitValues:
    """Digest some columns in one pass; two pieces are in memory at a time.

    Args:
        pieces: The windows of the split, in their order.
        names: All columns of the split.
        window_length: L, items of a window less one.
        kinds: The columns to be digested, and as what.

    Raises:
        InputError: If a piece cannot be read.
    """
    hashes = {name: _ValueHash(kind) for name, kind in kinds.items()}
    padding = hashlib.sha256()
    num_windows = 0
    running: list[Future[None]] = []
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        # While one piece is digested, the next is read.
        for piece in pieces:
            _finish(running)
            running = [
                pool.submit(column.add, piece.columns[name]) for name, column in hashes.items()
            ]
            padding.update(np.maximum(-piece.start_positions, 0).astype("<i8").data)
            num_windows += len(piece.start_positions)
        _finish(running)
    return SplitValues(
        num_windows=num_windows,
        window_length=window_length,
        names=names,
        columns={
            name: column.finished((num_windows, window_length + 1))
            for name, column in hashes.items()
        },
        padding=padding.hexdigest(),
    )


def _finish(running: Iterable[Future[None]]) -> None:
    for future in running:
        future.result()


class _ValueHash:
    """SHA-256 of a column's windows in order, row-major, and of kind and shape after them."""

    def __init__(self, kind: ColumnKind) -> None:
        self._kind = kind
        self._sha256 = hashlib.sha256()

    def add(self, read: Callable[[], NDArray[Any]]) -> None:
        with np.errstate(all="ignore"):  # what single precision cannot hold is infinite
            values = np.array(read(), dtype=_DTYPES[self._kind], order="C")
            values += 0.0  # -0.0 becomes 0.0
            is_nan = np.isnan(values)
        if is_nan.any():
            values[is_nan] = np.nan
        self._sha256.update(values.data)

    def finished(self, shape: tuple[int, int]) -> ColumnValues:
        self._sha256.update(f"{self._kind} {shape[0]} x {shape[1]}".encode())
        return ColumnValues(kind=self._kind, sha256=self._sha256.hexdigest())
