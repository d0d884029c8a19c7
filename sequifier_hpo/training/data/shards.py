"""Reads tensor shards: a folder of `.pt` files and the `metadata.json` that lists them."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sequifier_hpo.errors import InputError
from sequifier_hpo.training.data.windows import SplitWindows, StoredColumn
from sequifier_hpo.training.memory import is_out_of_memory

_FIX = "name a folder that `preprocess` has written with write_format: pt, or preprocess again"
_INT32 = torch.iinfo(torch.int32)


def read_shards(folder: str) -> SplitWindows:
    """Load all shards of a split into memory.

    Raises:
        InputError: If the folder or a file in it is not what `preprocess` writes.
    """
    listing = _read_listing(Path(folder))
    shards = [_read_shard(Path(folder) / file["path"]) for file in listing["batch_files"]]
    if not shards:
        return SplitWindows(folder, {}, 0, 0)
    names = list(shards[0])
    if any(set(shard) != set(names) for shard in shards):
        raise InputError(f"the shards of {folder} hold different columns", _FIX)
    if any(len({len(values) for values in shard.values()}) > 1 for shard in shards):
        raise InputError(f"a shard of {folder} has unequal rows per column", _FIX)
    if len({values.shape[1] for shard in shards for values in shard.values()}) > 1:
        raise InputError(f"the shards of {folder} hold windows of different lengths", _FIX)
    columns = {name: _stored(torch.cat([shard.pop(name) for shard in shards])) for name in names}
    first = next(iter(columns.values())).values
    if len(first) != listing["total_samples"]:
        raise InputError(
            f"{folder} holds {len(first)} windows, but its metadata.json says "
            f"{listing['total_samples']}",
            _FIX,
        )
    return SplitWindows(folder, columns, len(first), first.shape[1] - 1)


def _read_listing(folder: Path) -> dict[str, Any]:
    path = folder / "metadata.json"
    try:
        listing: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        total, files = listing["total_samples"], [file["path"] for file in listing["batch_files"]]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", _FIX) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no listing of shards", _FIX) from error
    if not isinstance(total, int) or not all(isinstance(file, str) for file in files):
        raise InputError(f"{path} is no listing of shards", _FIX)
    return listing


def _read_shard(path: Path) -> dict[str, Tensor]:
    """One shard's windows, inputs and the last target put together: column -> (rows, L + 1)."""
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
        inputs, targets = content[0], content[1]
        windows = {}
        for column, values in inputs.items():
            if not torch.equal(values[:, 1:], targets[column][:, :-1]):
                raise InputError(f"the targets of `{column}` in {path} are not its inputs shifted")
            windows[column] = torch.cat([values, targets[column][:, -1:]], 1)
    except FileNotFoundError as error:
        raise InputError(f"the shard {path} does not exist", _FIX) from error
    except (
        *(OSError, RuntimeError, EOFError, pickle.UnpicklingError),
        *(KeyError, IndexError, TypeError, AttributeError, ValueError),
    ) as error:
        if is_out_of_memory(error):
            raise
        raise InputError(f"{path} is no tensor shard: {_first_line(error)}", _FIX) from error
    return windows


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _stored(values: Tensor) -> StoredColumn:
    """Keep a column in the type its content needs."""
    if len(values) == 0:
        return StoredColumn(values.to(torch.int32), 0.0, 0.0)
    smallest, largest = float(values.min()), float(values.max())
    fits = _INT32.min <= smallest and largest <= _INT32.max
    is_whole = fits and (not values.is_floating_point() or torch.equal(values, values.round()))
    return StoredColumn(values.to(torch.int32 if is_whole else torch.float32), smallest, largest)
