"""Files that grow by lines: logs."""

import os
from contextlib import suppress
from pathlib import Path

from sequifier_hpo.atomic import explaining
from sequifier_hpo.plain_files import open_own
from sequifier_hpo.words import visible


def open_to_append(path: Path) -> int:
    """A descriptor of a log, which is made if need be.

    Raises:
        EnvironmentFaultError: If it cannot be opened.
    """
    with explaining(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return open_own(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)


class LogLines:
    """A file that grows by lines; lines for which the disk has no space are dropped.

    A log that cannot be written ends nothing: where it matters, other files report the problem.
    """

    def __init__(self, path: Path) -> None:
        """Open it to append.

        Raises:
            EnvironmentFaultError: If it cannot be opened.
        """
        self._file = os.fdopen(open_to_append(path), "ab", buffering=0)
        self._is_torn = False
        """Whether the last line has no end."""

    def append(self, line: str) -> None:
        """Add a line, if possible."""
        data = f"{visible(line)}\n".encode()
        if self._is_torn:
            data = b"\n" + data
        with suppress(OSError):
            self._is_torn = self._file.write(data) < len(data)

    def close(self) -> None:
        """Close it."""
        self._file.close()
