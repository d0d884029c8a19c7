"""A study whose trials coordinators share: claim one, report its epochs, tell its end.

Every change that decides who runs what is one transaction that holds the lock of the study's row
(on SQLite: of the database). So a claim hands out each rank once across crashes, processes and
machines, and ends exactly when all are handed out.
"""

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from sqlalchemy import Connection

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Baseline, BatchPlan, Run, RunState
from sequifier_hpo.searchspace import (
    Cell,
    SearchSpace,
    describe_space,
    differences,
    fingerprint,
)
from sequifier_hpo.study import transactions
from sequifier_hpo.study.attempts import Attempt, TrialReader
from sequifier_hpo.study.batch_plans import BATCH_PLAN_ATTRIBUTES, batch_plan_of
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.notes import MAX_TRIAL_NOTES, Artifact
from sequifier_hpo.study.runs import OWNER, REASON, RUN, RunIndex, owner_text, run_number
from sequifier_hpo.study.samplers import RANK, distributions
from sequifier_hpo.study.storages import GRACE_SECONDS, Storage
from sequifier_hpo.study.transactions import FinishedError, NewTrial

METRIC = "validation_loss"
SPACE, _FINGERPRINT = "sequifier_hpo:space", "sequifier_hpo:fingerprint"
"""System attributes of the study."""
BASELINES = "baselines"
"""User attribute of the study: the losses of trivial predictors, by name."""

_log = logging.getLogger("sequifier_hpo.study")
optuna.logging.set_verbosity(optuna.logging.WARNING)


class LeaseLostError(Exception):
    """The trial was finished by someone else: this coordinator was taken for dead."""


class SpaceChangedError(InputError):
    """The study in the storage was started with another search space."""

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        shown = "\n".join(f"      {line}" for line in lines)
        super().__init__(
            f"the study `{name}` was started with another search space:\n{shown}\n"
            "      (- stored, + in the file now, ~ changed)",
            "undo the change to go on with this study, or give the new search another "
            "hp_search_name",
        )


@dataclass(frozen=True)
class Claim:
    """A trial that this coordinator runs."""

    trial_id: int
    trial_number: int
    run_number: int
    title: str
    """What is trained, for people: `run 5`."""
    rank: int
    cell: Cell
    is_continuation: bool
    """Whether an earlier trial of the run may have left a checkpoint."""
    batch_plan: BatchPlan | None
    """What an out-of-memory retry of an earlier trial had come down to; None = as configured."""


@dataclass(frozen=True)
class Task:
    """What a trial of one rank begins with."""

    params: Mapping[str, str]
    """The cell as Optuna stores it: parameter -> label."""
    attributes: Mapping[str, Any]
    """User attributes."""
    note: Callable[[int], str] | None = None
    """Run number -> Markdown that describes the run; None = no note."""


