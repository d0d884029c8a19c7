"""A lock between processes that the kernel frees by itself when its holder dies.

The library `filelock` was looked at: it falls back to lock files that outlive their process where
a file system knows no locks, and a search that waits for a dead process is what must never happen.
"""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sequifier_hpo.plain_files import open_own

_POLL_SECONDS = 0.02


class LockTimeoutError(OSError):
    """Someone else holds a lock for too long; that process may be frozen."""


@contextmanager
def file_lock(path: Path, timeout_seconds: float | None = None) -> Iterator[None]:
    """Hold an exclusive lock on a file, which is made if need be.

    Args:
        path: The file; its content does not matter.
        timeout_seconds: How long to wait for someone else; None = for ever.

    Raises:
        LockTimeoutError: If someone else holds it all the time.
        OSError: If the file cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_own(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        _keep_out_readers(descriptor)
        _acquire(descriptor, path, timeout_seconds)
        yield
    finally:
        os.close(descriptor)


def _keep_out_readers(descriptor: int) -> None:
    """Let nobody open a lock who may not write it: to hold a lock, reading is enough."""
    found = os.fstat(descriptor)
    writers = found.st_mode & 0o222
    mode = writers | writers << 1
    if found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode:
        with suppress(OSError):  # a file system without modes
            os.fchmod(descriptor, mode)


def _acquire(descriptor: int, path: Path, timeout_seconds: float | None) -> None:
    if timeout_seconds is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LockTimeoutError(f"{path} is locked by another process") from None
            time.sleep(_POLL_SECONDS)
        else:
            return
