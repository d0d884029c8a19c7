"""Where windows lie: split bounds, window starts, and the items of a window. Pure arithmetic.

A window of `seq_length` L has L + 1 consecutive items of one sequence within one split. Rows are
rows of the table sorted by sequence and item; nothing here knows what the columns hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
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


@dataclass(frozen=True)
class Windows:
    """All windows of one split, ordered by sequence and then by start; one entry per window."""

    seq_length: int
    sequence_indices: Ints
    """Index into the ascending sequences, for grouping."""
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
    num_padded: int
    """Sequences whose share was shorter than a window."""
    num_absent: int
    """Sequences without any item in this split."""

    def __len__(self) -> int:
        return len(self.first_rows)

    def part(self, begin: int, end: int) -> "Windows":
        """The windows from `begin` up to, not including, `end`."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        arrays: dict[str, Any] = {
            name: value[begin:end]
            for name, value in values.items()
            if isinstance(value, np.ndarray)
        }
        return replace(self, **arrays)


def find_sequences(sorted_ids: Ints) -> Sequences:
    """The runs of equal ids in a sorted id column."""
    is_first = np.empty(len(sorted_ids), dtype=np.bool_)
    is_first[:1] = True
    np.not_equal(sorted_ids[1:], sorted_ids[:-1], out=is_first[1:])
    first_rows = np.flatnonzero(is_first).astype(np.int64)
    lengths = np.diff(first_rows, append=len(sorted_ids))
    return Sequences(sorted_ids[first_rows], first_rows, lengths)


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


def rows_of_split(sequences: Sequences, bounds: Ints, split: int) -> npt.NDArray[np.bool_]:
    """Which rows belong to a split, (rows,).

    Args:
        sequences: All sequences of the table.
        bounds: Result of `split_bounds` for them.
        split: Index of the split.
    """
    places = np.arange(sequences.lengths.sum()) - np.repeat(sequences.first_rows, sequences.lengths)
    lower, upper = (np.repeat(bounds[:, split + i], sequences.lengths) for i in (0, 1))
    return (places >= lower) & (places < upper)


def lay_windows(
    sequences: Sequences, bounds: Ints, split: int, *, seq_length: int, stride: int, mode: str
) -> Windows:
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
    lower, upper = bounds[:, split], bounds[:, split + 1]
    present = np.flatnonzero(upper > lower)
    num_items = (upper - lower)[present]
    padding = np.maximum(seq_length + 1 - num_items, 0)
    last_starts = num_items + padding - (seq_length + 1)
    if mode == "exact":
        _check_exact(sequences.ids[present], num_items, last_starts, split, seq_length, stride)
    counts, owners, starts = window_starts(last_starts, stride)
    lower_rows = (sequences.first_rows + lower)[present][owners]
    first_counts = np.cumsum(counts) - counts
    return Windows(
        seq_length=seq_length,
        sequence_indices=present[owners],
        sequence_ids=sequences.ids[present][owners],
        subsequence_ids=np.arange(len(owners)) - first_counts[owners],
        start_positions=starts - padding[owners],
        first_rows=lower_rows - padding[owners] + starts,
        lower_rows=lower_rows,
        num_padded=int(np.count_nonzero(padding)),
        num_absent=len(sequences) - len(present),
    )


def window_starts(last_starts: Ints, stride: int) -> tuple[Ints, Ints, Ints]:
    """Starts spread evenly from 0 to `last_starts[i]`, no two further apart than the stride.

    Where the stride divides the last start, the starts are its multiples.

    Returns:
        The number of starts of every i; and for every start its i, and the start itself.
    """
    counts = -(-last_starts // stride) + 1
    owners = np.repeat(np.arange(len(last_starts)), counts)
    ordinals = np.arange(len(owners)) - (np.cumsum(counts) - counts)[owners]
    # One rounded step, multiplied and cut, in this order: the same items as in Sequifier's windows.
    steps = last_starts / np.maximum(counts - 1, 1)
    starts = (ordinals * steps[owners]).astype(np.int64)
    return counts, owners, np.where(ordinals == counts[owners] - 1, last_starts[owners], starts)


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