class TrialStudy(ABC):
    """A study as its coordinator sees it; what it is to run is up to the kinds of study.

    Every method that touches the storage may raise `StorageFaultError`. It can then be called
    again with the same arguments, whether or not the storage had carried it out.
    """

    def __init__(
        self,
        storage: Storage,
        owner: Owner,
        *,
        name: str,
        space: SearchSpace,
        sampler: BaseSampler,
        clock: Callable[[], float],
    ) -> None:
        """Create the study, or open it if it exists.

        Args:
            storage: Where it is.
            owner: Who we are.
            name: Its name there.
            space: What its trials are taken from.
            sampler: What Optuna is told that proposes them.
            clock: Seconds that only grow.

        Raises:
            SpaceChangedError: If it exists with another search space.
        """
        self._storage = storage
        self._owner = owner
        self._name = name
        self._space = space
        self._sampler = sampler
        self._clock = clock
        self._index = RunIndex()
        self._held: set[int] = set()
        self._to_retry: set[int] = set()
        self._judges_from = clock()
        # Those of this host hold their lock, so they live, but may hang: watched, then judged.
        self._judges_living_from = clock() + GRACE_SECONDS
        self._distributions = transactions.Distributions(distributions(space))
        self._study_id = storage.patiently(self._open)
        self._reader = TrialReader(self._study_id)
        storage.patiently(self._catch_up)

    # What the kinds of study decide

    @abstractmethod
    def _next_new(self) -> int | None:
        """The next rank that was never handed out, or None."""

    @abstractmethod
    def _is_wanted(self, rank: int) -> bool:
        """Whether a rank that was handed out is still to come to its end."""

    @abstractmethod
    def _cell(self, rank: int) -> Cell:
        """The configuration that a rank stands for."""

    @abstractmethod
    def _task(self, rank: int) -> Task:
        """What is stored of a rank when a trial of it begins."""

    @abstractmethod
    def _title(self, rank: int, run_number: int) -> str:
        """What a rank is called in front of people."""

    @abstractmethod
    def _add_to_completion(self, connection: Connection, attempt: Attempt) -> None:
        """Store what follows from a result, in the same transaction."""

    # Reading

    def runs(self) -> list[Run]:
        """All runs so far, those of other coordinators with their newest epochs."""
        with self._storage.reading() as connection:
            self._take_in_new(connection)
            foreign = self._index.unfinished.keys() - self._held
            for attempt in self._reader.read(connection, foreign):
                self._index.put(attempt)
        return self._index.runs()

    def is_anything_left(self) -> bool:
        """Whether a claim may still succeed, now or when another coordinator's run is lost."""
        with self._storage.reading() as connection:
            self._take_in_new(connection)
        unfinished = self._index.unfinished.values()
        return self._next_rank() is not None or any(
            self._is_wanted(attempt.system_attrs[RANK]) for attempt in unfinished
        )

    def losses(self, claim: Claim) -> Mapping[int, float]:
        """Validation loss per epoch of the run of a claim, those of earlier attempts included."""
        attempts = self._index.attempts(claim.rank)
        return {epoch: loss for attempt in attempts for epoch, loss in attempt.losses.items()}

    # Changing

    def claim(self) -> Claim | None:
        """Take the next run: an interrupted one first, else the next rank; None = all taken."""
        self._bury_orphans()
        with self._storage.writing() as connection:
            transactions.lock_study(connection, self._study_id)
            self._take_in_new(connection)
            # The answer to a claim may have been lost on its way while the claim took effect.
            attempt = next(self._unknown_own(), None)
            if attempt is None:
                rank = self._next_rank()
                if rank is None:
                    return None
                attempt = self._insert_attempt(connection, rank)
        self._index.put(attempt)
        self._reader.last_id = max(self._reader.last_id, attempt.trial_id)
        self._held.add(attempt.trial_id)
        rank = attempt.system_attrs[RANK]
        self._to_retry.discard(rank)
        return self._claim_of(attempt, rank)

    def report(
        self, claim: Claim, epoch: int, validation_loss: float, attributes: Mapping[str, Any]
    ) -> None:
        """Store an epoch's validation loss.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        assert isfinite(validation_loss), "a non-finite loss is an outcome, not a value"
        with self._changing(claim) as connection:
            transactions.report(connection, claim.trial_id, epoch, validation_loss, attributes)
        attempt = self._index.unfinished[claim.trial_id]
        attempt.losses[epoch] = validation_loss
        attempt.user_attrs.update(attributes)
        self._index.put(attempt)

    def annotate(self, claim: Claim, attributes: Mapping[str, Any]) -> None:
        """Store attributes of a running trial.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        with self._changing(claim) as connection:
            transactions.annotate(connection, claim.trial_id, attributes)
        attempt = self._index.unfinished[claim.trial_id]
        attempt.user_attrs.update(attributes)
        self._index.put(attempt)

    def beat(self, claims: Sequence[Claim]) -> None:
        """Tell other hosts that these trials are alive."""
        if claims:
            with self._storage.writing() as connection:
                transactions.beat(connection, [claim.trial_id for claim in claims])

    def judge_later(self) -> None:
        """After an outage: let everyone beat again before anyone is taken for dead."""
        self._judges_from = self._judges_living_from = self._clock() + GRACE_SECONDS

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
        """Store that an attempt failed; the reasons `interrupted` and `lost` leave it resumable.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        attributes = {**attributes, REASON: reason}
        self._finish(claim, TrialState.FAIL, None, attributes, artifacts)

    def keep_baselines(self, baselines: Sequence[Baseline]) -> None:
        """Store the losses of trivial predictors on the validation events of the study."""
        attrs = {BASELINES: {baseline.name: baseline.loss for baseline in baselines}}
        with self._storage.writing() as connection:
            transactions.lock_study(connection, self._study_id)
            transactions.set_study_attrs(connection, self._study_id, attrs)

    def retry_failed(self) -> int:
        """Let the next claims take the failed runs again, each once; returns how many."""
        self._catch_up()
        self._to_retry = set(filter(self._is_wanted, self._index.ranks(RunState.FAILED)))
        return len(self._to_retry)

    # Opening

    def _open(self) -> int:
        name = self._name
        description = describe_space(self._space)
        with self._storage.faults(), self._storage.lock():
            try:
                study = optuna.load_study(
                    study_name=name, storage=self._storage.cached, sampler=self._sampler
                )
            except KeyError:
                study = optuna.create_study(
                    study_name=name,
                    storage=self._storage.cached,
                    sampler=self._sampler,
                    direction="minimize",
                )
            with self._storage.reading() as connection:
                stored = stored_identity(connection, study)
            if _FINGERPRINT not in stored:  # new, or its creator died before it was described
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    study.set_metric_names([METRIC])
                stored = {SPACE: description, _FINGERPRINT: fingerprint(description)}
                with self._storage.writing() as connection:
                    transactions.set_study_system_attrs(connection, study._study_id, stored)
        if stored[_FINGERPRINT] != fingerprint(description):
            raise SpaceChangedError(name, differences(stored.get(SPACE, {}), description))
        return study._study_id

    # What others did

    def _catch_up(self) -> None:
        with self._storage.reading() as connection:
            self._take_in_new(connection)

    def _take_in_new(self, connection: Connection) -> None:
        """Take in what is stored now; call it before the transaction changes a trial itself."""
        for attempt in self._reader.new(connection):
            self._index.put(attempt)
        unfinished = self._index.unfinished.keys()
        if unfinished:
            for attempt in self._reader.finished(connection, unfinished):
                self._index.put(attempt)

    def _bury_orphans(self) -> None:
        """Fail the trials whose coordinator is gone, so that their runs can be continued."""
        foreign = [a for i, a in self._index.unfinished.items() if i not in self._held]
        orphans = [attempt for attempt in foreign if self._is_orphan(attempt)]
        dead = {orphan.trial_id for orphan in orphans}
        now = self._clock()
        judged = [
            attempt.trial_id
            for attempt in foreign
            if attempt.trial_id not in dead
            and now >= (self._judges_from if _is_elsewhere(attempt) else self._judges_living_from)
        ]
        if judged:
            with self._storage.reading() as connection:
                stale = self._reader.stale(connection, judged, GRACE_SECONDS)
            orphans += [self._index.unfinished[trial_id] for trial_id in stale]
        for orphan in orphans:
            with suppress(FinishedError):
                self._bury(orphan, "is dead" if orphan.trial_id in dead else "does not beat")

    def _bury(self, orphan: Attempt, why: str) -> None:
        with self._storage.writing() as connection:
            transactions.finish_trial(
                connection,
                orphan.trial_id,
                TrialState.FAIL,
                user_attrs={REASON: "lost"},
                ended=datetime.now(UTC),
            )
        owner = _owner_of(orphan)
        fields = {
            "study": self._name,
            "trial_number": orphan.number,
            "run_number": run_number(orphan),
            "owner": owner and owner.name,
            "owner_host": owner and owner.host,
            "why": f"its owner {why}",
        }
        _log.warning("run taken over", extra=fields)

    def _is_orphan(self, attempt: Attempt) -> bool:
        owner = _owner_of(attempt)
        if owner is None:
            return True  # every trial of ours is created with its owner
        is_other = owner.name != self._owner.name
        return is_other and owner.is_on_this_host() and owner.is_dead()

    # Claims

    def _unknown_own(self) -> Iterator[Attempt]:
        for trial_id, attempt in self._index.unfinished.items():
            owner = _owner_of(attempt)
            if trial_id not in self._held and owner and owner.name == self._owner.name:
                yield attempt

    def _next_continued(self) -> int | None:
        interrupted = self._index.ranks(RunState.INTERRUPTED)
        failed = self._to_retry.intersection(self._index.ranks(RunState.FAILED))
        return min((*filter(self._is_wanted, interrupted), *failed), default=None)

    def _next_rank(self) -> int | None:
        rank = self._next_continued()
        return self._next_new() if rank is None else rank

    def _insert_attempt(self, connection: Connection, rank: int) -> Attempt:
        earlier = self._index.attempts(rank)
        system_attrs: dict[str, Any] = {RANK: rank, OWNER: self._owner.model_dump_json()}
        inherited: dict[str, Any] = {}
        if earlier:
            system_attrs[RUN] = run_number(earlier[-1])
            attrs = earlier[-1].user_attrs
            inherited = {key: attrs[key] for key in BATCH_PLAN_ATTRIBUTES if key in attrs}
        task = self._task(rank)
        new = NewTrial(
            state=TrialState.RUNNING,
            params=task.params,
            user_attrs={**task.attributes, **inherited},
            system_attrs=system_attrs,
        )
        ((trial_id, number),) = transactions.insert_trials(
            connection, self._study_id, self._distributions, [new]
        )
        run = system_attrs.get(RUN, number)
        self._note_trial(connection, trial_id, number, run, task.note)
        return Attempt(
            trial_id=trial_id,
            number=number,
            state=new.state,
            value=None,
            params=new.params,
            user_attrs=dict(new.user_attrs),
            system_attrs=new.system_attrs,
            losses={},
            started=new.created.astimezone(),
            ended=None,
        )

    def _note_trial(
        self,
        connection: Connection,
        trial_id: int,
        number: int,
        run: int,
        write: Callable[[int], str] | None,
    ) -> None:
        """Put a note on a new trial of a run."""
        if write is not None and number < MAX_TRIAL_NOTES:
            transactions.note_trial(connection, self._study_id, trial_id, write(run))

    def _claim_of(self, attempt: Attempt, rank: int) -> Claim:
        run = run_number(attempt)
        return Claim(
            trial_id=attempt.trial_id,
            trial_number=attempt.number,
            run_number=run,
            title=self._title(rank, run),
            rank=rank,
            cell=self._cell(rank),
            is_continuation=len(self._index.attempts(rank)) > 1,
            batch_plan=batch_plan_of(attempt.user_attrs),
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
        attempt = self._index.unfinished.get(claim.trial_id)
        if attempt is not None:
            attempt = replace(
                attempt,
                state=state,
                value=value,
                user_attrs={**attempt.user_attrs, **attributes},
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
                if attempt is not None and state == TrialState.COMPLETE:
                    self._add_to_completion(connection, attempt)
        except FinishedError:
            attempt = self._stored_before(claim, state, value, attributes)
        assert attempt is not None, "a trial that was running is known to be"
        self._index.put(attempt)
        self._held.discard(claim.trial_id)

    def _stored_before(
        self,
        claim: Claim,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
    ) -> Attempt:
        """The trial, if it was we who finished it and only the answer got lost.

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


def stored_identity(connection: Connection, study: optuna.Study) -> dict[str, Any]:
    """The stored space and its fingerprint; they were user attributes once."""
    keys = (SPACE, _FINGERPRINT)
    stored = transactions.study_system_attrs(connection, study._study_id, keys)
    if _FINGERPRINT in stored:
        return stored
    attrs = study.user_attrs
    return {key: attrs[old] for key in keys if (old := key.partition(":")[2]) in attrs}


def _owner_of(attempt: Attempt) -> Owner | None:
    text = owner_text(attempt)
    return None if text is None else Owner.model_validate_json(text)


def _is_elsewhere(attempt: Attempt) -> bool:
    owner = _owner_of(attempt)
    return owner is not None and not owner.is_on_this_host()
