"""Files that appear under their names only when all of them are safely on the disk."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from sequifier_hpo.errors import EnvironmentFaultError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


class StagedFiles:
    """Writes files under temporary names and renames them together at the end of the block.

    If the block or a write fails, the temporary files are removed and no final name is touched.
    """

    def __init__(self) -> None:
        self._temporary: dict[Path, Path] = {}

    def __enter__(self) -> "StagedFiles":
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
                    with _explaining(path):
                        temporary.replace(path)
        finally:
            for temporary in self._temporary.values():
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def add(self, path: Path, content: bytes | memoryview) -> None:
        """Put a file's content on the disk; it gets its name at the end of the block.

        Raises:
            EnvironmentFaultError: If it cannot be written, because the disk is full, for example.
        """
        # In the same folder, since a rename is atomic only within one file system; hidden, so that
        # nobody takes it for a model.
        temporary = path.with_name(f".{path.name}.tmp")
        self._temporary[path] = temporary
        with _explaining(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())

    @property
    def paths(self) -> list[Path]:
        """The final names, sorted."""
        return sorted(self._temporary)


@contextlib.contextmanager
def _explaining(path: Path) -> Iterator[None]:
    """Turn a fault of the file system into an error that names the file."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        fix = "make room, then run the same command again" if error.errno in _DISK_FULL else ""
        raise EnvironmentFaultError(f"cannot write {path}: {reason}", fix) from error
