"""Opens tensor shards whose windows need not fit into memory.

A shard can only be loaded whole, and an epoch takes its windows in a random order from all of
them. So the first process that needs a split rewrites its shards, once, into one file from which
single windows can be read (`window_file.py`). Every process maps the beginning of that file, up to
`max_ram_gb`, and reads the other windows when their batch comes. The batches are those of data in
memory, bit for bit.
"""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from sequifier_hpo.atomic import StagedFiles, remove_unfinished
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.file_lock import file_lock
from sequifier_hpo.training.data.shards import (
    Shard,
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
_FIX = (
    "lazily loaded shards need such a file: free disk space for it, or set "
    "load_full_data_to_ram: true"
)
# A piece is held up to four times while it is rewritten, which together is a part of the limit.
_PIECES_IN_LIMIT = 16


def open_lazily(
    folders: list[str], cache: Path, memory_bytes: int, *, padding_is_stored: bool
) -> list[SplitWindows]:
    """Open splits of shards, of which at most `memory_bytes` will be in memory.

    Args:
        folders: The shards of each split; the first has the first claim on the memory.
        cache: Folder for the files that the windows are read from; made if it does not exist.
        memory_bytes: Most memory for the windows of all splits.
        padding_is_stored: As for `read_shards`.

    Raises:
        InputError: If a folder or a file in it is not what `preprocess` writes.
        EnvironmentFaultError: If a file cannot be written, for example for lack of space.
    """
    piece_bytes = min(_MOST_PIECE_BYTES, max(_LEAST_PIECE_BYTES, memory_bytes // _PIECES_IN_LIMIT))
    splits = []
    for folder in folders:
        source = _Source(Path(folder), piece_bytes, padding_is_stored=padding_is_stored)
        path, header = _window_file(source, cache)
        file = WindowFile(path, header, memory_bytes)
        memory_bytes -= file.mapped_bytes
        columns = {
            name: StoredColumn(file.mapped_column(name), facts.smallest, facts.largest)
            for name, facts in header.columns.items()
        }
        splits.append(
            SplitWindows(
                *(folder, columns, header.num_windows, header.window_length),
                num_padding=file.num_padding,
                file=file,
            )
        )
    return splits


class _Source:
    """The shards of a split, as they were when this was made."""

    def __init__(self, folder: Path, piece_bytes: int, *, padding_is_stored: bool) -> None:
        names = ["metadata.json", *(file["path"] for file in read_listing(folder)["batch_files"])]
        # A shard that is missing is reported when it is read.
        stats = [(name, (folder / name).stat()) for name in names if (folder / name).exists()]
        self.folder = folder
        self.padding_is_stored = padding_is_stored
        self.files = [[Path(name).name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]
        """What identifies their content: name, size and time of the last change per file."""
        self._piece_bytes = piece_bytes

    def pieces(self) -> Iterator[Shard]:
        """All windows in order, some at a time."""
        return read_pieces(self.folder, self._piece_bytes, padding_is_stored=self.padding_is_stored)

    def is_that_of(self, header: WindowFileHeader) -> bool:
        """Whether a file was made from these very shards."""
        made_from = (header.source, header.padding_is_stored)
        return made_from == (self.files, self.padding_is_stored)


def _window_file(source: _Source, cache: Path) -> tuple[Path, WindowFileHeader]:
    """The file of a split, made if need be."""
    # The path tells splits of the same name apart.
    digest = hashlib.sha256(str(source.folder.resolve()).encode()).hexdigest()[:8]
    path = cache / f"{source.folder.name}-{digest}.windows"
    return path, _current(path, source) or _rewrite(source, path)


def _current(path: Path, source: _Source) -> WindowFileHeader | None:
    """The header of the file, if it is there and made from these very shards."""
    header = read_header(path)
    return header if header is not None and source.is_that_of(header) else None


def _rewrite(source: _Source, path: Path) -> WindowFileHeader:
    """Make the file, unless another process has just done so."""
    with _locked(path.with_suffix(".lock")):
        header = _current(path, source)
        if header is not None:
            return header
        remove_unfinished(path.parent, path.name.__eq__, of_the_dead=True)
        # Twice through the shards: whether a column is whole shows at its end, and nothing is
        # written of shards that are damaged.
        header, num_padding = _survey(source)
        _check_space(path, header)
        with StagedFiles() as files, files.open(path) as file:
            columns = (piece.columns for piece in source.pieces())
            write_windows(file, header, num_padding, columns)
    return header


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the block.

    Raises:
        EnvironmentFaultError: If the lock's file cannot be made.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(path))
        except OSError as error:
            problem = f"{path} cannot be written: {error.strerror}"
            raise EnvironmentFaultError(problem, _FIX) from error
        yield


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


def _survey(source: _Source) -> tuple[WindowFileHeader, Tensor]:
    """What there is to know before anything is written, and the numbers of padding items."""
    columns: dict[str, _Survey] = {}
    window_length = 0
    padding = [torch.zeros(0, dtype=torch.int32)]
    for piece in source.pieces():
        for name, values in piece.columns.items():
            columns.setdefault(name, _Survey()).add(values)
            window_length = values.shape[1] - 1
        padding.append(piece.num_padding)
    num_padding = torch.cat(padding)
    check_total(source.folder, len(num_padding))
    header = WindowFileHeader(
        source=source.files,
        padding_is_stored=source.padding_is_stored,
        num_windows=len(num_padding),
        window_length=window_length,
        columns={name: survey.facts() for name, survey in columns.items()},
    )
    return header, num_padding


def _check_space(path: Path, header: WindowFileHeader) -> None:
    needed = header.data_bytes
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise EnvironmentFaultError(
            f"{path} needs {needed / 1e9:.3g} GB, but only {free / 1e9:.3g} GB are free", _FIX
        )
