"""A study: claim a run, report its epochs, tell its end. All that others see of Optuna.

Every change that decides who runs what happens under the storage's lock: a claim hands out each
rank once across crashes, processes and machines, and ends exactly when all are handed out.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Run, RunState
from sequifier_hpo.searchspace import (
    Cell,
    EffectiveSpace,
    SearchSpace,
    describe_space,
    differences,
    fingerprint,
)
from sequifier_hpo.study import transactions
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.runs import (
    DUPLICATE_OF,
    OWNER,
    REASON,
    RUN,
    RunIndex,
    run_number,
)
from sequifier_hpo.study.samplers import RANK, distributions, make_sampler
from sequifier_hpo.study.storages import Storage

METRIC = "validation_loss"
_SPACE, _FINGERPRINT, _STRATEGY, _NUM_RUNS = "space", "fingerprint", "strategy", "num_runs"

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


class StudyMissingError(InputError):
    """The storage holds no study of that name."""


@dataclass(frozen=True)
class SearchPlan:
    """What a study is to run."""

    name: str
    space: SearchSpace
    effective: EffectiveSpace
    strategy: str
    num_runs: int
    """Distinct runs in all: ranks 0 ... num_runs-1."""
    describe: Callable[[Cell], Mapping[str, Any]]
    """User attributes that describe a cell's configuration."""


@dataclass(frozen=True)
class Claim:
    """A trial that this coordinator runs."""

    trial_id: int
    trial_number: int
    run_number: int
    rank: int
    cell: Cell
    is_continuation: bool
    """Whether an earlier trial of the run may have left a checkpoint."""
    batch_size: int | None
    """What an out-of-memory retry of an earlier trial had come down to; None = as configured."""
    oom_retries: int


