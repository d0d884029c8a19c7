"""Connections to an SQLite file: to write to it, or to look at it without leaving a trace."""

import os
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from urllib.parse import quote_from_bytes

_JOURNALS = ("-wal", "-journal")
_TRIES = 10


def connect_to_write(file: Path, timeout: float) -> sqlite3.Connection:
    """Open a file, which is made if need be.

    Args:
        file: The file.
        timeout: Seconds to wait for somebody else's lock.
    """
    return sqlite3.connect(file.absolute(), timeout=timeout, check_same_thread=False)


def connect_to_read(file: Path, timeout: float) -> sqlite3.Connection:
    """Look at a file as it stands: nothing is written or made, not even next to it.

    Who may read the file can look at it, also while somebody else writes to it, and in a folder
    that is read-only. What SQLite would have to repair is repaired in a copy.

    Args:
        file: The file.
        timeout: Seconds to wait for somebody else's lock.

    Raises:
        OSError, sqlite3.Error: If it cannot be read, or is no database.
    """
    if not Path(f"{file}-wal").exists():  # SQLite would make one
        return _private_copy(file)
    # Without the second parameter SQLite makes an index of the log, and writes to it.
    name = quote_from_bytes(os.fsencode(file.absolute()))
    uri = f"file://{name}?mode=ro&readonly_shm=1"
    connection = sqlite3.connect(uri, timeout=timeout, check_same_thread=False, uri=True)
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    except sqlite3.Error as error:
        connection.close()
        if not isinstance(error, sqlite3.OperationalError):
            raise
        return _private_copy(file)  # somebody has left half of a transaction
    return connection


def _private_copy(file: Path) -> sqlite3.Connection:
    """A copy in memory of a file that nobody is writing to."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy.db"
        for _ in range(_TRIES):
            before = _state(file)
            for suffix in before:
                shutil.copyfile(f"{file}{suffix}", f"{copy}{suffix}")
            if _state(file) == before:
                break
        else:
            raise sqlite3.OperationalError("the file keeps changing")
        memory = sqlite3.connect(":memory:", check_same_thread=False)
        try:
            with closing(sqlite3.connect(copy)) as source:
                source.backup(memory)
        except sqlite3.Error:
            memory.close()
            raise
    return memory


def _state(file: Path) -> dict[str, tuple[int, int, int]]:
    """What changes when somebody writes: of the file, and of its journals as far as there are any."""
    state = {}
    for suffix in ("", *_JOURNALS):
        if suffix and not Path(f"{file}{suffix}").exists():
            continue
        found = Path(f"{file}{suffix}").stat()
        state[suffix] = (found.st_ino, found.st_size, found.st_mtime_ns)
    return state
