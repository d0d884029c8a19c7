"""Storages that cannot be used, and what is said about them."""

from pathlib import Path

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.study import Storage, StorageFaultError


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://user:secret@host/db", "not supported"),
        ("not a url", "not a database URL"),
        ("postgresql://user:secret@host:port/db", "not a database URL"),
        ("sqlite://", "needs a file"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused(url: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        Storage(url)

    assert "secret" not in str(caught.value)


def test_a_password_with_a_raw_special_character_is_to_be_percent_encoded() -> None:
    with pytest.raises(InputError) as caught:
        Storage("postgresql://user:sec/ret@3:4@host/db")

    assert "percent-encoded: %40 for @, %3A for :, %2F for /" in caught.value.fix
    assert "ret" not in caught.value.problem


def test_a_storage_in_a_file_that_is_no_database_is_an_environment_fault(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    path.write_text("this is not a database, and it is long enough to be looked at" * 100)

    with pytest.raises(EnvironmentFaultError, match=r"cannot be opened.*(?s:.)*move it away"):
        Storage(sqlite_url(path))


def test_a_database_that_is_damaged_while_it_is_used_is_no_outage_to_wait_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "study.db"
    storage = Storage(sqlite_url(path))
    storage.close()
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 200_000)

    with (
        pytest.raises(EnvironmentFaultError, match=r"is damaged") as caught,
        storage.reading() as connection,
    ):
        connection.exec_driver_sql("SELECT * FROM trials").all()

    assert not isinstance(caught.value, StorageFaultError)
    assert "restore" in caught.value.fix


@pytest.mark.parametrize("replacement", [None, b""], ids=["deleted", "replaced"])
def test_a_database_that_is_deleted_while_it_is_used_is_written_no_more(
    tmp_path: Path, replacement: bytes | None
) -> None:
    path = tmp_path / "study.db"
    storage = Storage(sqlite_url(path))
    with storage.writing():
        pass
    path.rename(tmp_path / "elsewhere.db")
    if replacement is not None:
        path.write_bytes(replacement)

    with pytest.raises(EnvironmentFaultError, match="was deleted or replaced"), storage.writing():
        pass


def test_a_server_that_cannot_be_reached_is_an_environment_fault_without_the_password() -> None:
    with pytest.raises(EnvironmentFaultError, match=r"\*\*\*.*cannot be opened") as caught:
        Storage("postgresql://user:secret@127.0.0.1:1/studies")

    assert caught.value.exit_code == 3
    assert "secret" not in str(caught.value)
