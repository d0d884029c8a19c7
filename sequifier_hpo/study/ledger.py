"""The ledger of a study: who holds which run, and its outcome.

Every change that decides who runs what is one transaction that holds the lock of the study's row
(on SQLite: of the database). So each run is handed out once across crashes, processes and
machines, and the study ends exactly when there is none left. Which run comes next is up to a
proposer; the ledger knows runs by their keys.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection

from sequifier_hpo.records import Baseline, Run, RunState
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study import transactions
from sequifier_hpo.study.baselines import BASELINES, attribute_of, baselines_in
from sequifier_hpo.study.batch_plans import batch_plan_of
from sequifier_hpo.study.claims import NOWHERE, Claim, Description, LeaseLostError, Place
from sequifier_hpo.study.distributions import distributions
from sequifier_hpo.study.liveness import Liveness, owner_of
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.notes import Artifact
from sequifier_hpo.study.opening import (
    NO_CONSENT,
    REVISION,
    Consent,
    StudyMovedOnError,
    StudyPlan,
    open_study,
)
from sequifier_hpo.study.proposing import Exhausted, Proposal, Proposer, Wait
from sequifier_hpo.study.runs import REASON, RunIndex, run_number
from sequifier_hpo.study.storages import GRACE_SECONDS, Storage
from sequifier_hpo.study.tags import own_tag
from sequifier_hpo.study.transactions import FinishedError
from sequifier_hpo.study.trial_writer import TrialWriter
from sequifier_hpo.study.trials import StoredTrial, TrialReader

_log = logging.getLogger("sequifier_hpo.study")


class Ledger:
    """A study as its coordinator sees it.

    Every method that touches the storage may raise `StorageFaultError`. It can then be called
    again with the same arguments, whether or not the storage had carried it out.
    """

    def __init__(
        self,
        storage: Storage,
        owner: Owner,
        plan: StudyPlan,
        proposer: Proposer,
        *,
        describe: Callable[[str, Point], Description] = lambda _key, _point: Description(),
        place: Place = NOWHERE,
        consent: Consent = NO_CONSENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the study, or open it if it exists.

        Args:
            storage: Where it is.
            owner: Who we are.
            plan: What the study should be.
            proposer: Which runs it has, and in which order.
            describe: (key, point) -> what people are shown of a run.
            place: Where the files of our runs are.
            consent: What the user agreed to about changed data.
            clock: Monotonic seconds.

        Raises:
            SpaceChangedError, DataChangedError, UnknownDataError: If it exists, and is not the
                study that is meant.
        """
        self._storage = storage
        self._owner = owner
        self._name = plan.name
        self._proposer = proposer
        self._describe = describe
        self._liveness = Liveness(owner, clock)
        self._index = RunIndex()
        self._held: set[int] = set()
        self._to_retry: set[str] = set()
        self.waits_for: Sequence[int] = ()
        """Runs that must end before there is one to claim, as of the last claim that gave none."""
        self._study_id, self.identity = storage.patiently(
            lambda: open_study(storage, plan, consent)
        )
        self._reader = TrialReader(self._study_id)
        self._writer = TrialWriter(
            self._study_id, distributions(plan.space), owner, describe=describe, place=place
        )
        self.baselines = storage.patiently(self._read_baselines)
        """Losses of the trivial predictors on the study's validation events, once computed."""
        storage.patiently(self._catch_up)
        storage.patiently(self._insert_missing_twins)

    # Reading

    def runs(self) -> list[Run]:
        """All runs so far, those of other coordinators with their newest epochs."""
        with self._storage.reading() as connection:
            self._take_in_new(connection)
            foreign = self._index.unfinished.keys() - self._held
            for trial in self._reader.read(connection, foreign):
                self._index.put(trial)
        return self._index.runs()

    def is_anything_left(self) -> bool:
        """Whether a claim may still succeed, now or when another coordinator's run is lost."""
        self._catch_up()
        unfinished = (own_tag(trial).key for trial in self._index.unfinished.values())
        return (
            self._next_continued() is not None
            or not isinstance(self._proposal(), Exhausted)
            or any(map(self._proposer.is_wanted, unfinished))
        )

    def losses(self, claim: Claim) -> Mapping[int, float]:
        """Validation loss per epoch of the run of a claim, those of earlier trials included."""
        trials = self._index.trials(claim.key)
        return {epoch: loss for trial in trials for epoch, loss in trial.losses.items()}

    # Changing

    def describe_study(self, attributes: Mapping[str, Any], note: str = "") -> None:
        """Store what readers without the search file need to know, and the study's note."""
        with self._storage.writing() as connection:
            transactions.lock_study(connection, self._study_id)
            transactions.set_study_attrs(connection, self._study_id, attributes)
            if note:
                transactions.note_study(connection, self._study_id, note)

    def keep_baselines(self, baselines: Sequence[Baseline]) -> None:
        """Store the losses of the trivial predictors on the study's validation events."""
        self.describe_study({BASELINES: attribute_of(baselines)})
        self.baselines = tuple(baselines)

    def claim(self) -> Claim | None:
        """Take the next run: an interrupted one first, else a new one.

        None = nothing to take: none is left, or others must end first, see `waits_for`.

        Raises:
            StudyMovedOnError, SecondHostError: If others have changed it, or must not share it.
        """
        self._catch_up()  # before the lock is held, for which others may be waiting
        self._bury_orphans()
        self.waits_for = ()
        trial = None
        while trial is None:
            ordinal, proposal = self._index.next_ordinal, self._proposal()
            with self._storage.writing() as connection:
                transactions.lock_study(connection, self._study_id)
                self._require_present(connection)
                self._take_in_new(connection)
                self._liveness.require_one_host(connection, self._reader, self._index)
                # The answer to a claim may have been lost on its way while the claim took effect.
                trial = next(self._unknown_own(), None)
                key = self._next_continued() if trial is None else None
                if key is not None:
                    trial = self._writer.next(connection, self._index.trials(key)[-1])
                elif trial is None:
                    if self._index.next_ordinal != ordinal:
                        # Somebody else was faster. Without the lock, that may go on for ever.
                        ordinal, proposal = self._index.next_ordinal, self._proposal()
                    if isinstance(proposal, Proposal):
                        trial = self._writer.first(connection, proposal, ordinal)
                    elif isinstance(proposal, Exhausted):
                        return None
                    elif waits_for := self._index.unended(proposal.num_runs):
                        self.waits_for = waits_for
                        return None
        self._index.put(trial)
        self._reader.last_id = max(self._reader.last_id, trial.trial_id)
        self._held.add(trial.trial_id)
        claim = self._claim_of(trial)
        self._to_retry.discard(claim.key)
        return claim

    def report(self, claim: Claim, epoch: int, validation_loss: float) -> None:
        """Store an epoch's validation loss.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        assert isfinite(validation_loss), "a non-finite loss is an outcome, not a value"
        with self._changing(claim) as connection:
            transactions.report(connection, claim.trial_id, epoch, validation_loss)
        trial = self._index.unfinished[claim.trial_id]
        trial.losses[epoch] = validation_loss
        self._index.put(trial)

    def annotate(self, claim: Claim, attributes: Mapping[str, Any]) -> None:
        """Store attributes of a running trial.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        with self._changing(claim) as connection:
            transactions.annotate(connection, claim.trial_id, attributes)
        trial = self._index.unfinished[claim.trial_id]
        trial.user_attrs.update(attributes)
        self._index.put(trial)

    def beat(self, claims: Sequence[Claim]) -> None:
        """Tell other hosts that these trials are alive."""
        if claims:
            with self._storage.writing() as connection:
                transactions.beat(connection, [claim.trial_id for claim in claims])

    def judge_later(self) -> None:
        """After an outage: give everyone time for a heartbeat before anyone is taken for dead."""
        self._liveness.judge_later()

    def complete(
        self,
        claim: Claim,
        validation_loss: float,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Store the result of a run, and that of the grid cells which mean the same.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        assert isfinite(validation_loss), "a non-finite loss is an outcome, not a value"
        self._finish(claim, TrialState.COMPLETE, validation_loss, attributes, artifacts)

    def fail(
        self,
        claim: Claim,
        reason: str,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Store that a trial failed; the reasons `interrupted` and `lost` leave it resumable.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        self._finish(claim, TrialState.FAIL, None, {**attributes, REASON: reason}, artifacts)

    def retry_failed(self) -> int:
        """Let the next claims take the failed runs again, each once; returns how many."""
        self._catch_up()
        failed = self._index.keys(RunState.FAILED)
        self._to_retry = set(filter(self._proposer.is_wanted, failed))
        return len(self._to_retry)

    def _read_baselines(self) -> tuple[Baseline, ...]:
        with self._storage.reading() as connection:
            return baselines_in(transactions.study_attr(connection, self._study_id, BASELINES))

    # What others did

    def _catch_up(self) -> None:
        with self._storage.reading() as connection:
            self._take_in_new(connection)

    def _take_in_new(self, connection: Connection) -> None:
        """Take in what is stored now; call it before the transaction changes a trial itself."""
        for trial in self._reader.new(connection):
            self._index.put(trial)
        unfinished = self._index.unfinished.keys()
        if unfinished:
            for trial in self._reader.finished(connection, unfinished):
                self._index.put(trial)

    def _bury_orphans(self) -> None:
        """Fail the trials whose coordinator is gone, so that their runs can be resumed."""
        foreign = [a for i, a in self._index.unfinished.items() if i not in self._held]
        orphans = [trial for trial in foreign if self._liveness.is_gone(trial)]
        gone = {orphan.trial_id for orphan in orphans}
        judged = self._liveness.judged(a for a in foreign if a.trial_id not in gone)
        if judged:
            with self._storage.reading() as connection:
                stale = self._reader.stale(connection, judged, GRACE_SECONDS)
            orphans += [self._index.unfinished[trial_id] for trial_id in stale]
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

    # Claims

    def _require_present(self, connection: Connection) -> None:
        """Hand out nothing on data, or by a strategy, that another coordinator has replaced."""
        stored = transactions.study_system_attrs(connection, self._study_id, [REVISION])
        if stored.get(REVISION) != self.identity.revision:
            raise StudyMovedOnError(self._name)

    def _proposal(self) -> Proposal | Wait | Exhausted:
        return self._proposer.propose(self._index.next_ordinal, self._index)

    def _unknown_own(self) -> Iterator[StoredTrial]:
        for trial_id, trial in self._index.unfinished.items():
            owner = owner_of(trial)
            if trial_id not in self._held and owner and owner.name == self._owner.name:
                yield trial

    def _next_continued(self) -> str | None:
        interrupted = filter(self._proposer.is_wanted, self._index.keys(RunState.INTERRUPTED))
        failed = self._to_retry.intersection(self._index.keys(RunState.FAILED))
        return min((*interrupted, *failed), key=self._index.ordinal, default=None)

    def _claim_of(self, trial: StoredTrial) -> Claim:
        run, tag = run_number(trial), own_tag(trial)
        point = Point.from_json(tag.point)
        return Claim(
            trial_id=trial.trial_id,
            trial_number=trial.number,
            run_number=run,
            title=self._describe(tag.key, point).title(run),
            key=tag.key,
            point=point,
            is_continuation=len(self._index.trials(tag.key)) > 1,
            batch_plan=batch_plan_of(trial.user_attrs),
        )

    # Results

    @contextmanager
    def _changing(self, claim: Claim) -> Iterator[Connection]:
        """A transaction that changes a trial of ours."""
        try:
            with self._storage.writing() as connection:
                yield connection
        except FinishedError:
            self._held.discard(claim.trial_id)
            raise LeaseLostError from None

    def _finish(
        self,
        claim: Claim,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact],
    ) -> None:
        ended = datetime.now(UTC)
        trial = self._index.unfinished.get(claim.trial_id)
        if trial is not None:
            trial = replace(
                trial,
                state=state,
                value=value,
                user_attrs={**trial.user_attrs, **attributes},
                ended=ended.astimezone(),
            )
        try:
            with self._storage.writing() as connection:
                transactions.finish_trial(
                    connection,
                    claim.trial_id,
                    state,
                    value=value,
                    user_attrs=attributes,
                    artifacts=artifacts,
                    ended=ended,
                )
                if trial is not None and state == TrialState.COMPLETE:
                    self._insert_twins(connection, trial)
        except FinishedError:
            trial = self._stored_before(claim, state, value, attributes)
        assert trial is not None, "a trial that was running is known to be"
        self._index.put(trial)
        self._held.discard(claim.trial_id)

    def _stored_before(
        self,
        claim: Claim,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
    ) -> StoredTrial:
        """The trial, if this coordinator finished it and only the answer was lost.

        Raises:
            LeaseLostError: If it was someone else.
        """
        with self._storage.reading() as connection:
            stored = next(iter(self._reader.read(connection, [claim.trial_id])), None)
        self._held.discard(claim.trial_id)
        if stored is None:
            raise LeaseLostError
        self._index.put(stored)
        found = (stored.state, stored.value, stored.user_attrs.get(REASON))
        if found != (state, value, attributes.get(REASON)):
            raise LeaseLostError
        return stored

    # Grid cells that mean the same

    def _insert_missing_twins(self) -> None:
        """Make up for the twins of runs that were completed when the study was a sample."""
        complete = [self._index.trials(key)[-1] for key in self._index.keys(RunState.COMPLETE)]
        missing = [trial for trial in complete if any(self._twins(trial))]
        if not missing:
            return
        with self._storage.writing() as connection:
            transactions.lock_study(connection, self._study_id)
            self._take_in_new(connection)
            for trial in sorted(missing, key=lambda a: a.number):
                self._insert_twins(connection, trial)
        self._catch_up()

    def _twins(self, original: StoredTrial) -> list[Proposal]:
        """Cells that are still to take the result of a complete run."""
        tag = own_tag(original)
        taken = [own_tag(twin).point for twin in self._index.duplicates.get(tag.key, [])]
        point = Point.from_json(tag.point)
        twins = self._proposer.twins(tag.key, point)
        return [twin for twin in twins if twin.point.as_json() not in taken]

    def _insert_twins(self, connection: Connection, original: StoredTrial) -> None:
        twins = self._twins(original)
        if twins:
            transactions.lock_study(connection, self._study_id)
            self._writer.twins(connection, original, twins)
