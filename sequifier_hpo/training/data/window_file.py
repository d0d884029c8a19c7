"""A file of windows that is read row by row: the part of it that may be in memory, and the rest.

Layout: a magic number, the length of the header (8 bytes each, little-endian), a JSON header, zeros
up to a multiple of 4096 bytes, the number of padding items of every window (int32), then one record
after the other. A record is one window: (columns, L + 1) numbers of 4 bytes, int32 or float32 by
column. A window is thus one read, however many columns it has.

Axes: N windows, C columns, I = L + 1 items.
"""

import errno
import json
import mmap
import os
import struct
import warnings
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.plain_files import parse_json, require_file

_MAGIC = b"windows2"
_START = struct.Struct("<8sQ")
_ALIGNMENT = 4096
_BYTES_PER_ITEM = 4


@dataclass(frozen=True)
class ColumnFacts:
    """What is known of a column without reading it."""

    dtype: str
    """int32 or float32."""
    smallest: float
    largest: float


@dataclass(frozen=True)
class WindowFileHeader:
    """All about a file of windows but the windows."""

    source: list[list[Any]]
    """What the windows were made from: name, size in bytes and time of the last change per file."""
    padding_is_stored: bool
    """Whether the number of padding items was stored there; else zeros were counted."""
    num_windows: int
    window_length: int
    """L; a window has L + 1 items."""
    columns: Mapping[str, ColumnFacts]
    """In the order of the records."""

    @property
    def record_bytes(self) -> int:
        """Size of one window."""
        return len(self.columns) * (self.window_length + 1) * _BYTES_PER_ITEM

    @property
    def data_bytes(self) -> int:
        """Size of all that follows the header."""
        return self.num_windows * (_BYTES_PER_ITEM + self.record_bytes)

    def encoded(self) -> bytes:
        """The bytes in front of the numbers."""
        text = json.dumps(asdict(self)).encode()
        length = -(-(_START.size + len(text)) // _ALIGNMENT) * _ALIGNMENT
        return (_START.pack(_MAGIC, length) + text).ljust(length, b"\0")


def read_header(path: Path) -> WindowFileHeader | None:
    """The header of a complete file; None if there is none, or something else."""
    try:
        require_file(path)
        with path.open("rb") as file:
            magic, length = _START.unpack(file.read(_START.size))
            if magic != _MAGIC:
                return None
            content = parse_json(file.read(length - _START.size).rstrip(b"\0").decode())
        columns = {name: ColumnFacts(**facts) for name, facts in content["columns"].items()}
        header = WindowFileHeader(**{**content, "columns": columns})
        is_complete = path.stat().st_size == length + header.data_bytes
    except (OSError, ValueError, struct.error, KeyError, TypeError):
        return None
    return header if is_complete else None


def write_windows(
    file: BinaryIO,
    header: WindowFileHeader,
    num_padding: Tensor,
    pieces: Iterable[Mapping[str, Tensor]],
) -> None:
    """Write a file of windows.

    Args:
        file: Where to.
        header: What the pieces add up to.
        num_padding: (windows,), int32: how many items at the start of each window are padding.
        pieces: Some windows each: column -> (rows, L + 1).
    """
    file.write(header.encoded())
    file.write(num_padding.numpy().data.cast("B"))
    for piece in pieces:
        columns = [
            piece[name].to(getattr(torch, facts.dtype)).view(torch.int32)
            for name, facts in header.columns.items()
        ]
        file.write(torch.stack(columns, 1).numpy().data.cast("B"))


class WindowFile:
    """Reads the windows of a file; several threads and forked processes may do so at once."""

    def __init__(self, path: Path, header: WindowFileHeader, memory_bytes: int) -> None:
        """Open a file that was written by `write_windows`.

        Args:
            path: The file; it may be replaced while this one is in use.
            header: Its header.
            memory_bytes: How much of its windows may be mapped into memory.
        """
        self.num_mapped = min(header.num_windows, memory_bytes // max(1, header.record_bytes))
        """The first so many windows are mapped; their pages are shared by all processes."""
        self._path = path
        self._header = header
        self._start = len(header.encoded()) + header.num_windows * _BYTES_PER_ITEM
        self._shape = (len(header.columns), header.window_length + 1)
        self._place = {name: i for i, name in enumerate(header.columns)}
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._descriptor)
        self.num_padding, self._mapped_NCI = self._map(len(header.encoded()))

    @property
    def mapped_bytes(self) -> int:
        """Memory that the mapped windows may take."""
        return self.num_mapped * self._header.record_bytes

    def mapped_column(self, name: str) -> Tensor:
        """The mapped windows of a column, (num_mapped, L + 1), without a copy; never write there."""
        return self._column(self._mapped_NCI, name)

    def read(self, rows: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Read windows from the disk: column -> (rows, L + 1).

        Raises:
            EnvironmentFaultError: If the disk does not give them.
        """
        wanted = rows.numpy()
        records_NCI = np.empty((len(wanted), *self._shape), dtype=np.int32)
        # Neighbours are read together: in validation, a batch is one read.
        begins = [0, *(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist()]
        firsts, ends = wanted[begins].tolist(), [*begins[1:], len(wanted)]
        self._read_into(records_NCI, zip(begins, ends, firsts, strict=True))
        records = torch.from_numpy(records_NCI)
        return {name: self._column(records, name) for name in names}

    def _read_into(
        self, records_NCI: NDArray[np.int32], runs: Iterable[tuple[int, int, int]]
    ) -> None:
        """Fill records from windows: [begin, end) with those from `first` on."""
        content = records_NCI.data.cast("B")
        size = self._header.record_bytes
        try:
            for begin, end, first in runs:
                part = os.pread(self._descriptor, (end - begin) * size, self._start + first * size)
                if len(part) < (end - begin) * size:
                    raise OSError(errno.EIO, "it is truncated")
                content[begin * size : end * size] = part
        except OSError as error:
            raise EnvironmentFaultError(
                f"{self._path} cannot be read: {error.strerror}",
                "check the disk; if you delete the file, it is rebuilt from the shards",
            ) from error

    def _column(self, records_NCI: Tensor, name: str) -> Tensor:
        dtype = getattr(torch, self._header.columns[name].dtype)
        return records_NCI[:, self._place[name]].view(dtype)

    def _map(self, begin: int) -> tuple[Tensor, Tensor]:
        """The numbers of padding items, (N,), and the mapped windows, without a copy."""
        end = self._start + self.mapped_bytes
        if begin == end:
            return torch.empty(0, dtype=torch.int32), torch.empty(
                (0, *self._shape), dtype=torch.int32
            )
        # Not a private mapping: the kernel would want to be able to give it memory of its own.
        memory = mmap.mmap(self._descriptor, end, access=mmap.ACCESS_READ)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given buffer is not writable")
            flat = torch.frombuffer(
                memory, dtype=torch.int32, offset=begin, count=(end - begin) // _BYTES_PER_ITEM
            )
        num_windows = self._header.num_windows
        return flat[:num_windows], flat[num_windows:].view(self.num_mapped, *self._shape)
