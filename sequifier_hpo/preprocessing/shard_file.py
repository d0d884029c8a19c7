"""Tensor shards, read without torch, which this process never loads."""

import collections
import io
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from sequifier_hpo.plain_files import require_file

_DTYPES = {
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "<u1",
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
}
# A shard's pickle is a few hundred bytes per column; the numbers lie beside it.
_MAX_PICKLE_BYTES = 64 * 2**20

# An entry of a zip archive begins with so many bytes, and the lengths of what follows them.
_ENTRY_HEADER_BYTES = 30
_NAME_LENGTH, _EXTRA_LENGTH = slice(26, 28), slice(28, 30)

SHARD_FAULTS = (
    *(OSError, EOFError, zipfile.BadZipFile, pickle.UnpicklingError),
    # What unpickling a file of another structure raises.
    *(KeyError, ValueError, TypeError, AttributeError, IndexError),
)
"""The errors that reading a non-shard file can raise."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor of a shard whose rows are read on demand."""

    storage: "_Storage"
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """All in values, not bytes; never negative."""

    def rows(self, begin: int, end: int) -> NDArray[Any]:
        """The rows from `begin` up to, not including, `end`; nothing else is read.

        Raises:
            OSError, ValueError: If the file does not hold them.
        """
        shape = (max(min(end, self.shape[0]) - begin, 0), *self.shape[1:])
        if 0 in shape:
            return np.empty(shape, self.storage.dtype)
        first = self.offset + begin * self.strides[0]
        reach = sum((size - 1) * step for size, step in zip(shape, self.strides, strict=True))
        values = self.storage.read(first, reach + 1)
        return as_strided(
            values, shape, [step * values.itemsize for step in self.strides], writeable=False
        )

    def one_item_less(self, first: int) -> "StoredTensor":
        """The windows (rows, items) without their last item, or, from item 1 on, their first.

        Raises:
            ValueError: If it holds no windows.
        """
        rows, items = self.shape
        offset = self.offset + first * self.strides[1]
        return replace(self, offset=offset, shape=(rows, max(items - 1, 0)))


@dataclass(frozen=True)
class _Storage:
    """The numbers that one or several tensors of a file are views of."""

    path: Path
    entry: int
    """Where their entry of the archive begins, in bytes."""
    dtype: str
    size: int

    def read(self, first: int, count: int) -> NDArray[Any]:
        with self.path.open("rb") as file:
            file.seek(self.entry)
            header = file.read(_ENTRY_HEADER_BYTES)
            name, extra = (
                int.from_bytes(header[s], "little") for s in (_NAME_LENGTH, _EXTRA_LENGTH)
            )
            file.seek(name + extra + first * np.dtype(self.dtype).itemsize, io.SEEK_CUR)
            values: NDArray[Any] = np.fromfile(file, self.dtype, count)
        if len(values) < count:
            raise ValueError("it is truncated")
        return values


def read_shard(path: Path) -> Any:
    """What a shard holds, with every tensor as a `StoredTensor`.

    Shards of Sequifier 1.2 hold whole windows. They come out as all others do: inputs, targets, and
    the three numbers of every window.

    Raises:
        OSError, zipfile.BadZipFile: If it cannot be read as a file of torch.
        pickle.UnpicklingError: If it names what a shard cannot contain.
    """
    require_file(path)
    with zipfile.ZipFile(path) as archive:
        entry = next((i for i in archive.infolist() if i.filename.endswith("/data.pkl")), None)
        if entry is None:
            raise zipfile.BadZipFile("it contains no data.pkl")
        if entry.file_size > _MAX_PICKLE_BYTES:
            raise zipfile.BadZipFile("its data.pkl is too large")
        folder = entry.filename.removesuffix("data.pkl")

        def storage(pid: Any) -> _Storage:
            _, kind, key, *_ = pid
            if kind not in _DTYPES:
                raise pickle.UnpicklingError(f"a shard cannot contain a {kind}")
            numbers = archive.getinfo(f"{folder}data/{key}")
            if numbers.compress_type != zipfile.ZIP_STORED:
                raise zipfile.BadZipFile("its numbers are compressed")
            dtype = _DTYPES[kind]
            size = numbers.file_size // np.dtype(dtype).itemsize
            return _Storage(path, numbers.header_offset, dtype, size)

        content = _ShardUnpickler(archive.read(entry), storage).load()
    is_whole = isinstance(content, tuple) and isinstance(content[1], StoredTensor)
    return _inputs_and_targets(*content) if is_whole else content


def _inputs_and_targets(windows: dict[str, StoredTensor], *numbers: Any) -> tuple[Any, ...]:
    inputs, targets = (
        {name: window.one_item_less(first) for name, window in windows.items()} for first in (0, 1)
    )
    return inputs, targets, *numbers


def window_rows(inputs: StoredTensor, targets: StoredTensor, begin: int, end: int) -> NDArray[Any]:
    """Some windows of a column, (rows, L + 1): its inputs, and after them the last target."""
    last = targets.rows(begin, end)[:, -1:]
    return np.concatenate([inputs.rows(begin, end), last], axis=1)


class _ShardUnpickler(pickle.Unpickler):
    """Reads what torch.save writes for tensors in dicts, and refuses to name anything else."""

    def __init__(self, content: bytes, storage: Callable[[Any], _Storage]) -> None:
        super().__init__(io.BytesIO(content))
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """The few names that a shard may hold."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"a shard cannot contain {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        """Where the numbers of one tensor lie."""
        return self._storage(pid)


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> StoredTensor:
    """In place of torch's function; no tensor can reach beyond its storage."""
    steps = list(zip(shape, strides, strict=True))
    reach = offset + sum((size - 1) * step for size, step in steps)
    if min(offset, *shape, *strides) < 0 or (0 not in shape and reach >= storage.size):
        raise pickle.UnpicklingError("a tensor reaches beyond its storage")
    return StoredTensor(storage, offset, tuple(shape), tuple(strides))
