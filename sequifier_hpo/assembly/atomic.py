"""Files that are either the old or the new one, never half of one."""

import glob
import os
import socket
from contextlib import suppress
from pathlib import Path

from sequifier_hpo.errors import EnvironmentFaultError


def write_atomically(path: Path, text: str) -> None:
    """Write a file under a temporary name, then give it its own.

    Raises:
        EnvironmentFaultError: If it cannot be written.
    """
    host = socket.gethostname()
    temporary = path.with_name(f".{path.name}.{host}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path, host)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise EnvironmentFaultError(f"cannot write {path}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _remove_leftovers(path: Path, host: str) -> None:
    """Remove what writers of this host that were killed have left; others may still be writing."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{glob.escape(host)}.*.tmp"):
        pid = leftover.suffixes[-2].removeprefix(".")
        if pid.isdecimal() and not _is_running(int(pid)):
            leftover.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
