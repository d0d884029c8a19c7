"""Lives of a search on a real study: outages, lost answers, takeovers and stops, in any order."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from optuna.trial import TrialState
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import OperationalError

from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.records import RunState
from sequifier_hpo.study import Storage, transactions
from tests.conftest import WriteSearch
from tests.contract.conftest import Opener
from tests.contract.test_study import plan_of
from tests.coordinator.stage import Stage
from tests.coordinator.story import Deed, Story

pytestmark = pytest.mark.slow


class Faults:
    """What can go wrong with a real storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.is_out = False
        self.answers_until_loss = 0
        event.listen(storage.rdb.engine, "begin", self._begin, insert=True)
        event.listen(storage.rdb.engine, "commit", self._commit)

    def take_over(self, trial_number: int) -> None:
        before = self.is_out, self.answers_until_loss
        self.is_out, self.answers_until_loss = False, 0  # for others, all is well
        query = text("SELECT trial_id FROM trials WHERE number = :number")
        with (
            suppress(transactions.FinishedError),
            self._storage.rdb.engine.begin() as connection,
        ):
            trial_id = connection.execute(query, {"number": trial_number}).scalar_one()
            transactions.finish_trial(
                connection,
                trial_id,
                TrialState.FAIL,
                user_attrs={"reason": "lost"},
                ended=datetime.now(UTC),
            )
        self.is_out, self.answers_until_loss = before

    def let_go(self, *, completing: bool) -> None:
        """Nobody holds what was taken over."""

    def end(self) -> None:
        event.remove(self._storage.rdb.engine, "begin", self._begin)
        event.remove(self._storage.rdb.engine, "commit", self._commit)

    def _begin(self, _connection: Connection) -> None:
        if self.is_out:
            raise OperationalError("BEGIN", None, ConnectionError("it is out"))

    def _commit(self, connection: Connection) -> None:
        self.answers_until_loss -= 1
        if self.answers_until_loss == 0:
            driver: Any = connection.connection.driver_connection
            driver.commit()
            raise OperationalError("COMMIT", None, ConnectionError("its answer was lost"))


@pytest.fixture
def faults(opener: Opener) -> Iterator[Faults]:
    faults = Faults(opener.storage)
    yield faults
    faults.end()


@pytest.mark.parametrize("seed", range(20))
def test_the_next_start_leaves_each_run_with_one_end_and_the_loss_it_came_to(
    seed: int, write_search: WriteSearch, opener: Opener, faults: Faults
) -> None:
    random = Random(seed)
    deeds = [deed for deed in Deed if deed not in {Deed.SIGNAL, Deed.BREAK}]
    chosen = [*random.choices(deeds, k=40), *[Deed.SIGNAL] * random.randrange(3)]
    steps = [(deed, random.randrange(4)) for deed in chosen]
    story = Story(steps, num_slots=2, max_consecutive_failures=100, has_baselines=False)
    plan = plan_of(write_search)
    stages = [Stage(story, opener.study(plan), faults)]
    with suppress(EnvironmentFaultError):  # a fault of the storage at a stop, or of the workers
        stages[0].play()
    faults.is_out, faults.answers_until_loss = False, 0
    opener.die()
    study = opener.study(plan)
    stages.append(Stage(Story(), study, faults))

    end = stages[1].play()

    runs = study.runs()
    records = stages[0].pool.records | stages[1].pool.records
    assert end == SearchEnd(stopped_by=None, gave_up_after=())
    assert len(runs) == plan.num_runs
    assert {run.state for run in runs} <= {RunState.COMPLETE, RunState.FAILED}
    for run in runs:
        if run.state is RunState.COMPLETE:
            result = records[run.trial_number].result
            assert result is not None
            assert run.validation_loss == result.best_validation_loss
