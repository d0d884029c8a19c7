"""A study's SQLite file that several people of a group use: its mode, and who is in the way."""

import errno
import os
import pwd
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from sequifier_hpo.file_lock import LockTimeoutError


def make_for_group(file: Path) -> None:
    """Make an empty database that all may write whom the umask lets; SQLite ignores a wide one.

    Its other files get the same mode from SQLite. From the first moment it has the write-ahead log,
    to which nobody can switch who has a reader. One that exists is not even opened: to close it
    would free the locks that this process holds on it.

    Raises:
        OSError: If it cannot be made.
        sqlite3.Error: If it cannot be written.
    """
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    except FileExistsError:
        return
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


def advice_on(file: Path, error: BaseException) -> str | None:
    """What to do if others have, or own, a database; None if that is not the matter."""
    if isinstance(error, LockTimeoutError):
        return _find_holder(Path(f"{file}.lock"))
    code = _sqlite_code(error)
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return _find_holder(file)
    is_denied = isinstance(error, OSError) and error.errno in {errno.EACCES, errno.EPERM}
    if not is_denied and code not in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}:
        return None
    unwritable = [
        path
        for path in (
            file.parent,
            file,
            *(Path(f"{file}{end}") for end in (".lock", "-wal", "-shm")),
        )
        if path.exists() and not os.access(path, os.W_OK)
    ]
    if not unwritable:
        return None
    return (
        f"their owner ({_owner(unwritable[0])}) can let the group write with "
        f"`chmod g+rw {shlex.join(map(str, unwritable))}`; looking at the study needs no permission "
        "to write"
    )


def _find_holder(path: Path) -> str:
    return (
        f"find the process that holds it with `fuser -v {shlex.quote(str(path))}`; once it "
        "has ended or released it, run the same command again"
    )


def _sqlite_code(error: BaseException) -> int | None:
    cause = error.__cause__ or error
    original = cause.orig if isinstance(cause, DBAPIError) else cause
    extended = getattr(original, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def _owner(path: Path) -> str:
    owner = path.stat().st_uid
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"user {owner}"
