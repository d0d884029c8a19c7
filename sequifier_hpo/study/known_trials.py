"""What a coordinator knows of the trials of its study, its own and those of others."""

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from optuna.trial import TrialState
from sqlalchemy import Connection

from sequifier_hpo.study import transactions
from sequifier_hpo.study.lessons import stored_lessons
from sequifier_hpo.study.liveness import Liveness, owner_of
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.runs import REASON, RunIndex, run_number
from sequifier_hpo.study.storages import GRACE_SECONDS, HEARTBEAT_SECONDS, Storage
from sequifier_hpo.study.transactions import FinishedError
from sequifier_hpo.study.trials import StoredTrial, TrialReader

_log = logging.getLogger("sequifier_hpo.study")


class KnownTrials:
    """The trials of a study as one coordinator has last seen them."""

    def __init__(
        self,
        storage: Storage,
        study_id: int,
        name: str,
        owner: Owner,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know nothing yet.

        Args:
            storage: Where the study is.
            study_id: Optuna's number of it.
            name: Of the study.
            owner: Who we are.
            clock: Monotonic seconds.
        """
        self._storage = storage
        self._name = name
        self._study_id = study_id
        self._knows_lessons = False
        self._liveness = Liveness(owner, clock)
        self.reader = TrialReader(study_id)
        self.index = RunIndex()
        self.held: set[int] = set()
        """Ids of the trials that we run."""

    def judge_later(self) -> None:
        """After an outage: give everyone time for a heartbeat before anyone is taken for dead."""
        self._liveness.judge_later()

    def require_one_host(self, connection: Connection) -> None:
        """Make sure that nobody on another machine works on a study in SQLite.

        Raises:
            SecondHostError: If somebody does, according to the heartbeats.
        """
        self._liveness.require_one_host(connection, self.reader, self.index)

    def catch_up(self) -> None:
        """Take in new trials, and ends; at first, what earlier studies teach."""
        with self._storage.reading() as connection:
            if not self._knows_lessons:
                found = stored_lessons(connection, self._study_id)
                self.index.lessons = [each.as_run() for each in found if not each.is_set_aside]
                self._knows_lessons = True
            self.take_in_new(connection)

    def look_at_others(self) -> None:
        """Take in the newest epochs too of the trials that other coordinators run."""
        with self._storage.reading() as connection:
            self.take_in_new(connection)
            foreign = self.index.unfinished.keys() - self.held
            for trial in self.reader.read(connection, foreign):
                self.index.put(trial)

    def take_in_new(self, connection: Connection) -> None:
        """Take in what is stored now; call it before the transaction changes a trial itself."""
        for trial in self.reader.new(connection):
            self.index.put(trial)
        unfinished = self.index.unfinished.keys()
        if unfinished:
            for trial in self.reader.finished(connection, unfinished):
                self.index.put(trial)

    def bury_orphans(self) -> None:
        """Fail the trials whose coordinator is gone, so that their runs can be resumed."""
        foreign = [a for i, a in self.index.unfinished.items() if i not in self.held]
        orphans = [trial for trial in foreign if self._liveness.is_gone(trial)]
        gone = {orphan.trial_id for orphan in orphans}
        judged = self._liveness.judged(a for a in foreign if a.trial_id not in gone)
        silence: dict[int, float] = {}
        if judged:
            with self._storage.reading() as connection:
                silence = self.reader.silence(connection, judged)
            stale = [trial_id for trial_id, seconds in silence.items() if seconds > GRACE_SECONDS]
            orphans += [self.index.unfinished[trial_id] for trial_id in stale]
        if ahead := [i for i, seconds in silence.items() if seconds < -HEARTBEAT_SECONDS]:
            # Whoever lives has sent another one since the clock was set back, or soon will.
            with self._storage.writing() as connection:
                transactions.beat(connection, ahead)
        for orphan in orphans:
            with suppress(FinishedError):
                self._bury(orphan, "is dead" if orphan.trial_id in gone else "sends no heartbeats")

    def _bury(self, orphan: StoredTrial, why: str) -> None:
        with self._storage.writing() as connection:
            transactions.finish_trial(
                connection,
                orphan.trial_id,
                TrialState.FAIL,
                user_attrs={REASON: "lost"},
                ended=datetime.now(UTC),
            )
        owner = owner_of(orphan)
        fields = {
            "study": self._name,
            "trial_number": orphan.number,
            "run_number": run_number(orphan),
            "owner": owner and owner.name,
            "owner_host": owner and owner.host,
            "why": f"its owner {why}",
        }
        _log.warning("run taken over", extra=fields)
