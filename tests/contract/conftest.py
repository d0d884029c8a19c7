"""Every kind of storage that a study can lie in."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.records import Counted, DataDigest, SplitDigest
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, Point, SearchSpace
from sequifier_hpo.strategy import (
    ChosenRuns,
    GridRuns,
    LearningRuns,
    SampledRuns,
    pruner_of,
    pruning_settings,
)
from sequifier_hpo.strategy.last_round import LastRound
from sequifier_hpo.study import (
    Consent,
    Description,
    Ledger,
    Limit,
    Owner,
    OwnerLock,
    Proposer,
    Storage,
    StudyPlan,
)
from sequifier_hpo.study.proposing import NO_LIMIT
from sequifier_hpo.study.warm_start import with_earlier
from tests.postgres_server import PostgresServer, temporary_server


def data_of(**columns: str) -> DataDigest:
    """The digest of data whose columns have these contents."""
    split = SplitDigest(num_windows=10, window_length=8, columns=columns)
    return DataDigest(training=split, validation=split)


DATA = data_of(product="a", price="b", weekday="c")


@dataclass(frozen=True)
class Plan:
    """A search, as small as a study needs it."""

    space: SearchSpace
    effective: EffectiveSpace
    strategy: str
    num_runs: int
    data: DataDigest = DATA
    counted: Counted = Counted()  # noqa: RUF009 - immutable
    describe: Callable[[str, Point], Description] = lambda _key, _point: Description(
        attributes={"described": True}
    )
    name: str = "shop"
    proposal_gap: int = 4

    @property
    def keyer(self) -> Keyer:
        """Names its runs."""
        return Keyer(self.space, self.data)

    @property
    def proposer(self) -> Proposer:
        """Chooses its runs."""
        config = self.space.config
        if config.pruning is None:
            return self.first_rounds
        return LastRound(self.first_rounds, config.num_to_finish, pruning_settings(config))

    @property
    def first_rounds(self) -> Proposer:
        """Chooses them before the last round."""
        if self.strategy == "grid":
            return GridRuns(self.space, self.effective, self.keyer)
        space = (self.space, self.effective, self.keyer)
        if self.strategy == "bayesian":
            gap = self.proposal_gap
            return LearningRuns(*space, seed=101, n_samples=self.num_runs, proposal_gap=gap)
        return SampledRuns(*space, seed=101, n_samples=self.num_runs)

    @property
    def study(self) -> StudyPlan:
        """What the study is to be."""
        return StudyPlan(
            name=self.name,
            space=self.space,
            data=self.data,
            counted=self.counted,
            key_of=lambda point, seed: self.keyer.key(point, seed=seed),
            strategy=self.proposer.settings,
            num_runs=self.num_runs,
        )


class Opener:
    """Opens the same storage again and again, as one process after the other would."""

    def __init__(self, storage: Storage, url: str, folder: Path) -> None:
        self.storage = storage
        self.url = url
        self.folder = folder
        self._locks: list[OwnerLock] = []

    def study(self, plan: Plan, consent: Consent | None = None, limit: Limit = NO_LIMIT) -> Ledger:
        """A coordinator's view of a study."""
        return self.ledger(
            with_earlier(plan.study, self.url, consent or Consent()),
            plan.proposer,
            pruner=lambda strategies: pruner_of(plan.space, strategies),
            limit=limit,
            describe=plan.describe,
            consent=consent or Consent(),
        )

    def ledger(self, study: StudyPlan, proposer: Proposer, **options: Any) -> Ledger:
        """The same with other parts."""
        return Ledger(self.storage, self._owner(), study, proposer, **options)

    def check(
        self, plan: Plan, chosen: ChosenRuns, describe: Callable[[str, Point], Description]
    ) -> Ledger:
        """A coordinator's view of the winner check of a study."""
        study = replace(plan, name=f"{plan.name}/verify").study
        return Ledger(
            self.storage,
            self._owner(),
            study,
            chosen,
            describe=describe,
            consent=Consent(new_data=True, changes=True),
        )

    def study_elsewhere(self, plan: Plan, **other: str) -> Ledger:
        """The same as seen by a coordinator of another host, which may share our kernel."""
        owner = self._owner().model_copy(update={"host": "elsewhere", **other})
        return Ledger(self.storage, owner, plan.study, plan.proposer, describe=plan.describe)

    def die(self) -> None:
        """Let go of every coordinator's lock, as the kernel does for a killed process."""
        for lock in self._locks:
            lock.release()
        self._locks.clear()

    def _owner(self) -> Owner:
        self._locks.append(OwnerLock.acquire(self.folder / "coordinators"))
        return self._locks[-1].owner


Once = Callable[[Any, Callable[[], Any]], Any]


@pytest.fixture(scope="session")
def once() -> Once:
    """What undisturbed searches come to, found by the first test that asks.

    It is the same in every storage: the disturbed searches of all are compared with the one.
    """
    found: dict[str, Any] = {}

    def ask(search: Any, find: Callable[[], Any]) -> Any:
        if str(search) not in found:
            found[str(search)] = find()
        return found[str(search)]

    return ask


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server that several tests share; none may stop it."""
    with temporary_server() as server:
        yield server


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