class SearchStudy:
    """The study of one search, as its coordinator sees it."""

    def __init__(self, storage: Storage, plan: SearchPlan, owner: Owner) -> None:
        """Create the study, or open it if it exists.

        Raises:
            SpaceChangedError: If it exists with another search space.
        """
        self._storage = storage
        self._plan = plan
        self._owner = owner
        self._index = RunIndex()
        self._to_retry: set[int] = set()
        self._distributions = distributions(plan.space)
        self._sampler = make_sampler(plan.space, plan.effective, plan.strategy)
        with storage.lock():
            self._study = self._open()
            self._refresh()
            self._bury_orphans()
            for rank in list(self._index.ranks):
                self._mirror_duplicates(rank)

    # Reading

    def runs(self) -> list[Run]:
        """All runs so far."""
        self._refresh()
        return self._index.runs()

    def num_finished(self) -> int:
        """Runs that are complete or failed for good."""
        return sum(
            self._index.state(rank) in {RunState.COMPLETE, RunState.FAILED}
            for rank in self._index.ranks
        )

    # Changing

    def claim(self) -> Claim | None:
        """Take the next run: an interrupted one first, else the next rank; None = all taken."""
        with self._storage.lock():
            self._refresh()
            self._bury_orphans()
            rank = next(filter(self._is_claimable, self._index.ranks), self._index.next_rank)
            self._to_retry.discard(rank)
            if rank >= self._plan.num_runs and rank not in self._index.ranks:
                return None
            return self._start(rank)

    def is_anything_left(self) -> bool:
        """Whether a claim may still succeed, now or when another coordinator's run is lost."""
        self._refresh()
        return self._index.next_rank < self._plan.num_runs or any(
            self._index.state(rank) == RunState.RUNNING or self._is_claimable(rank)
            for rank in self._index.ranks
        )

    def report(
        self, claim: Claim, epoch: int, validation_loss: float, attributes: Mapping[str, Any]
    ) -> None:
        """Store an epoch's validation loss, and beat for the trial.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        assert isfinite(validation_loss), "a non-finite loss is an outcome, not a value"
        self._changing(
            lambda: transactions.report(
                self._storage.rdb, claim.trial_id, epoch, validation_loss, attributes
            )
        )

    def annotate(self, claim: Claim, attributes: Mapping[str, Any]) -> None:
        """Store attributes of a running trial.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        self._changing(lambda: transactions.annotate(self._storage.rdb, claim.trial_id, attributes))

    def beat(self, claims: Sequence[Claim]) -> None:
        """Tell other hosts that these trials are alive."""
        for claim in claims:
            self._storage.rdb.record_heartbeat(claim.trial_id)

    def complete(self, claim: Claim, validation_loss: float, attributes: Mapping[str, Any]) -> None:
        """Store the result of a run, and that of the grid cells which mean the same.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        assert isfinite(validation_loss), "a non-finite loss is an outcome, not a value"
        self._finish(claim, TrialState.COMPLETE, validation_loss, attributes)
        if self._plan.strategy == "grid" and self._plan.effective.num_duplicates(claim.rank):
            with self._storage.lock():
                self._refresh()
                self._mirror_duplicates(claim.rank)

    def fail(self, claim: Claim, reason: str, attributes: Mapping[str, Any]) -> None:
        """Store that an attempt failed; the reasons `interrupted` and `lost` leave it resumable.

        Raises:
            LeaseLostError: If the trial was finished by another coordinator.
        """
        self._finish(claim, TrialState.FAIL, None, {**attributes, REASON: reason})

    def retry_failed(self) -> int:
        """Let the next claims take the failed runs again, each once; returns how many."""
        self._refresh()
        self._to_retry = {r for r in self._index.ranks if self._index.state(r) == RunState.FAILED}
        return len(self._to_retry)

    def set_num_runs(self) -> None:
        """Store how many runs the study is to have now."""
        attrs = {_NUM_RUNS: self._plan.num_runs, _STRATEGY: self._plan.strategy}
        transactions.set_study_attrs(self._storage.rdb, self._study._study_id, attrs)

    # Inside

    def _is_claimable(self, rank: int) -> bool:
        state = self._index.state(rank)
        return state == RunState.INTERRUPTED or (
            state == RunState.FAILED and rank in self._to_retry
        )

    def _open(self) -> optuna.Study:
        name = self._plan.name
        description = describe_space(self._plan.space)
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
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.set_metric_names([METRIC])
            attrs = {_SPACE: description, _FINGERPRINT: fingerprint(description)}
            transactions.set_study_attrs(self._storage.rdb, study._study_id, attrs)
        stored = study.user_attrs
        if stored.get(_FINGERPRINT) != fingerprint(description):
            raise SpaceChangedError(name, differences(stored.get(_SPACE, {}), description))
        return study

    def _refresh(self) -> None:
        self._index.update(self._study.get_trials(deepcopy=False))

    def _bury_orphans(self) -> None:
        """Fail the trials whose coordinator is gone, so that their runs can be continued."""
        running = self._index.running()
        if not running:
            return
        stale = set(self._storage.rdb._get_stale_trial_ids(self._study._study_id))
        for trial in running:
            if self._is_orphan(trial, stale):
                transactions.finish_trial(
                    self._storage.rdb,
                    trial._trial_id,
                    TrialState.FAIL,
                    user_attrs={REASON: "lost"},
                    system_attrs={},
                )
        self._refresh()

    def _is_orphan(self, trial: FrozenTrial, stale: set[int]) -> bool:
        text = trial.user_attrs.get(OWNER)
        if text is None:
            return True  # every trial of ours is created with its owner
        owner = Owner.model_validate_json(text)
        if owner.name == self._owner.name:
            return False
        if owner.is_on_this_host():
            return owner.is_dead()
        return trial._trial_id in stale

    def _start(self, rank: int) -> Claim:
        earlier = self._index.attempts(rank) if rank in self._index.ranks else []
        newest = earlier[-1] if earlier else None
        trial = self._create(
            rank, newest, TrialState.RUNNING, {OWNER: self._owner.model_dump_json()}
        )
        attributes = newest.user_attrs if newest else {}
        return Claim(
            trial_id=trial._trial_id,
            trial_number=trial.number,
            run_number=run_number(trial),
            rank=rank,
            cell=self._plan.effective.representative(rank),
            is_continuation=bool(earlier),
            batch_size=attributes.get("effective_batch_size"),
            oom_retries=attributes.get("oom_retries", 0),
        )

    def _create(
        self,
        rank: int,
        continued: FrozenTrial | None,
        state: TrialState,
        user_attrs: Mapping[str, Any],
        *,
        value: float | None = None,
    ) -> FrozenTrial:
        """Insert a trial with all its parameters in one transaction."""
        system_attrs: dict[str, Any] = {RANK: rank}
        inherited: dict[str, Any] = {}
        if continued is not None:
            system_attrs[RUN] = run_number(continued)
            inherited = {
                key: continued.user_attrs[key]
                for key in ("effective_batch_size", "oom_retries")
                if key in continued.user_attrs
            }
        described = self._plan.describe(self._plan.effective.representative(rank))
        template = create_trial(
            state=state,
            value=value,
            params=self._sampler.propose(rank),
            distributions=self._distributions,
            user_attrs={**described, **inherited, **user_attrs},
            system_attrs=system_attrs,
        )
        trial_id = self._storage.rdb.create_new_trial(self._study._study_id, template)
        if state == TrialState.RUNNING:
            self._storage.rdb.record_heartbeat(trial_id)
        return self._storage.rdb.get_trial(trial_id)

    def _finish(
        self,
        claim: Claim,
        state: TrialState,
        value: float | None,
        attributes: Mapping[str, Any],
    ) -> None:
        self._changing(
            lambda: transactions.finish_trial(
                self._storage.rdb,
                claim.trial_id,
                state,
                value=value,
                user_attrs=attributes,
                system_attrs={},
            )
        )

    def _changing(self, change: Callable[[], None]) -> None:
        try:
            change()
        except optuna.exceptions.UpdateFinishedTrialError as error:
            raise LeaseLostError from error

    def _mirror_duplicates(self, rank: int) -> None:
        """Give the other grid cells of a complete run its result; call under the lock."""
        if self._plan.strategy != "grid" or self._index.state(rank) != RunState.COMPLETE:
            return
        done = {
            self._plan.space.cell_of(trial.params) for trial in self._index.duplicates.get(rank, [])
        }
        original = self._index.attempts(rank)[-1]
        for cell in self._plan.effective.duplicates(rank):
            if cell in done:
                continue
            template = create_trial(
                state=TrialState.COMPLETE,
                value=original.value,
                params=dict(self._plan.space.labels(cell)),
                distributions=self._distributions,
                user_attrs={**self._plan.describe(cell), DUPLICATE_OF: run_number(original)},
                system_attrs={RANK: rank},
            )
            self._storage.rdb.create_new_trial(self._study._study_id, template)
        self._refresh()


@dataclass(frozen=True)
class StudySnapshot:
    """A study as `status`, `best` and `report` see it: read only, without its search file."""

    name: str
    strategy: str
    num_runs: int
    space: Mapping[str, Any]
    runs: tuple[Run, ...]
    read_at: datetime


def read_study(storage: Storage, name: str) -> StudySnapshot:
    """Read a study without changing anything.

    Raises:
        StudyMissingError: If there is no such study in the storage.
    """
    # Always a sampler: the default one would be built for nothing.
    sampler = optuna.samplers.RandomSampler()
    try:
        study = optuna.load_study(study_name=name, storage=storage.cached, sampler=sampler)
    except KeyError as error:
        names = optuna.get_all_study_names(storage.cached)
        known = ", ".join(names) if names else "none"
        raise StudyMissingError(
            f"there is no study `{name}` in {storage.shown_url}", f"studies there: {known}"
        ) from error
    index = RunIndex()
    index.update(study.get_trials(deepcopy=False))
    attrs = study.user_attrs
    return StudySnapshot(
        name=name,
        strategy=attrs.get(_STRATEGY, ""),
        num_runs=attrs.get(_NUM_RUNS, 0),
        space=attrs.get(_SPACE, {}),
        runs=tuple(index.runs()),
        read_at=datetime.now().astimezone(),
    )
