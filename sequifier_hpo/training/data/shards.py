"""Reads tensor shards: a folder of `.pt` files and the `metadata.json` that lists them."""

import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sequifier_hpo.errors import InputError
from sequifier_hpo.plain_files import read_json, require_file
from sequifier_hpo.training.data.windows import SplitWindows, StoredColumn, leading_zeros
from sequifier_hpo.training.memory import is_out_of_memory
from sequifier_hpo.words import first_line

_FIX = "name a folder that `preprocess` wrote with write_format: pt, or preprocess again"
_INT32 = torch.iinfo(torch.int32)


@dataclass(frozen=True)
class Shard:
    """Some windows of a split."""

    columns: dict[str, Tensor]
    """Column -> (rows, L + 1)."""
    num_padding: Tensor
    """(rows,), int32: how many items at the start of each are padding."""

    def __len__(self) -> int:
        return len(self.num_padding)

    def first(self) -> "Shard":
        """A copy of the first window."""
        columns = {name: values[:1].clone() for name, values in self.columns.items()}
        return Shard(columns, self.num_padding[:1].clone())


def read_shards(folder: str, *, padding_is_stored: bool) -> SplitWindows:
    """Load all shards of a split into memory.

    Args:
        folder: The shards.
        padding_is_stored: Whether start positions below 0 say how many items are padding; else
            leading items of zeros are.

    Raises:
        InputError: If the folder or a file in it is not what `preprocess` writes.
    """
    listing = read_listing(Path(folder))
    shards = [
        _read_shard(Path(folder) / file["path"], padding_is_stored=padding_is_stored)
        for file in listing["batch_files"]
    ]
    if not shards:
        return SplitWindows(folder, {}, 0, 0, torch.zeros(0, dtype=torch.int32))
    for shard in shards:
        _check_alike(Path(folder), shard, shards[0])
    names = list(shards[0].columns)
    columns = {
        name: _stored(torch.cat([shard.columns.pop(name) for shard in shards])) for name in names
    }
    num_padding = torch.cat([shard.num_padding for shard in shards])
    check_total(Path(folder), len(num_padding))
    window_length = next(iter(columns.values())).values.shape[1] - 1
    return SplitWindows(folder, columns, len(num_padding), window_length, num_padding)


def read_pieces(folder: Path, piece_bytes: int, *, padding_is_stored: bool) -> Iterator[Shard]:
    """All windows of a split in order, some at a time.

    Args:
        folder: The shards.
        piece_bytes: How much of a shard is read at a time; at least one window is.
        padding_is_stored: As for `read_shards`.

    Raises:
        InputError: If the folder or a file in it is not what `preprocess` writes.
    """
    first: Shard | None = None
    num_rows = 1  # until one has shown how large they are
    for file in read_listing(folder)["batch_files"]:
        begin, is_over = 0, False
        while not is_over:
            rows = slice(begin, begin + num_rows)
            piece = _read_shard(folder / file["path"], rows, padding_is_stored=padding_is_stored)
            first = piece.first() if first is None else first
            _check_alike(folder, piece, first)
            size = len(piece)
            begin, is_over = begin + size, size < num_rows
            if size:
                yield piece
                row_bytes = sum(2 * values[0].nbytes for values in piece.columns.values())
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


def _check_alike(folder: Path, shard: Shard, first: Shard) -> None:
    """Make sure that a shard, or a piece of one, continues the first."""
    if set(shard.columns) != set(first.columns):
        raise InputError(f"the shards of {folder} hold different columns", _FIX)
    if len({values.shape[1] for part in (shard, first) for values in part.columns.values()}) > 1:
        raise InputError(f"the shards of {folder} hold windows of different lengths", _FIX)


def read_listing(folder: Path) -> dict[str, Any]:
    """The content of `metadata.json`, which names the shards in their order.

    Raises:
        InputError: If it is missing or no such listing.
    """
    path = folder / "metadata.json"
    try:
        listing: dict[str, Any] = read_json(path)
        total, files = listing["total_samples"], [file["path"] for file in listing["batch_files"]]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", _FIX) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not a listing of shards", _FIX) from error
    if not isinstance(total, int) or not all(isinstance(file, str) for file in files):
        raise InputError(f"{path} is not a listing of shards", _FIX)
    return listing


def _read_shard(path: Path, rows: slice | None = None, *, padding_is_stored: bool) -> Shard:
    """A shard's windows, inputs and the last target put together.

    With `rows`, only these are read from the disk, if the shard is in torch's format of today.
    """
    is_part = rows is not None and path.is_file() and zipfile.is_zipfile(path)
    try:
        require_file(path)
        content = torch.load(path, weights_only=True, map_location="cpu", mmap=is_part)
        has_targets = isinstance(content[1], dict)  # in Sequifier 1.2, windows are whole
        windows = _windows(path, content[: 1 + has_targets], rows or slice(None))
        starts = content[3 + has_targets][rows or slice(None)] if padding_is_stored else None
        return Shard(windows, _num_padding(path, windows, starts))
    except FileNotFoundError as error:
        raise InputError(f"the shard {path} does not exist", _FIX) from error
    except (
        *(OSError, RuntimeError, EOFError, pickle.UnpicklingError),
        *(KeyError, IndexError, TypeError, AttributeError, ValueError),
    ) as error:
        if is_out_of_memory(error):
            raise
        raise InputError(f"{path} is not a tensor shard: {first_line(error)}", _FIX) from error


def _windows(path: Path, stored: tuple[dict[str, Tensor], ...], rows: slice) -> dict[str, Tensor]:
    """Some windows of each column: whole ones, or put together from inputs and targets."""
    inputs, *others = stored
    if not others:
        return {column: whole[rows, :].clone() for column, whole in inputs.items()}
    windows = {}
    for column, whole in inputs.items():
        values, targets = (part[rows] for part in (whole, others[0][column]))
        if not torch.equal(values[:, 1:], targets[:, :-1]):
            raise InputError(f"the targets of `{column}` in {path} are not its inputs shifted")
        windows[column] = torch.cat([values, targets[:, -1:]], 1)
    return windows


def _num_padding(path: Path, windows: dict[str, Tensor], starts: Tensor | None) -> Tensor:
    """Padding items per window, from the position of its first item or, without it, by value."""
    sizes = {len(values) for values in (*windows.values(), *([] if starts is None else [starts]))}
    if len(sizes) > 1:
        raise InputError(f"the shard {path} has different numbers of rows per column", _FIX)
    if starts is not None:
        return (-starts).clamp(min=0).to(torch.int32)
    if not windows:
        return torch.zeros(0, dtype=torch.int32)
    return leading_zeros(list(windows.values()))


def _stored(values: Tensor) -> StoredColumn:
    """Keep a column in the type its content needs."""
    if len(values) == 0:
        return StoredColumn(values.to(torch.int32), 0.0, 0.0)
    smallest, largest = float(values.min()), float(values.max())
    has_ids = fits_int32(smallest, largest) and is_whole(values)
    return StoredColumn(values.to(torch.int32 if has_ids else torch.float32), smallest, largest)
