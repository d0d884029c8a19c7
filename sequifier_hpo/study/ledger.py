"""The ledger of a study: who holds which run, and its outcome.

Every change that decides who runs what is one transaction that holds the lock of the study's row
(on SQLite: of the database). So each run is handed out once across crashes, processes and
machines, and the study ends exactly when there is none left. Which run comes next is up to a
proposer; the ledger knows runs by their keys.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from sequifier_hpo.study.identity import REVISION, Strategy
from sequifier_hpo.study.known_trials import KnownTrials
from sequifier_hpo.study.liveness import owner_of
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.marking import all_spaces
from sequifier_hpo.study.notes import Artifact
from sequifier_hpo.study.opening import NO_CONSENT, Consent, foresee, open_study
from sequifier_hpo.study.plan import StudyPlan
from sequifier_hpo.study.proposing import (
    NO_LIMIT,
    Again,
    Answer,
    Exhausted,
    GoOn,
    Limit,
    NoPruner,
    Proposal,
    Proposer,
    Pruner,
    Verdict,
    Wait,
)
from sequifier_hpo.study.refusals import StudyMovedOnError
from sequifier_hpo.study.runs import EPOCHS_TRAINED, REASON, STOPPED_AT, run_number, stopped_at
from sequifier_hpo.study.storages import Storage
from sequifier_hpo.study.tags import own_tag
from sequifier_hpo.study.transactions import FinishedError
from sequifier_hpo.study.trial_writer import TrialWriter
from sequifier_hpo.study.trials import StoredTrial
from sequifier_hpo.study.twins import Twins


class Ledger:
    """A study as its coordinator sees it.

    Every method that touches the storage may raise `StorageFaultError`. It can then be called
    again with the same arguments, whether or not the storage had carried it out.
    """

    waits_for: Sequence[int] = ()
    """Runs that must end before there is one to claim, as of the last claim that gave none."""
    could_free = ""
    """Which setting would shorten that wait if it was larger; "" = none."""

    def __init__(
        self,
        storage: Storage,
        owner: Owner,
        plan: StudyPlan,
        proposer: Proposer,
        *,
        pruner: Callable[[Sequence[Strategy]], Pruner] = lambda _strategies: NoPruner(),
        limit: Limit = NO_LIMIT,
        describe: Callable[[str, Point], Description] = lambda _key, _point: Description(),
        place: Place = NOWHERE,
        consent: Consent = NO_CONSENT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the study, or open it if it exists; `change` is how it was revised, if it was.

        Args:
            storage: Where it is.
            owner: Who we are.
            plan: What the study should be.
            proposer: Which runs it has, and in which order.
            pruner: From how the runs of the study are chosen, oldest first, to which are stopped.
            limit: Whether there is enough left for the next run.
            describe: (key, point) -> what people are shown of a run.
            place: Where the files of our runs are.
            consent: What the user agreed to about changed data, and a changed space.
            clock: Monotonic seconds.

        Raises:
            SpaceChangedError, DataChangedError, UnknownDataError: If it is not the one that is meant.
            RunsMovedOnError: If others went on with it while its runs were evaluated anew.
        """
        self._storage, self._owner, self._name = storage, owner, plan.name
        self._proposer, self._limit = proposer, limit
        self._describe = describe
        self._again: set[str] = set()
        foreseen = foresee(storage, plan, consent)
        opened = storage.patiently(lambda: open_study(storage, plan, consent, foreseen))
        self._study_id, self.identity, self.change = opened.number, opened.identity, opened.change
        self._pruner = pruner(self.identity.strategies)
        self._known = KnownTrials(storage, self._study_id, plan.name, owner, clock)
        self._index = self._known.index
        self._index.spaces = self.identity.spaces
        space = all_spaces(self.identity) or plan.space
        self._writer = TrialWriter(self._study_id, space, owner, describe=describe, place=place)
        self._twins = Twins(self._study_id, proposer, self._known, self._writer, self._is_present)
        self.baselines = storage.patiently(self._read_baselines)
        """Losses of the trivial predictors on the study's validation events, once computed."""
        storage.patiently(self._known.catch_up)
        storage.patiently(lambda: self._twins.insert_missing(storage))

    def runs(self) -> list[Run]:
        """All runs so far, those of other coordinators with their newest epochs."""
        self._known.look_at_others()
        return self._index.runs()

    def look_at_others(self) -> None:
        """Read the newest epochs of the runs that other coordinators train."""
        self._known.look_at_others()

    def verdict(self, claim: Claim) -> Verdict:
        """What becomes of a run after the epochs that it has been through, as far as is known."""
        if claim.stopped_at is not None:
            return GoOn()  # now it is given its full length
        return self._pruner.verdict(self._index.ordinal(claim.key), self._index)

    def is_anything_left(self) -> bool:
        """Whether a claim may still succeed, now or when another coordinator's run is lost."""
        self._known.catch_up()
        unfinished = (own_tag(trial).key for trial in self._index.unfinished.values())
        is_anything_next = not isinstance(self._limited(), Exhausted)
        is_left = is_anything_next or any(map(self._is_wanted, unfinished))
        if not is_left and self.identity.spaces:
            # Who works on a former space inserts none.
            self._twins.insert_missing(self._storage)
        return is_left

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
        self._known.catch_up()  # before the lock is held, for which others may be waiting
        self._known.bury_orphans()
        self.waits_for = ()
        trial = None
        while trial is None:
            last_id, proposal = self._known.reader.last_id, self._proposal()
            with self._storage.writing() as connection:
                transactions.lock_study(connection, self._study_id)
                self._require_present(connection)
                self._known.take_in_new(connection)
                self._known.require_one_host(connection)
                # The answer to a claim may have been lost on its way while the claim took effect.
                trial = next(self._unknown_own(), None)
                if trial is not None:
                    break
                # If somebody else was faster, once more: without the lock, that may go on for ever.
                is_outdated = self._known.reader.last_id != last_id
                answer = self._limited(None if is_outdated else proposal)
                match answer:
                    case Proposal():
                        trial = self._writer.first(connection, answer, self._index.next_ordinal)
                    case Again(key):
                        trial = self._writer.next(connection, self._index.trials(key)[-1])
                    case Exhausted():
                        return None
                    case Wait(num_runs) if waits_for := self._index.unended(num_runs):
                        self.waits_for, self.could_free = waits_for, answer.setting
                        return None
        self._index.put(trial)
        self._known.reader.last_id = max(self._known.reader.last_id, trial.trial_id)
        self._known.held.add(trial.trial_id)
        claim = self._claim_of(trial)
        self._again.discard(claim.key)
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
        self._known.judge_later()

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

    def prune(
        self,
        claim: Claim,
        rung: int,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        """Store that a run was stopped at a rung, and nothing of what came after it.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        losses = self.losses(claim)
        best = min(loss for epoch, loss in losses.items() if epoch <= rung)
        attributes = {**attributes, STOPPED_AT: rung, EPOCHS_TRAINED: max(losses)}
        self._finish(claim, TrialState.PRUNED, best, attributes, artifacts)

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
        self._known.catch_up()
        self._again |= set(filter(self._proposer.is_wanted, self._index.keys(RunState.FAILED)))
        return len(self._again)

    def finish(self, run_numbers: Collection[int]) -> Collection[int]:
        """Let the next claims give stopped runs their full length; returns those not stopped."""
        self._known.catch_up()
        keys = self._index.keys(RunState.PRUNED)
        stopped = {run_number(self._index.trials(key)[0]): key for key in keys}
        self._again |= {stopped[number] for number in run_numbers if number in stopped}
        return [number for number in run_numbers if number not in stopped]

    def _read_baselines(self) -> tuple[Baseline, ...]:
        with self._storage.reading() as connection:
            return baselines_in(transactions.study_attr(connection, self._study_id, BASELINES))

    # Claims

    def _require_present(self, connection: Connection) -> None:
        """Hand out nothing of a space, on data or by a strategy that another has replaced."""
        if not self._is_present(connection):
            raise StudyMovedOnError(self._name)

    def _is_present(self, connection: Connection) -> bool:
        """Whether the study still is what it was when it was opened."""
        stored = transactions.study_system_attrs(connection, self._study_id, [REVISION])
        return bool(stored.get(REVISION) == self.identity.revision)

    def _is_wanted(self, key: str) -> bool:
        return self._proposer.is_wanted(key) and not self._index.is_set_aside(key)

    def _proposal(self) -> Answer:
        return self._proposer.propose(self._index.next_ordinal, self._index)

    def _limited(self, proposal: Answer | None = None) -> Answer:
        """What is handed out next: a run that is to be continued, else what is proposed."""
        key = self._next_continued()
        answer = (proposal or self._proposal()) if key is None else Again(key)
        return self._limit.limit(answer, self._index)

    def _unknown_own(self) -> Iterator[StoredTrial]:
        for trial_id, trial in self._index.unfinished.items():
            owner = owner_of(trial)
            if trial_id not in self._known.held and owner and owner.name == self._owner.name:
                yield trial

    def _next_continued(self) -> str | None:
        interrupted = filter(self._proposer.is_wanted, self._index.keys(RunState.INTERRUPTED))
        ended = {*self._index.keys(RunState.FAILED), *self._index.keys(RunState.PRUNED)}
        return min((*interrupted, *(self._again & ended)), key=self._index.ordinal, default=None)

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
            stopped_at=stopped_at(self._index.trials(tag.key)),
            batch_plan=batch_plan_of(trial.user_attrs),
            ran_out=self._index.ran_out,
        )

    # Results

    @contextmanager
    def _changing(self, claim: Claim) -> Iterator[Connection]:
        """A transaction that changes a trial of ours."""
        try:
            with self._storage.writing() as connection:
                yield connection
        except FinishedError:
            self._known.held.discard(claim.trial_id)
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
            trial = trial.ended_as(state, value, attributes, ended)
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
                if state == TrialState.PRUNED:
                    trials = [each.trial_id for each in self._index.trials(claim.key)]
                    transactions.drop_after(connection, trials, attributes[STOPPED_AT])
                if trial is not None and state == TrialState.COMPLETE:
                    self._twins.insert(connection, trial)
        except FinishedError:
            trial = self._stored_before(claim, state, value, attributes)
        assert trial is not None, "a trial that was running is known to be"
        self._index.put(trial)
        if state == TrialState.PRUNED:
            self._index.drop_after(claim.key, attributes[STOPPED_AT])
        self._known.held.discard(claim.trial_id)

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
            stored = next(iter(self._known.reader.read(connection, [claim.trial_id])), None)
        self._known.held.discard(claim.trial_id)
        if stored is None:
            raise LeaseLostError
        self._index.put(stored)
        found = (stored.state, stored.value, stored.user_attrs.get(REASON))
        if found != (state, value, attributes.get(REASON)):
            raise LeaseLostError
        return stored
