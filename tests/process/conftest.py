"""A project in which searches are killed, and what they must come to all the same."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.postgres_server import PostgresServer, temporary_server
from tests.process.chaos import WRITE, StoredTrials


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project made by `init` and `preprocess`."""
    project = Project(tmp_path_factory.mktemp("killed"))
    assert project.run("init", ".").code == 0
    done = project.run("preprocess", "--config-path", "configs/preprocess.yaml")
    assert done.code == 0, done.stderr
    return project


@pytest.fixture(scope="session")
def straight(project: Project) -> Callable[[str], StoredTrials]:
    """What a search of a kind comes to that nobody kills, with one worker."""

    @cache
    def search(strategy: str) -> StoredTrials:
        name = "undisturbed" if strategy == "grid" else f"undisturbed-{strategy.replace(' ', '-')}"
        done = project.search("--workers", "1", file=WRITE[strategy](project, name))
        assert done.code == 0, done.stderr
        return StoredTrials(sqlite_url(project.root / f"studies/{name}/study.db"))

    return search


@pytest.fixture(scope="session")
def undisturbed(straight: Callable[[str], StoredTrials]) -> dict[str, float]:
    """The losses of a grid that nobody kills."""
    return straight("grid").losses()


@pytest.fixture(scope="session")
def make_server() -> Iterator[Callable[[], PostgresServer]]:
    """Starts servers that a test may stop."""
    with ExitStack() as servers:
        yield lambda: servers.enter_context(temporary_server())


@pytest.fixture(scope="session")
def server(make_server: Callable[[], PostgresServer]) -> PostgresServer:
    """One server for all tests that do not stop it for good."""
    return make_server()


@pytest.fixture(autouse=True)
def _started_as_for_a_user(real_starts: None) -> None:
    """What is killed here was started as a user starts it."""
