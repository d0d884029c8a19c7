"""Where windows lie: split bounds, window starts, and the items of a window. Pure arithmetic.

A window of `seq_length` L has L + 1 consecutive items of one sequence within one split. Rows are
rows of the table sorted by sequence and item; nothing here knows what the columns hold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sequifier_hpo.errors import InputError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sequences:
    """The sequences of a sorted table, ascending by id."""

    ids: Ints
    first_rows: Ints
    lengths: Ints

    def __len__(self) -> int:
        return len(self.ids)

    def holding(self, begin: int, end: int) -> tuple[int, int]:
        """Indices of the sequences that hold the rows from `begin` to before `end`: first, and end."""
        first = np.searchsorted(self.first_rows, begin, side="right") - 1
        return int(first), int(np.searchsorted(self.first_rows, end, side="left"))


@dataclass(frozen=True)
class Windows:
    """Some windows of one split, ordered by sequence and then by start; one entry per window."""

    seq_length: int
    sequence_ids: Ints
    subsequence_ids: Ints
    """From 0 within each sequence's share of the split."""
    start_positions: Ints
    """Offset of the first item within the split's share; below 0 = padding comes first.

    Adding j gives the offset of the window's j-th item, in padded windows too.
    """
    first_rows: Ints
    """Row of the first item; of padding, the row it would stand in."""
    lower_rows: Ints
    """First row of the sequence's share of the split: everything before it is padding."""

    def __len__(self) -> int:
        return len(self.first_rows)


@dataclass(frozen=True)
class Layout:
    """Where all windows of one split lie, before they are laid out one by one."""

    seq_length: int
    sequences: Sequences
    bounds: Ints
    split: int
    present: Ints
    """Indices of the sequences that have items in the split."""
    num_windows: Ints
    """Of each of these, at least 1."""
    num_padded: int
    """Sequences whose share was shorter than a window."""

    @property
    def num_absent(self) -> int:
        """Sequences without any item in this split."""
        return len(self.sequences) - len(self.present)

    @cached_property
    def _ends(self) -> Ints:
        return np.cumsum(self.num_windows)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def part(self, begin: int = 0, end: int | None = None) -> Windows:
        """The windows from `begin` up to, not including, `end`; None = to the last."""
        numbers = np.arange(begin, len(self) if end is None else min(end, len(self)))
        places = np.searchsorted(self._ends, numbers, side="right")
        ordinals = numbers - (self._ends - self.num_windows)[places]
        owners = self.present[places]
        lower, upper = (self.bounds[owners, self.split + i] for i in (0, 1))
        padding, last_starts = _padding(upper - lower, self.seq_length)
        starts = _starts(ordinals, last_starts, self.num_windows[places])
        lower_rows = self.sequences.first_rows[owners] + lower
        return Windows(
            seq_length=self.seq_length,
            sequence_ids=self.sequences.ids[owners],
            subsequence_ids=ordinals,
            start_positions=starts - padding,
            first_rows=lower_rows - padding + starts,
            lower_rows=lower_rows,
        )


def find_sequences(sorted_ids: Ints) -> Sequences:
    """The runs of equal ids in a sorted id column."""
    is_first = np.empty(len(sorted_ids), dtype=np.bool_)
    is_first[:1] = True
    np.not_equal(sorted_ids[1:], sorted_ids[:-1], out=is_first[1:])
    first_rows = np.flatnonzero(is_first).astype(np.int64)
    lengths = np.diff(first_rows, append=len(sorted_ids))
    return Sequences(sorted_ids[first_rows], first_rows, lengths)


def joined(parts: Sequence[Sequences]) -> Sequences:
    """The sequences of a table whose parts, at least one, were looked at in order."""
    ids = np.concatenate([part.ids for part in parts])
    lengths = np.concatenate([part.lengths for part in parts])
    firsts = find_sequences(ids).first_rows
    lengths = np.add.reduceat(lengths, firsts)
    return Sequences(ids[firsts], np.cumsum(lengths) - lengths, lengths)


def split_bounds(lengths: Ints, ratios: Sequence[Fraction]) -> Ints:
    """Item bounds of every split of every sequence, shape (sequences, splits + 1).

    Split i of a sequence holds its items from bound i up to, not including, bound i + 1. The first
    bound is 0, the last the length, and those between are the floor of the length times the exact
    sum of the ratios so far: rounding errors never lose an item.
    """
    distinct, where = np.unique(lengths, return_inverse=True)
    # There are far fewer lengths than sequences, so that exact fractions cost nothing.
    sums = [sum(ratios[: i + 1], Fraction(0)) for i in range(len(ratios) - 1)]
    rows = [[0, *(min(int(n * total), n) for total in sums), n] for n in distinct.tolist()]
    bounds = np.array(rows, dtype=np.int64).reshape(len(distinct), len(ratios) + 1)
    return bounds[where]


