"""Files that appear under their names only when all of them are complete.

Until then they are hidden files in the same folder, `.{name}~{host}~{pid}~r{random}.tmp`: nobody can
guess the name, and it says whose the file is.
"""

import errno
import os
import re
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.plain_files import open_own

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
MAKE_ROOM = "free disk space, then run the same command again (a search with --retry-failed)"
_ABANDONED_SECONDS = 3600.0  # a writer that started this long ago is gone
_TEMPORARY = re.compile(r"\.(.+)~([^~]+)~(\d{1,9})(?:~r[0-9a-f]+)?\.tmp", re.DOTALL)
"""Final name, host and pid; the random part came after 0.1.0."""


class StagedFiles:
    """Writes files under temporary names and renames them together at the end of the block.

    If the block or a write fails, the temporary files are removed and no final name is touched.
    """

    def __init__(self, *, waits_for_disk: bool = True) -> None:
        """Begin with no file.

        Args:
            waits_for_disk: Whether a renamed file must survive a power cut. Syncing costs
                milliseconds per file; what can be rebuilt does without.
        """
        self._waits_for_disk = waits_for_disk
        self._temporary: dict[Path, Path] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                for path, temporary in self._temporary.items():
                    with explaining(path):
                        temporary.replace(path)
        finally:
            for temporary in self._temporary.values():
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)

    @contextmanager
    def open(self, path: Path) -> Iterator[BinaryIO]:
        """Write a file piece by piece; it gets its name at the end of the outer block.

        Raises:
            EnvironmentFaultError: If it cannot be written, because the disk is full, for example.
        """
        # In the same folder, since a rename is atomic only within one file system; hidden, so that
        # nobody takes it for a result.
        writer = f"{socket.gethostname()}~{os.getpid()}~r{secrets.token_hex(8)}"
        temporary = path.with_name(f".{path.name}~{writer}.tmp")
        with explaining(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = open_own(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            self._temporary[path] = temporary
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                if self._waits_for_disk:
                    os.fsync(file.fileno())

    def add(self, path: Path, content: bytes | memoryview) -> None:
        """Put a file's content on the disk; errors as those of `open`."""
        with self.open(path) as file:
            file.write(content)

    @property
    def paths(self) -> list[Path]:
        """The final names, sorted."""
        return sorted(self._temporary)


def write_atomically(path: Path, text: str) -> None:
    """Replace a text file, and remove what dead writers of it left behind.

    Raises:
        EnvironmentFaultError: If it cannot be written.
    """
    remove_unfinished(path.parent, path.name.__eq__, of_the_dead=True)
    with StagedFiles() as files:
        files.add(path, text.encode())


def remove_unfinished(
    folder: Path, is_concerned: Callable[[str], bool], *, of_the_dead: bool = False
) -> None:
    """Remove temporary files that were never given their names.

    Args:
        folder: Where they are.
        is_concerned: Decides by a file's final name whether it is included.
        of_the_dead: Spare those whose writers may still be working: live processes of this
            host, and those of other hosts for an hour. Without it the caller must be the only one
            entitled to write these files.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = _TEMPORARY.fullmatch(entry.name)
            if name is None or not is_concerned(name[1]):
                continue
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                # A link, or the file of another user, is not ours, whatever it is called.
                if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                    continue
                if not (of_the_dead and _may_be_at_work(name[2], int(name[3]), found)):
                    Path(entry.path).unlink()


def _may_be_at_work(host: str, pid: int, found: os.stat_result) -> bool:
    if host != socket.gethostname():
        return time.time() - found.st_mtime < _ABANDONED_SECONDS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Turn a file-system error into one that names the file.

    Raises:
        EnvironmentFaultError: In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _DISK_FULL:
            fix = MAKE_ROOM
        elif error.errno == errno.ELOOP:
            fix = f"look at {path}, and remove it if nobody needs it"
        else:
            fix = f"check that {path.parent} can be written to"
        raise EnvironmentFaultError(f"cannot write {path}: {reason}", fix) from error
