"""A storage that fails in the middle of a search: trials train on, results land once."""

import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.postgres_server import PASSWORD, PostgresServer
from tests.process.chaos import (
    EPOCHS,
    StoredTrials,
    children_of,
    freeze,
    read_until,
    thaw,
    wait_for,
    write_pair,
    write_search,
)

pytestmark = pytest.mark.slow


def start(project: Project, name: str, url: str) -> "subprocess.Popen[str]":
    file = write_search(project, name)
    arguments = ("--config-path", file, "--storage", url, "--workers", "2")
    return project.start("hyperparameter-search", *arguments)


def end(process: "subprocess.Popen[str]") -> str:
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stderr


def num_epochs(project: Project, name: str) -> int:
    logs = (project.root / "logs").glob(f"sequifier-{name}-run-*-metrics.jsonl")
    return sum(path.read_text().count('"event": "epoch"') for path in logs)


def is_in_mid_run(project: Project, name: str) -> bool:
    """Whether a run that was started has epochs before it."""
    logs = (project.root / "logs").glob(f"sequifier-{name}-run-*-metrics.jsonl")
    texts = [path.read_text() for path in logs]
    return any('"event": "start"' in t and t.count('"event": "epoch"') < EPOCHS for t in texts)


@contextmanager
def frozen_in_mid_run(
    project: Project, name: str, process: "subprocess.Popen[str]"
) -> Iterator[None]:
    """In the block, what trains stands still, at a moment when there is more to train."""
    while True:
        frozen = [pid for worker in children_of(process.pid) for pid in freeze(worker)]
        if is_in_mid_run(project, name):
            break
        thaw(frozen)
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    try:
        yield
    finally:
        thaw(frozen)


@pytest.fixture
def stored() -> Iterator[Callable[[str], StoredTrials]]:
    opened: list[StoredTrials] = []

    def read(url: str) -> StoredTrials:
        opened.append(StoredTrials(url))
        return opened[-1]

    yield read
    for trials in opened:
        trials.close()


def test_a_server_that_crashes_and_returns_costs_nothing(
    project: Project,
    undisturbed: dict[str, float],
    make_server: Callable[[], PostgresServer],
    stored: Callable[[str], StoredTrials],
) -> None:
    server = make_server()
    process = start(project, "crashed-server", server.url)
    trials = StoredTrials(server.url)
    wait_for(lambda: trials.num("COMPLETE") >= 1, process)
    trials.close()

    with frozen_in_mid_run(project, "crashed-server", process):
        server.kill()
        before = num_epochs(project, "crashed-server")
    wait_for(lambda: num_epochs(project, "crashed-server") > before, process)
    read_until("training continues", process)
    server.start()

    read_until("the storage is back", process)
    end(process)
    assert stored(server.url).losses() == undisturbed
    assert stored(server.url).num("RUNNING") == 0
    assert len(stored(server.url).states()) == len(undisturbed)


def test_connections_that_are_cut_again_and_again_cost_nothing(
    project: Project,
    undisturbed: dict[str, float],
    server: PostgresServer,
    stored: Callable[[str], StoredTrials],
) -> None:
    url = server.new_database("cut-connections")
    process = start(project, "cut-connections", url)
    trials = stored(url)
    wait_for(lambda: trials.num("RUNNING") > 0, process)

    while process.poll() is None:
        server.cut_connections()
        time.sleep(0.3)

    end(process)
    assert stored(url).losses() == undisturbed
    assert len(stored(url).states()) == len(undisturbed)


def test_a_server_without_a_connection_to_spare_costs_nothing(
    project: Project,
    undisturbed: dict[str, float],
    server: PostgresServer,
    stored: Callable[[str], StoredTrials],
) -> None:
    url = server.new_database("crowded")
    admin = server.connect("crowded")
    admin.execute(f"CREATE ROLE guest LOGIN PASSWORD '{PASSWORD}'".encode())
    admin.execute("ALTER DATABASE crowded OWNER TO guest")
    process = start(project, "crowded", url.replace("tester", "guest"))
    trials = stored(url)
    wait_for(lambda: trials.num("RUNNING") > 0, process)

    admin.execute("ALTER ROLE guest CONNECTION LIMIT 0")
    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'guest'")
    read_until("training continues", process)
    admin.execute("ALTER ROLE guest CONNECTION LIMIT -1")
    admin.close()

    read_until("the storage is back", process)
    end(process)
    assert stored(url).losses() == undisturbed
    assert len(stored(url).states()) == len(undisturbed)


def test_a_database_file_that_someone_else_keeps_locked_costs_nothing(
    project: Project, undisturbed: dict[str, float], stored: Callable[[str], StoredTrials]
) -> None:
    path = project.root / "studies/locked-file/study.db"
    url = sqlite_url(path)
    process = start(project, "locked-file", url)
    trials = stored(url)
    wait_for(lambda: trials.num("RUNNING") > 0, process)

    other = sqlite3.connect(path, isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    read_until("training continues", process)
    other.execute("ROLLBACK")
    other.close()

    end(process)
    assert stored(url).losses() == undisturbed
    assert len(stored(url).states()) == len(undisturbed)


def test_a_server_that_is_not_there_ends_the_start_with_a_clear_message(project: Project) -> None:
    file = write_pair(project, "no-server")
    url = f"postgresql://tester:{PASSWORD}@127.0.0.1:1/nowhere"

    refused = project.search("--storage", url, file=file)

    assert refused.code == 3
    assert "cannot be opened" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert PASSWORD not in refused.stderr


def test_a_password_in_the_search_file_appears_nowhere_else(
    project: Project, server: PostgresServer, stored: Callable[[str], StoredTrials]
) -> None:
    url = server.new_database("secret")
    file = project.root / write_pair(project, "secret")
    file.write_text(file.read_text() + f"\nstorage: {url}\n")
    process = project.start("hyperparameter-search", "--config-path", "configs/secret.yaml")
    wait_for(lambda: len(children_of(process.pid)) > 0, process)
    below = children_of(process.pid)
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in [process.pid, *below]]
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in below]

    stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == 0, stderr
    written = [
        path
        for path in project.root.rglob("*")
        if path.is_file() and path != file and PASSWORD.encode() in path.read_bytes()
    ]
    trials = stored(url)
    dump = [
        str(rows)
        for table in ("study_user_attributes", "trial_user_attributes", "trial_system_attributes")
        for rows in trials.rows(f"SELECT * FROM {table}")
    ]
    assert written == []
    assert not any(PASSWORD.encode() in text for text in [*commands, *environments])
    assert not any(PASSWORD in text for text in [stdout, stderr, *dump])
