"""Every kind of storage that a study can lie in."""

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text

from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.study import (
    Lease,
    Owner,
    Retraining,
    SearchPlan,
    SearchStudy,
    Storage,
    VerificationStudy,
)
from tests.postgres_server import PostgresServer


class Opener:
    """Opens the same storage again and again, as one process after the other would."""

    def __init__(self, storage: Storage, url: str, folder: Path) -> None:
        self.storage = storage
        self.url = url
        self.folder = folder
        self._leases: list[Lease] = []

    def study(self, plan: SearchPlan) -> SearchStudy:
        """A coordinator's view of a study."""
        return SearchStudy(self.storage, plan, self._owner())

    def verification(
        self, plan: SearchPlan, retrainings: Sequence[Retraining]
    ) -> VerificationStudy:
        """A coordinator's view of the winner check of a study."""
        return VerificationStudy(
            self.storage, plan.name, plan.space, retrainings, self._owner(), note="a check"
        )

    def study_elsewhere(self, plan: SearchPlan) -> SearchStudy:
        """The same as seen by a coordinator of another host."""
        owner = self._owner().model_copy(update={"host": "elsewhere"})
        return SearchStudy(self.storage, plan, owner)

    def die(self) -> None:
        """Let go of every coordinator's lock, as the kernel does for a killed process."""
        for lease in self._leases:
            lease.release()
        self._leases.clear()

    def _owner(self) -> Owner:
        self._leases.append(Lease.acquire(self.folder / "coordinators"))
        return self._leases[-1].owner


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that several tests share; none may stop it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)  # the server may run as another user
    server = PostgresServer(folder / "server")
    yield server
    server.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite storage without studies; copying it is faster than making one."""
    path = tmp_path_factory.mktemp("empty") / "study.db"
    Storage(sqlite_url(path)).close()
    return path


@pytest.fixture(scope="session")
def postgres_storage(postgres: PostgresServer) -> Iterator[Storage]:
    """A storage on the server; tables are made once."""
    storage = Storage(postgres.url)
    yield storage
    storage.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=[pytest.mark.slow])])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opener]:
    """A storage without studies, of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("empty_sqlite"), tmp_path / "study.db")
        url = sqlite_url(tmp_path / "study.db")
        storage = Storage(url)
    else:
        url = request.getfixturevalue("postgres").url
        storage = request.getfixturevalue("postgres_storage")
        with storage.writing() as connection:
            connection.execute(text("TRUNCATE studies CASCADE"))
    opener = Opener(storage, url, tmp_path)
    yield opener
    opener.die()
    if request.param == "sqlite":
        storage.close()
