"""Digests of values, cached next to the split until its files change.

A split of tens of gigabytes is read once, not before every search. The file may be deleted.
"""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.plain_files import read_plain
from sequifier_hpo.preprocessing.value_digests import SplitValues
from sequifier_hpo.stored_tables import INDEX, read_listing

# A file changed twice within a tick of its file system's clock, without a change of size, looks
# unchanged. The slowest clock in use is FAT's, of two seconds.
_TICK_NS = 2 * 10**9


class FileStamp(FrozenModel):
    """What changes whenever a file is replaced or written to, within the clock's resolution."""

    name: str
    size: int
    modified_ns: int
    changed_ns: int
    """Unlike the time of modification, no program can set it; renaming a file changes it."""
    inode: int


class SplitStamp(FrozenModel):
    """The state of a split's files, at a moment."""

    files: tuple[FileStamp, ...]
    taken_ns: int
    """The moment, by the clock of the file system; 0 = unknown."""

    def is_settled(self) -> bool:
        """Whether the files were old enough: any later change gives them another stamp."""
        newest = max(file.modified_ns for file in self.files)
        return newest + _TICK_NS <= self.taken_ns

    def is_of_same_files(self, other: "SplitStamp") -> bool:
        """Whether the files are those of another moment, perhaps under another path."""

        def identities(stamp: SplitStamp) -> list[tuple[int, int, int]]:
            return [(file.inode, file.size, file.modified_ns) for file in stamp.files]

        return identities(self) == identities(other)


def stamp_split(path: Path, *, asks_clock: bool = True) -> SplitStamp | None:
    """Stat a long table, or a shard folder's listing and the files that it names.

    Args:
        path: The split.
        asks_clock: Whether to find out the time, which takes a file for a moment.

    Returns:
        None if one of them is missing, or the listing is invalid.
    """
    # The moment comes first: what changes after it must not seem older.
    taken_ns = _clock_ns(path) if asks_clock else 0
    try:
        files = tuple(_file_stamp(file) for file in _files(path))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return SplitStamp(files=files, taken_ns=taken_ns)


class _CacheFile(FrozenModel):
    version: Literal[1] = 1
    read_format: str
    stamp: SplitStamp
    values: SplitValues


def cache_path(split: Path) -> Path:
    """Where the digests of a split are kept."""
    return split.with_name(f".{split.name}.digest.json")


def kept_values(split: Path, read_format: str, present: SplitStamp | None) -> SplitValues | None:
    """The cached digests of a split, if they certainly belong to its present files."""
    try:
        cache = _CacheFile.model_validate_json(read_plain(cache_path(split)))
    except (OSError, ValidationError):
        return None
    is_certain = (
        present is not None
        and present.files == cache.stamp.files
        and cache.stamp.is_settled()
        and cache.read_format == read_format
    )
    return cache.values if is_certain else None


def keep_values(split: Path, read_format: str, values: SplitValues, stamp: SplitStamp) -> None:
    """Cache the digests of a split, if its folder is writable.

    Args:
        split: Long table, or folder of shards.
        read_format: csv, parquet or pt.
        values: What was found in it.
        stamp: Of a moment from which on its files had these values.
    """
    cache = _CacheFile(read_format=read_format, stamp=stamp, values=values)
    with suppress(EnvironmentFaultError, OSError):
        write_atomically(cache_path(split), cache.model_dump_json(indent=1) + "\n")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return [path / INDEX, *(shard for shard, _ in read_listing(path).shards)]


def _file_stamp(path: Path) -> FileStamp:
    stat = path.stat()
    return FileStamp(
        name=path.name,
        size=stat.st_size,
        modified_ns=stat.st_mtime_ns,
        changed_ns=stat.st_ctime_ns,
        inode=stat.st_ino,
    )


def _clock_ns(path: Path) -> int:
    # Not this host's clock: that of a file server may be minutes away from it.
    for folder in (path.resolve().parent, path.parent):
        with suppress(OSError), tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime_ns
    return 0
