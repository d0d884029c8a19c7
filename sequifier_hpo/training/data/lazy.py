"""Opens tensor shards whose windows need not fit into memory.

A shard can only be loaded whole, and an epoch takes its windows in a random order from all of
them. So the first process that needs a split rewrites its shards, once, into one file from which
single windows can be read (`window_file.py`). Every process maps the beginning of that file, up to
`max_ram_gb`, and reads the other windows when their batch comes. The batches are those of data in
memory, bit for bit.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sequifier_hpo.atomic import StagedFiles, remove_unfinished
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.training.data.shards import (
    check_total,
    fits_int32,
    is_whole,
    read_listing,
    read_pieces,
)
from sequifier_hpo.training.data.window_file import (
    ColumnFacts,
    WindowFile,
    WindowFileHeader,
    read_header,
    write_windows,
)
from sequifier_hpo.training.data.windows import SplitWindows, StoredColumn

_LEAST_PIECE_BYTES, _MOST_PIECE_BYTES = 2**18, 2**25
_FIX = "lazily loaded shards need such a file: make room for it, or use load_full_data_to_ram: true"
# A piece is held up to four times while it is rewritten, which together is a part of the limit.
_PIECES_IN_LIMIT = 16


def open_lazily(folders: list[str], cache: Path, memory_bytes: int) -> list[SplitWindows]:
    """Open splits of shards, of which at most `memory_bytes` will be in memory.

    Args:
        folders: The shards of each split; the first has the first claim on the memory.
        cache: Folder for the files that the windows are read from; made if it does not exist.
        memory_bytes: Most memory for the windows of all splits.

    Raises:
        InputError: If a folder or a file in it is not what `preprocess` writes.
        EnvironmentFaultError: If a file cannot be written, as for lack of space.
    """
    piece_bytes = min(_MOST_PIECE_BYTES, max(_LEAST_PIECE_BYTES, memory_bytes // _PIECES_IN_LIMIT))
    splits = []
    for folder in folders:
        path, header = _window_file(Path(folder), cache, piece_bytes)
        file = WindowFile(path, header, memory_bytes)
        memory_bytes -= file.mapped_bytes
        columns = {
            name: StoredColumn(file.mapped_column(name), facts.smallest, facts.largest)
            for name, facts in header.columns.items()
        }
        splits.append(SplitWindows(folder, columns, header.num_windows, header.window_length, file))
    return splits


def _window_file(shards: Path, cache: Path, piece_bytes: int) -> tuple[Path, WindowFileHeader]:
    """The file of a split, made if need be."""
    source = _source(shards)
    # The path tells splits of the same name apart.
    digest = hashlib.sha256(str(shards.resolve()).encode()).hexdigest()[:8]
    path = cache / f"{shards.name}-{digest}.windows"
    return path, _current(path, source) or _rewrite(shards, source, path, piece_bytes)


def _source(shards: Path) -> list[list[Any]]:
    """What identifies the content of a folder: name, size and time of change of its files."""
    names = ["metadata.json", *(file["path"] for file in read_listing(shards)["batch_files"])]
    paths = [shards / name for name in names]
    # A shard that is missing is reported when it is read.
    stats = [(path.name, path.stat()) for path in paths if path.exists()]
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]


def _current(path: Path, source: list[list[Any]]) -> WindowFileHeader | None:
    """The header of the file, if it is there and made from these very shards."""
    header = read_header(path)
    return header if header is not None and header.source == source else None


def _rewrite(
    shards: Path, source: list[list[Any]], path: Path, piece_bytes: int
) -> WindowFileHeader:
    """Make the file, unless another process has just done so."""
    with _locked(path.with_suffix(".lock")):
        header = _current(path, source)
        if header is not None:
            return header
        remove_unfinished(path.parent, path.name.__eq__, of_the_dead=True)
        # Twice through the shards: whether a column is whole shows at its end, and nothing is
        # written of shards that are damaged.
        header = _survey(shards, source, piece_bytes)
        _check_space(path, header)
        with StagedFiles() as files, files.open(path) as file:
            write_windows(file, header, read_pieces(shards, piece_bytes))
    return header


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the block; the lock of a dead one is free."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise EnvironmentFaultError(f"{path} cannot be written: {error.strerror}", _FIX) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@dataclass
class _Survey:
    """What the pieces of a column have shown so far."""

    is_whole: bool = True
    smallest: list[Tensor] = field(default_factory=list)
    largest: list[Tensor] = field(default_factory=list)

    def add(self, values: Tensor) -> None:
        self.is_whole = self.is_whole and is_whole(values)
        self.smallest.append(values.min().double())
        self.largest.append(values.max().double())

    def facts(self) -> ColumnFacts:
        # Of the tensors, not of numbers: a NaN must come through.
        smallest = float(torch.stack(self.smallest).min())
        largest = float(torch.stack(self.largest).max())
        has_ids = self.is_whole and fits_int32(smallest, largest)
        return ColumnFacts("int32" if has_ids else "float32", smallest, largest)


def _survey(shards: Path, source: list[list[Any]], piece_bytes: int) -> WindowFileHeader:
    columns: dict[str, _Survey] = {}
    num_windows = window_length = 0
    for piece in read_pieces(shards, piece_bytes):
        for name, values in piece.items():
            columns.setdefault(name, _Survey()).add(values)
            window_length = values.shape[1] - 1
        num_windows += len(next(iter(piece.values())))
    check_total(shards, num_windows)
    facts = {name: survey.facts() for name, survey in columns.items()}
    return WindowFileHeader(source, num_windows, window_length, facts)


def _check_space(path: Path, header: WindowFileHeader) -> None:
    needed = header.num_windows * header.record_bytes
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise EnvironmentFaultError(
            f"{path} takes {needed / 1e9:.3g} GB, but only {free / 1e9:.3g} GB are free", _FIX
        )
