"""Numbers of one column, in the order of rows: in memory, or in a file if they are too many."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sequifier_hpo.preprocessing.staging import disk_faults
from sequifier_hpo.preprocessing.windows import Ints, gather_items

Numbers = npt.NDArray[Any]

# What is worked on at a time: 8 MiB of a column.
PART_NUMBERS = 2**20

# Of these, windows are cut from 1 MiB at once: several threads do so, and each keeps its memory.
_SLAB_ROWS = 2**17

# numpy's own sum adds blocks in a tree whose form depends on nothing but their number. Below this
# size its own function is called, so that the result is the same to the last digit.
_LEAF_NUMBERS = 2**17


class NumberColumn:
    """Numbers that are appended first, and read afterwards, some at a time."""

    def __init__(
        self, dtype: type[np.int64] | type[np.float64], length: int, path: Path | None = None
    ) -> None:
        """An empty column.

        Args:
            dtype: Of its numbers.
            length: How many it will have.
            path: The .npy file that holds them; None = memory.
        """
        self.path = path
        self.length = length
        self._dtype = np.dtype(dtype)
        self._filled = 0
        self._header = 0
        self._memory = np.empty(length if path is None else 0, dtype)
        if path is not None:
            with disk_faults(path), path.open("wb") as file:
                header = {"descr": self._dtype.str, "fortran_order": False, "shape": (length,)}
                np.lib.format.write_array_header_1_0(file, header)
                self._header = file.tell()

    @classmethod
    def of(cls, numbers: Numbers) -> "NumberColumn":
        """A column in memory that holds these numbers."""
        column = cls(np.int64 if numbers.dtype == np.int64 else np.float64, len(numbers))
        column.append(numbers)
        return column

    def append(self, numbers: Numbers) -> None:
        """Add the next numbers.

        Raises:
            EnvironmentFaultError: If the disk is full.
        """
        if self.path is None:
            self._memory[self._filled : self._filled + len(numbers)] = numbers
        else:
            with disk_faults(self.path), self.path.open("ab") as file:
                file.write(np.ascontiguousarray(numbers, self._dtype).data)
        self._filled += len(numbers)

    def parts(self) -> Iterator[tuple[int, Numbers]]:
        """The numbers, each part with the place of its first."""
        for begin in range(0, self.length, PART_NUMBERS):
            end = min(begin + PART_NUMBERS, self.length)
            if self.path is None:
                yield begin, self._memory[begin:end]
            else:
                yield begin, self._read(begin, end)

    @property
    def values(self) -> Numbers:
        """All numbers as one array, in memory."""
        return self._memory if self.path is None else self._read(0, self.length)

    def windows(self, first_rows: Ints, lower_rows: Ints, num_items: int) -> Numbers:
        """The items of some windows, (windows, num_items), of a column whose last entry is padding.

        Of a file no more is read at a time than the rows that lie between some of the windows.

        Args:
            first_rows: As in `Windows`, whose order they must have.
            lower_rows: The same.
            num_items: Of a window.
        """
        offsets = np.arange(num_items)
        if self.path is None:
            return gather_items(self._memory, first_rows[:, None], lower_rows[:, None], offsets)
        items = np.empty((len(first_rows), num_items), self._dtype)
        begins = np.maximum(first_rows, lower_rows)
        first = 0
        while first < len(begins):
            low = begins[first]
            end = int(np.searchsorted(begins, low + _SLAB_ROWS))
            rows = self._read(int(low), int(first_rows[end - 1]) + num_items)
            items[first:end] = gather_items(
                np.append(rows, rows.dtype.type(0)),
                first_rows[first:end, None] - low,
                lower_rows[first:end, None] - low,
                offsets,
            )
            first = end
        return items

    def _read(self, begin: int, end: int) -> Numbers:
        assert self.path is not None
        offset = self._header + begin * self._dtype.itemsize
        return np.fromfile(self.path, self._dtype, end - begin, offset=offset)


def sum_pairwise(parts: Iterable[Numbers], length: int) -> np.float64:
    """The sum of `length` numbers that come in parts, bit for bit what `numpy.sum` of all gives."""
    take = _taking(iter(parts))

    def total(count: int) -> np.float64:
        if count <= _LEAF_NUMBERS:
            return np.float64(np.add.reduce(take(count)))
        half = count // 2
        half -= half % 8
        left = total(half)
        return np.float64(left + total(count - half))

    return total(length)


def _taking(parts: Iterator[Numbers]) -> Callable[[int], Numbers]:
    rest: Numbers = np.empty(0)

    def take(count: int) -> Numbers:
        nonlocal rest
        while len(rest) < count:
            following = next(parts)
            rest = np.concatenate([rest, following]) if len(rest) else following
        taken, rest = rest[:count], rest[count:]
        return taken

    return take
