"""Reads tensor shards: a folder of `.pt` files and the `metadata.json` that lists them."""

import json
import pickle
import zipfile
from collections.abc import Iterator
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
    listing = read_listing(Path(folder))
    shards = [_read_shard(Path(folder) / file["path"]) for file in listing["batch_files"]]
    if not shards:
        return SplitWindows(folder, {}, 0, 0)
    for shard in shards:
        _check_alike(Path(folder), shard, shards[0])
    names = list(shards[0])
    columns = {name: _stored(torch.cat([shard.pop(name) for shard in shards])) for name in names}
    first = next(iter(columns.values())).values
    check_total(Path(folder), len(first))
    return SplitWindows(folder, columns, len(first), first.shape[1] - 1)


def read_pieces(folder: Path, piece_bytes: int) -> Iterator[dict[str, Tensor]]:
    """All windows of a split in order, some at a time: column -> (rows, L + 1).

    Args:
        folder: The shards.
        piece_bytes: How much of a shard is read at a time; at least one window is.

    Raises:
        InputError: If the folder or a file in it is not what `preprocess` writes.
    """
    first: dict[str, Tensor] | None = None
    num_rows = 1  # until one has shown how large they are
    for file in read_listing(folder)["batch_files"]:
        begin, is_over = 0, False
        while not is_over:
            piece = _read_shard(folder / file["path"], slice(begin, begin + num_rows))
            first = first or {name: values[:1].clone() for name, values in piece.items()}
            _check_alike(folder, piece, first)
            size = len(next(iter(piece.values()), ()))
            begin, is_over = begin + size, size < num_rows
            if size:
                yield piece
                row_bytes = sum(2 * values[0].nbytes for values in piece.values())
                num_rows = max(1, piece_bytes // row_bytes)


def check_total(folder: Path, num_windows: int) -> None:
    """Make sure that a split holds as many windows as its listing says.

    Raises:
        InputError: If not.
    """
    total = read_listing(folder)["total_samples"]
    if num_windows != total:
        raise InputError(
            f"{folder} holds {num_windows} windows, but its metadata.json says {total}", _FIX
        )


def is_whole(values: Tensor) -> bool:
    """Whether all values are whole numbers."""
    return not values.is_floating_point() or torch.equal(values, values.round())


def fits_int32(smallest: float, largest: float) -> bool:
    """Whether a range can be kept as 32-bit integers; one with NaN cannot."""
    return _INT32.min <= smallest and largest <= _INT32.max


def _check_alike(folder: Path, shard: dict[str, Tensor], first: dict[str, Tensor]) -> None:
    """Make sure that a shard, or a piece of one, continues the first."""
    if set(shard) != set(first):
        raise InputError(f"the shards of {folder} hold different columns", _FIX)
    if len({len(values) for values in shard.values()}) > 1:
        raise InputError(f"a shard of {folder} has unequal rows per column", _FIX)
    if len({values.shape[1] for part in (shard, first) for values in part.values()}) > 1:
        raise InputError(f"the shards of {folder} hold windows of different lengths", _FIX)


def read_listing(folder: Path) -> dict[str, Any]:
    """The content of `metadata.json`, which names the shards in their order.

    Raises:
        InputError: If it is missing or no such listing.
    """
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


def _read_shard(path: Path, rows: slice | None = None) -> dict[str, Tensor]:
    """A shard's windows, inputs and the last target put together: column -> (rows, L + 1).

    With `rows`, only these are read from the disk, if the shard is in torch's format of today.
    """
    is_part = rows is not None and path.is_file() and zipfile.is_zipfile(path)
    try:
        content = torch.load(path, weights_only=True, map_location="cpu", mmap=is_part)
        windows = {}
        for column, whole in content[0].items():
            values, targets = (part[rows or slice(None)] for part in (whole, content[1][column]))
            if not torch.equal(values[:, 1:], targets[:, :-1]):
                raise InputError(f"the targets of `{column}` in {path} are not its inputs shifted")
            windows[column] = torch.cat([values, targets[:, -1:]], 1)
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
    has_ids = fits_int32(smallest, largest) and is_whole(values)
    return StoredColumn(values.to(torch.int32 if has_ids else torch.float32), smallest, largest)