def bounds_in_time(orders: Iterable[Ints], sequences: Sequences, cuts: Sequence[int]) -> Ints:
    """Item bounds of every split of every sequence, for splits that begin at one moment for all.

    Args:
        orders: What orders the items, of all rows, in parts.
        sequences: All sequences of the table.
        cuts: First moment of each split but the first, ascending.

    Returns:
        As `split_bounds`.
    """
    bounds = np.zeros((len(sequences), len(cuts) + 2), dtype=np.int64)
    bounds[:, -1] = sequences.lengths
    row = 0
    for part in orders:
        first, last = sequences.holding(row, row + len(part))
        begins = np.maximum(sequences.first_rows[first:last] - row, 0)
        for i, cut in enumerate(cuts, start=1):
            bounds[first:last, i] += np.add.reduceat((part < cut).astype(np.int64), begins)
        row += len(part)
    return bounds


def rows_of_first_split(
    sequences: Sequences, bounds: Ints, begin: int, end: int
) -> npt.NDArray[np.bool_]:
    """Which of the rows from `begin` up to, not including, `end` belong to the first split."""
    first, last = sequences.holding(begin, end)
    lower = sequences.first_rows[first:last]
    edges = np.stack([lower, lower + bounds[first:last, 1]], axis=1).reshape(-1).clip(begin, end)
    return np.repeat(np.tile([True, False], last - first), np.diff(edges, append=end))


def lay_windows(
    sequences: Sequences, bounds: Ints, split: int, *, seq_length: int, stride: int, mode: str
) -> Layout:
    """Lay windows over every sequence's share of one split.

    Args:
        sequences: All sequences of the table.
        bounds: Result of `split_bounds` for them.
        split: Index of the split.
        seq_length: Items of a window, less one.
        stride: Largest distance (`distribute`) or exact distance (`exact`) between two starts.
        mode: `distribute` or `exact`.

    Raises:
        InputError: If mode is `exact` and the stride does not end at the last item of some share.
    """
    num_items = bounds[:, split + 1] - bounds[:, split]
    present = np.flatnonzero(num_items > 0)
    num_items = num_items[present]
    padding, last_starts = _padding(num_items, seq_length)
    if mode == "exact":
        _check_exact(sequences.ids[present], num_items, last_starts, split, seq_length, stride)
    return Layout(
        seq_length=seq_length,
        sequences=sequences,
        bounds=bounds,
        split=split,
        present=present,
        num_windows=-(-last_starts // stride) + 1,
        num_padded=int(np.count_nonzero(padding)),
    )


def _padding(num_items: Ints, seq_length: int) -> tuple[Ints, Ints]:
    """Items of padding in front of a share, and the last start in it, both per share."""
    padding = np.maximum(seq_length + 1 - num_items, 0)
    return padding, num_items + padding - (seq_length + 1)


def _starts(ordinals: Ints, last_starts: Ints, counts: Ints) -> Ints:
    """The starts of windows, spread evenly from 0 to `last_starts`, none further apart than the stride.

    Where the stride divides the last start, the starts are its multiples.
    """
    # One rounded step, multiplied and cut, in this order: the same items as in Sequifier's windows.
    steps = last_starts / np.maximum(counts - 1, 1)
    starts = (ordinals * steps).astype(np.int64)
    return np.where(ordinals == counts - 1, last_starts, starts)


def gather_items(
    values: npt.NDArray[Any], first_rows: Ints, lower_rows: Ints, offset: int | Ints
) -> npt.NDArray[Any]:
    """The item at `offset` of each window, from a column whose extra last entry is the padding.

    The three places are broadcast together: rows of shape (n, 1) and offsets of shape (k,) give the
    items in shape (n, k).
    """
    rows = first_rows + offset
    return values[np.where(rows < lower_rows, len(values) - 1, rows)]


def _check_exact(
    ids: Ints, num_items: Ints, last_starts: Ints, split: int, seq_length: int, stride: int
) -> None:
    wrong = np.flatnonzero(last_starts % stride)
    if not len(wrong):
        return
    first = wrong[0]
    raise InputError(
        f"`subsequence_start_mode: exact` is not possible in split {split}, where items - 1 - "
        f"{seq_length} must be a multiple of the stride {stride}: this fails for {len(wrong)} of "
        f"{len(ids)} sequences, first for sequenceId {ids[first]} with {num_items[first]} items",
        "use `subsequence_start_mode: distribute`, or a stride that fits (1 always does)",
    )
