"""Whatever a search and its folder are called, a storage is the file that its URL was made for."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sequifier_hpo.config.storage_url import sqlite_path, sqlite_url
from sequifier_hpo.study import Storage
from sequifier_hpo.study.sqlite_file import connect_to_read

ODD = [
    "lr%31",
    "try?1",
    "a%2Fb",
    "50%",
    "#1",
    "a&b=c",
    "{x}",
    "file:x",
    "~",
    "~root",
    "a b",
    "größe",
]
NAMES = st.one_of(
    st.sampled_from(ODD),
    st.text(st.characters(exclude_characters="/\\\0", exclude_categories=("Cs", "Cc")), min_size=1),
).filter(lambda name: name not in {".", ".."})


@given(root=st.lists(NAMES, max_size=3), name=NAMES, is_absolute=st.booleans())
@example(root=["a%2Fb"], name="lr%31", is_absolute=True)
@example(root=["~"], name="try?1", is_absolute=False)
def test_a_url_leads_back_to_the_file_that_it_was_made_for(
    *, root: list[str], name: str, is_absolute: bool
) -> None:
    path = Path("/" if is_absolute else ".", *root, "studies", name, "study.db")

    assert sqlite_path(sqlite_url(path)) == path


def test_studies_with_odd_names_are_written_to_files_of_their_own_and_found_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    template = Path("studies/plain/study.db")
    Storage(sqlite_url(template)).close()
    for name in ("try?1", "try?2", "lr%31 {x}"):
        path = Path("a%2Fb", name, "study.db")

        with closing(Storage(sqlite_url(path))) as storage, storage.writing() as connection:
            connection.exec_driver_sql("CREATE TABLE mine (name)")
            connection.exec_driver_sql("INSERT INTO mine VALUES (?)", (name,))

        with closing(sqlite3.connect(path.absolute())) as found:
            assert found.execute("SELECT name FROM mine").fetchall() == [(name,)]
        with closing(connect_to_read(path, 1)) as looked_at:
            assert looked_at.execute("SELECT name FROM mine").fetchall() == [(name,)]
        with closing(Storage(sqlite_url(path), is_for_reading=True)) as storage:
            assert storage.rdb.get_all_studies() == []


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///studies/x/study.db", "studies/x/study.db"),
        ("sqlite:////data/study.db?timeout=5", "/data/study.db"),
        ("sqlite+pysqlite:///study.db", "study.db"),
        ("sqlite:///~/study.db", "{home}/study.db"),
        ("sqlite:///file:study.db?uri=true", "study.db"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://user:word@host/database", None),
        ("postgresql://user:word@host:port/database", None),
        ("no url", None),
    ],
)
def test_the_file_of_a_url_that_somebody_wrote(
    url: str, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    assert sqlite_path(url) == (None if path is None else Path(path.format(home="/home/me")))
