"""Numbers of one column, in the order of rows: in memory, or in a file if they are too many."""

import mmap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sequifier_hpo.preprocessing.staging import disk_faults

Numbers = npt.NDArray[Any]

# What is worked on at a time: 8 MiB of a column.
PART_NUMBERS = 2**20

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
        self._pages: mmap.mmap | None = None
        self._memory = np.empty(length if path is None else 0, dtype)
        if path is not None:
            with disk_faults(path), path.open("wb") as file:
                header = {"descr": self._dtype.str, "fortran_order": False, "shape": (length,)}
                np.lib.format.write_array_header_1_0(file, header)
                self._header = file.tell()

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

    def parts(self, end: int | None = None) -> Iterator[tuple[int, Numbers]]:
        """The numbers before `end` (None = all), each part with the place of its first."""
        stop = self.length if end is None else end
        for begin in range(0, stop, PART_NUMBERS):
            count = min(PART_NUMBERS, stop - begin)
            if self.path is None:
                yield begin, self._memory[begin : begin + count]
            else:
                offset = self._header + begin * self._dtype.itemsize
                yield begin, np.fromfile(self.path, self._dtype, count, offset=offset)

    @property
    def values(self) -> Numbers:
        """All numbers as one array, which is a map of the file if there is one."""
        if self.path is None:
            return self._memory
        if self._pages is None:
            with self.path.open("rb") as file:
                self._pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(self._pages, self._dtype, self.length, self._header)

    def release(self) -> None:
        """Give back the memory that reading `values` of a file has taken."""
        if self._pages is not None:
            self._pages.madvise(mmap.MADV_DONTNEED)


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
