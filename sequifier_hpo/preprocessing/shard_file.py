"""Tensor shards, read without torch, which this process never loads."""

import collections
import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sequifier_hpo.errors import InputError

_DTYPES = {
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
}
# A shard's pickle is a few hundred bytes per column; the numbers lie beside it.
_MAX_PICKLE_BYTES = 64 * 2**20

# What a pickle of another make-up runs into.
_MALFORMED = (KeyError, ValueError, TypeError, AttributeError, IndexError)


def shard_windows(folder: Path, columns: list[str]) -> Iterator[Mapping[str, NDArray[np.float64]]]:
    """Column -> windows (rows, L + 1), oldest item first, one shard after the other.

    Raises:
        InputError: If a file is not what preprocess writes.
    """
    listing = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    for file in listing["batch_files"]:
        path = folder / file["path"]
        try:
            inputs, targets, *_ = _read(path, _array, _numbers)
            yield {
                column: np.concatenate([inputs[column], targets[column][:, -1:]], axis=1).astype(
                    np.float64
                )
                for column in columns
            }
        except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, *_MALFORMED) as error:
            raise InputError(f"{path} is no tensor shard: {error}", "preprocess again") from error


def shard_shapes(path: Path) -> Any:
    """What a shard holds, with every tensor replaced by its shape.

    Raises:
        OSError, zipfile.BadZipFile: If it cannot be read as a file of torch.
        pickle.UnpicklingError: If it names what has no place in a shard.
    """
    return _read(path, _shape, lambda _archive, _folder, _pid: None)


def _read(
    path: Path,
    rebuild: Callable[..., Any],
    load_storage: Callable[[zipfile.ZipFile, str, Any], Any],
) -> Any:
    """The pickled object of a torch file.

    Args:
        path: The file.
        rebuild: Called in place of torch's function, with its arguments, to make a tensor.
        load_storage: (archive, folder in it, torch's id of a storage) -> what `rebuild` gets as
            the storage.
    """
    with zipfile.ZipFile(path) as archive:
        entry = next((i for i in archive.infolist() if i.filename.endswith("/data.pkl")), None)
        if entry is None:
            raise zipfile.BadZipFile("there is no data.pkl in it")
        if entry.file_size > _MAX_PICKLE_BYTES:
            raise zipfile.BadZipFile("its data.pkl is too large")
        folder = entry.filename.removesuffix("data.pkl")
        return _ShardUnpickler(
            archive.read(entry), rebuild, lambda pid: load_storage(archive, folder, pid)
        ).load()


class _ShardUnpickler(pickle.Unpickler):
    """Reads what torch.save writes for tensors in dicts, and refuses to name anything else."""

    def __init__(
        self, content: bytes, rebuild: Callable[..., Any], load_storage: Callable[[Any], Any]
    ) -> None:
        super().__init__(io.BytesIO(content))
        self._rebuild = rebuild
        self._load_storage = load_storage

    def find_class(self, module: str, name: str) -> Any:
        """The few names that a shard may hold."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name.endswith("Storage"):
            return name
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a shard")

    def persistent_load(self, pid: Any) -> Any:
        """The numbers of one tensor, which lie beside the pickle."""
        return self._load_storage(pid)


def _numbers(archive: zipfile.ZipFile, folder: str, pid: Any) -> NDArray[Any]:
    _, storage, key, *_ = pid
    return np.frombuffer(archive.read(f"{folder}data/{key}"), dtype=_DTYPES[storage])


def _array(
    values: NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> NDArray[Any]:
    """A tensor as torch rebuilds it; its places are computed, so none can lie outside."""
    places = np.full(size, offset)
    for axis, step in enumerate(stride):
        shape = [1] * len(size)
        shape[axis] = size[axis]
        places += (np.arange(size[axis]) * step).reshape(shape)
    if places.size and (places.min() < 0 or places.max() >= len(values)):
        raise pickle.UnpicklingError("a tensor reaches beyond its numbers")
    found: NDArray[Any] = values[places]
    return found


def _shape(_storage: Any, _offset: int, size: tuple[int, ...], *_: Any) -> tuple[int, ...]:
    return tuple(size)
