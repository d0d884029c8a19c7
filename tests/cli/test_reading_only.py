"""Looking at a study writes nothing, and needs no right to write."""

import os
import shutil
import sqlite3
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import chdir, closing, contextmanager
from pathlib import Path

import pytest

from sequifier_hpo.config.locate import find_study
from sequifier_hpo.dashboard import open_dashboard
from sequifier_hpo.study.locks import Owner, boot_id
from sequifier_hpo.study.sqlite_file import connect_to_read
from tests.cli.conftest import Run, Study

pytestmark = pytest.mark.slow

FILE = ("--config-path", "configs/search.yaml")
NOBODY = 65534


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def as_somebody_else() -> Iterator[None]:
    """As a user who may only read what root has made."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    """What there is below a folder, and when it was written."""
    found = [folder, *folder.rglob("*")]
    stats = {str(path): path.stat() for path in found}
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def look(run: Run, report: Path) -> list[str]:
    """What each command shows, the first line that names no moment in time."""
    commands = [("status", "--json"), ("best",), ("export",), ("report", "-o", str(report))]
    shown = []
    for command, *options in commands:
        done = run(command, *FILE, *options)
        assert done.code == 0, done.stderr
        shown.append(done.stdout)
    source = find_study(Path(FILE[1]), None, None)
    with open_dashboard(source, host="127.0.0.1", port=0, allow_changes=False) as opened:
        thread = threading.Thread(target=opened.serve_forever)
        thread.start()
        base, _, study_id = opened.url.partition("/dashboard/studies/")
        with urllib.request.urlopen(f"{base}/api/studies/{study_id}?after=0") as answer:
            assert b"trials" in answer.read()
        opened.stop()
        thread.join()
    return [shown[1], shown[2]]


@pytest.mark.parametrize("state", ["running", "over", "killed", "killed, without an index"])
def test_looking_leaves_no_trace_whoever_looks(
    run: Run, study: Study, tmp_path: Path, state: str
) -> None:
    study.complete(0.75, 0.5)
    if state == "over":
        study.die()
    project = tmp_path
    if state.startswith("killed"):
        project = tmp_path / "copy"
        left_out = shutil.ignore_patterns("copy", "*-shm" if "index" in state else "none")
        shutil.copytree(tmp_path, project, ignore=left_out)
    with tempfile.TemporaryDirectory() as elsewhere, chdir(project):
        Path(elsewhere).chmod(0o777)
        before = tree(project)

        shown = look(run, Path(elsewhere, "mine.html"))
        with as_somebody_else():
            shown_to_others = look(run, Path(elsewhere, "theirs.html"))

        assert tree(project) == before
        assert shown == shown_to_others
        assert "run 1, validation loss 0.5" in shown[0]


def test_a_transaction_that_was_cut_off_is_undone_in_a_copy(tmp_path: Path) -> None:
    file, cut_off = tmp_path / "study.db", tmp_path / "cut-off"
    cut_off.mkdir()
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA cache_size = 1")  # what does not fit is written at once
        writer.execute("CREATE TABLE numbers (number)")
        writer.execute("INSERT INTO numbers VALUES (1)")
        writer.execute("BEGIN")
        writer.executemany("INSERT INTO numbers VALUES (?)", [("x" * 500,)] * 500)
        for path in tmp_path.glob("study.db*"):
            shutil.copy(path, cut_off)
    before = tree(cut_off)

    with as_somebody_else(), closing(connect_to_read(cut_off / "study.db", 1)) as looked_at:
        found = looked_at.execute("SELECT * FROM numbers").fetchall()

    assert found == [(1,)]
    assert (cut_off / "study.db-journal").stat().st_size > 0
    assert tree(cut_off) == before


def test_a_file_without_tables_holds_no_study_and_gets_none(run: Run, study: Study) -> None:
    study.die()
    Path("studies/shop/study.db").write_bytes(b"")

    shown = run("status", *FILE)

    assert (shown.code, Path("studies/shop/study.db").stat().st_size) == (2, 0)
    assert "there is no study in sqlite:///studies/shop/study.db" in shown.stderr
    assert "start it with `sequifier-hpo hyperparameter-search" in shown.stderr


def test_who_may_not_write_sees_which_owners_are_dead(tmp_path: Path) -> None:
    path = tmp_path / "owner.lock"
    path.touch(mode=0o644)
    owner = Owner(name="a", host=os.uname().nodename, boot_id=boot_id(), lock_path=str(path))

    with as_somebody_else():
        assert owner.is_dead()
