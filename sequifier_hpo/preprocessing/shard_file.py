"""Windows of tensor shards as arrays, read without torch, which this process never loads."""

import collections
import io
import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sequifier_hpo.errors import InputError

_TYPES = {
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
}

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
            with zipfile.ZipFile(path) as archive:
                inputs, targets, *_ = _read(archive)
            yield {
                column: np.concatenate([inputs[column], targets[column][:, -1:]], axis=1).astype(
                    np.float64
                )
                for column in columns
            }
        except (zipfile.BadZipFile, pickle.UnpicklingError, EOFError, *_MALFORMED) as error:
            raise InputError(f"{path} is no tensor shard: {error}", "preprocess again") from error


def _read(archive: zipfile.ZipFile) -> Any:
    (name,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
    folder = name.removesuffix("data.pkl")
    return _ArrayUnpickler(io.BytesIO(archive.read(name)), archive, folder).load()


class _ArrayUnpickler(pickle.Unpickler):
    """Makes arrays of what torch.save writes for tensors, and refuses to name anything else."""

    def __init__(self, file: io.BytesIO, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive = archive
        self._folder = folder

    def find_class(self, module: str, name: str) -> Any:
        """The few names that a shard may hold."""
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _array
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a shard")

    def persistent_load(self, pid: Any) -> NDArray[Any]:
        """The numbers of one tensor: they lie beside the pickle."""
        _, dtype, key, *_ = pid
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype=dtype)


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
