"""A project in which searches are killed, and what they must come to all the same."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.postgres_server import PostgresServer, temporary_server
from tests.process.chaos import StoredTrials, write_learning_search, write_search


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project made by `init` and `preprocess`."""
    project = Project(tmp_path_factory.mktemp("killed"))
    assert project.run("init", ".").code == 0
    done = project.run("preprocess", "--config-path", "configs/preprocess.yaml")
    assert done.code == 0, done.stderr
    return project


@pytest.fixture(scope="session")
def undisturbed(project: Project) -> dict[str, float]:
    """The losses of a search that nobody kills."""
    done = project.search("--workers", "2", file=write_search(project, "undisturbed"))
    assert done.code == 0, done.stderr
    url = sqlite_url(project.root / "studies/undisturbed/study.db")
    return StoredTrials(url).losses()


@pytest.fixture(scope="session")
def undisturbed_learning(project: Project) -> dict[str, float]:
    """The same of a search that learns, with one worker."""
    file = write_learning_search(project, "undisturbed-learning")
    done = project.search("--workers", "1", file=file)
    assert done.code == 0, done.stderr
    url = sqlite_url(project.root / "studies/undisturbed-learning/study.db")
    return StoredTrials(url).losses()


@pytest.fixture(scope="session")
def make_server() -> Iterator[Callable[[], PostgresServer]]:
    """Starts servers that a test may stop."""
    with ExitStack() as servers:
        yield lambda: servers.enter_context(temporary_server())


@pytest.fixture(scope="session")
def server(make_server: Callable[[], PostgresServer]) -> PostgresServer:
    """One server for all tests that do not stop it for good."""
    return make_server()
