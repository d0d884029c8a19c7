"""A project that a group shares: colleagues go on with it, and who only reads stops nobody."""

import errno
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.file_lock import file_lock
from sequifier_hpo.log_lines import LogLines
from sequifier_hpo.study import shared_file, storages
from sequifier_hpo.study.locks import OwnerLock
from sequifier_hpo.study.storages import Storage, StorageFaultError


@pytest.fixture
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    mask: int = request.param
    before = os.umask(mask)
    yield mask
    os.umask(before)


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def modes(folder: Path) -> dict[str, str]:
    return {path.name: mode(path) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("umask", "shared", "lock"),
    [(0o022, "644", "600"), (0o002, "664", "660"), (0o000, "666", "666"), (0o077, "600", "600")],
    indirect=["umask"],
)
def test_all_may_write_a_study_whom_the_umask_lets_and_only_they_may_lock_it(
    tmp_path: Path, umask: int, shared: str, lock: str
) -> None:
    storage = Storage(f"sqlite:///{tmp_path}/study.db")
    with storage.writing():
        found = modes(tmp_path)
    storage.close()

    assert found == {
        "study.db": shared,
        "study.db-shm": shared,
        "study.db-wal": shared,
        "study.db.lock": lock,
    }


@pytest.mark.parametrize("umask", [0o002], indirect=True)
def test_the_files_of_a_search_are_for_the_group(tmp_path: Path, umask: int) -> None:
    write_atomically(tmp_path / "studies" / "results.csv", "run\n")
    LogLines(tmp_path / "logs" / "run.txt").close()
    lock = OwnerLock.acquire(tmp_path / "coordinators")
    found = {mode(path) for path in tmp_path.rglob("*") if path.is_file()}
    folders = {mode(path) for path in tmp_path.rglob("*") if path.is_dir()}
    lock.release()

    assert found == {"664"}
    assert folders == {"775"}


def test_a_lock_that_all_could_read_is_closed_to_those_who_only_read(tmp_path: Path) -> None:
    path = tmp_path / "study.db.lock"
    path.touch(0o644)

    with file_lock(path):
        assert mode(path) == "600"


def test_who_holds_the_lock_for_long_is_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "_OPENING_SECONDS", 0.05)
    descriptor = os.open(tmp_path / "study.db.lock", os.O_CREAT | os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)

    with pytest.raises(EnvironmentFaultError) as caught:
        Storage(f"sqlite:///{tmp_path}/study.db")
    os.close(descriptor)

    assert "is locked by another process" in str(caught.value)
    assert f"`fuser -v {tmp_path}/study.db.lock`" in str(caught.value)
    assert "space" not in str(caught.value)


def test_who_holds_the_database_for_long_is_to_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storages, "_LOCK_SECONDS", 0)
    storage = Storage(f"sqlite:///{tmp_path}/study.db")
    other = sqlite3.connect(tmp_path / "study.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StorageFaultError) as caught, storage.writing() as connection:
        connection.execute(text("DELETE FROM studies"))
    other.close()
    storage.close()

    assert "database is locked" in str(caught.value)
    assert f"`fuser -v {tmp_path}/study.db`" in str(caught.value)


def test_a_reader_of_the_database_stops_nobody(tmp_path: Path) -> None:
    storage = Storage(f"sqlite:///{tmp_path}/study.db")
    reader = sqlite3.connect(f"file:{tmp_path}/study.db?mode=ro", uri=True, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM studies").fetchall()

    with storage.writing() as connection:
        connection.execute(text("INSERT INTO studies (study_name) VALUES ('new')"))
    with storage.reading() as connection:
        assert connection.execute(text("SELECT count(*) FROM studies")).scalar() == 1
    reader.close()
    storage.close()


@pytest.mark.parametrize(
    "error",
    [PermissionError(errno.EACCES, "Permission denied"), sqlite3.OperationalError("readonly")],
)
def test_who_may_not_write_is_told_who_can_change_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    if isinstance(error, sqlite3.OperationalError):
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY
    file = tmp_path / "study.db"
    file.touch()
    monkeypatch.setattr(os, "access", lambda path, _: path != file)

    advice = shared_file.advice_on(file, error)

    assert advice is not None
    assert f"`chmod g+rw {file}`" in advice
    assert file.owner() in advice


def test_a_full_disk_is_nobody_elses_matter(tmp_path: Path) -> None:
    assert shared_file.advice_on(tmp_path / "x", OSError(errno.ENOSPC, "No space left")) is None
