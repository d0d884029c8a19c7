"""Moments that divide all events into shares, whatever their number."""

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import numpy as np

from sequifier_hpo.preprocessing.windows import Ints

_BINS = 2**16


def moments_at(
    orders: Callable[[], Iterable[Ints]], num_rows: int, ratios: Sequence[Fraction]
) -> list[int]:
    """The first moment of each split but the first; events of one moment stay together.

    Args:
        orders: What orders the events, as whole numbers, in parts; asked for several times.
        num_rows: Number of events.
        ratios: Share of each split.
    """
    sums = [sum(ratios[: i + 1], Fraction(0)) for i in range(len(ratios) - 1)]
    return [nth_smallest(orders, min(int(num_rows * total), num_rows - 1)) for total in sums]


def nth_smallest(parts: Callable[[], Iterable[Ints]], place: int) -> int:
    """The number at a place, from 0, of the sorted numbers, found by counting them in ever finer bins."""
    low = min(int(part.min()) for part in parts() if len(part))
    high = max(int(part.max()) for part in parts() if len(part))
    while low < high:
        width = (high - low) // _BINS + 1
        counts = np.zeros(_BINS + 1, dtype=np.int64)
        num_before = 0
        for part in parts():
            num_before += int((part < low).sum())
            inside = part[(part >= low) & (part <= high)]
            # Of 64 bits without a sign: the distance may exceed the largest whole number with one.
            distances = inside.astype(np.uint64) - np.uint64(low % 2**64)
            bins = (distances // np.uint64(width)).astype(np.int64)
            counts += np.bincount(bins, minlength=_BINS + 1)
        chosen = int(np.searchsorted(num_before + np.cumsum(counts), place, side="right"))
        low, high = low + chosen * width, min(low + (chosen + 1) * width - 1, high)
    return low
