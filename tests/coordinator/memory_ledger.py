"""A ledger in memory for the stories of a search, and what can go wrong with a storage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import Any, Protocol

from sequifier_hpo.coordinator.ledger import Ledger
from sequifier_hpo.records import Baseline, BatchPlan
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study import (
    Artifact,
    Claim,
    LeaseLostError,
    Pruner,
    StorageFaultError,
    TrainedRun,
    Verdict,
    batch_plan_attributes,
    batch_plan_of,
)
from sequifier_hpo.study.proposing import Curves, NoPruner


class Storage(Protocol):
    """What can go wrong with a ledger."""

    is_out: bool
    answers_until_loss: int
    """How many changes from now, counted from 1, takes effect without an answer; 0 = none."""

    def take_over(self, trial_number: int) -> None:
        """Let another coordinator take a running trial over."""

    def let_go(self, *, completing: bool) -> None:
        """Let the other coordinators lose, or complete, what they have taken over."""


class RunStands(Enum):
    WAITING = auto()
    HERE = auto()
    ELSEWHERE = auto()
    INTERRUPTED = auto()
    COMPLETE = auto()
    PRUNED = auto()
    FAILED = auto()


_ENDS = frozenset({RunStands.COMPLETE, RunStands.PRUNED, RunStands.FAILED})


@dataclass
class KeptTrial:
    """A trial as the ledger knows it."""

    claim: Claim
    stands: RunStands = RunStands.HERE
    losses: list[tuple[int, float]] = field(default_factory=list)
    """Reported, in their order."""
    attributes: dict[str, Any] = field(default_factory=dict)
    end: tuple[Any, ...] | None = None
    """What it was told of the end."""
    is_ours: bool = True


class MemoryLedger(Ledger, Storage):
    """A ledger that forgets nothing and forgives nothing."""

    def __init__(self, num_runs: int, proposal_gap: int | None = None) -> None:
        self.proposal_gap = proposal_gap
        self.waits_for: Sequence[int] = ()
        self.could_free = ""
        self.pruner: Pruner = NoPruner()
        self.runs = [RunStands.WAITING] * num_runs
        self.trials: list[KeptTrial] = []
        self.baselines: list[Sequence[Baseline]] = []
        self.beats: list[list[int]] = []
        self.num_late_judgements = 0
        self.is_out = False
        self.answers_until_loss = 0
        self.undelivered: Claim | None = None
        """What was claimed while the answer got lost."""

    # What the coordinator asks

    def claim(self) -> Claim | None:
        self._reach()
        if self.undelivered is None:
            self.undelivered = self._next()
        if self.undelivered is None:
            return None
        self._answer()
        claim, self.undelivered = self.undelivered, None
        return claim

    def is_anything_left(self) -> bool:
        self._reach()
        return not _ENDS.issuperset(self.runs)

    def look_at_others(self) -> None:
        self._reach()

    def verdict(self, claim: Claim) -> Verdict:
        return self.pruner.verdict(claim.run_number, _Curves(self))

    def report(self, claim: Claim, epoch: int, validation_loss: float) -> None:
        trial = self._running(claim)
        if trial.losses[-1:] != [(epoch, validation_loss)]:
            trial.losses.append((epoch, validation_loss))
        self._answer()

    def annotate(self, claim: Claim, attributes: Mapping[str, Any]) -> None:
        self._running(claim).attributes.update(attributes)
        self._answer()

    def losses(self, claim: Claim) -> Mapping[int, float]:
        of_run = [t for t in self.trials if t.claim.run_number == claim.run_number]
        return {epoch: loss for trial in of_run for epoch, loss in trial.losses}

    def complete(
        self,
        claim: Claim,
        validation_loss: float,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        self._end(claim, RunStands.COMPLETE, (validation_loss,), attributes)

    def prune(
        self,
        claim: Claim,
        rung: int,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        self._end(claim, RunStands.PRUNED, (rung,), attributes)

    def fail(
        self,
        claim: Claim,
        reason: str,
        attributes: Mapping[str, Any],
        artifacts: Sequence[Artifact] = (),
    ) -> None:
        stands = RunStands.INTERRUPTED if reason == "interrupted" else RunStands.FAILED
        self._end(claim, stands, (reason,), attributes)

    def keep_baselines(self, baselines: Sequence[Baseline]) -> None:
        self._reach()
        self.baselines.append(baselines)
        self._answer()

    def beat(self, claims: Sequence[Claim]) -> None:
        self._reach()
        self.beats.append([claim.trial_number for claim in claims])
        self._answer()

    def judge_later(self) -> None:
        self.num_late_judgements += 1

    # What the story does

    def take_over(self, trial_number: int) -> None:
        trial = self.trials[trial_number]
        if trial.stands is RunStands.HERE:
            trial.stands, trial.is_ours = RunStands.INTERRUPTED, False
            self.runs[trial.claim.run_number] = RunStands.ELSEWHERE

    def let_go(self, *, completing: bool) -> None:
        stands = RunStands.COMPLETE if completing else RunStands.INTERRUPTED
        self.runs = [stands if run is RunStands.ELSEWHERE else run for run in self.runs]

    def start_again(self) -> None:
        """The coordinator has ended: what it still held is found abandoned by the next."""
        self.undelivered, self.is_out, self.answers_until_loss = None, False, 0
        for number in range(len(self.trials)):
            self.take_over(number)
        self.let_go(completing=False)

    # Inside

    def _next(self) -> Claim | None:
        self.waits_for = ()
        for stands in (RunStands.INTERRUPTED, RunStands.WAITING):
            if stands in self.runs:
                run = self.runs.index(stands)
                break
        else:
            return None
        if stands is RunStands.WAITING and self.proposal_gap is not None:
            seen = range(max(0, run - self.proposal_gap + 1))
            self.waits_for = [k for k in seen if self.runs[k] not in _ENDS]
            if self.waits_for:
                return None
        earlier = [trial for trial in self.trials if trial.claim.run_number == run]
        inherited = batch_plan_of(earlier[-1].attributes) if earlier else None
        number = len(self.trials)
        claim = _claim(number, run, is_continuation=bool(earlier), plan=inherited)
        kept = {} if inherited is None else batch_plan_attributes(inherited)
        self.trials.append(KeptTrial(claim, attributes=kept))
        self.runs[run] = RunStands.HERE
        return claim

    def _running(self, claim: Claim) -> KeptTrial:
        self._reach()
        trial = self.trials[claim.trial_number]
        if not trial.is_ours:
            raise LeaseLostError
        assert trial.end is None, "something is told of a trial that has its end"
        return trial

    def _end(
        self, claim: Claim, stands: RunStands, what: tuple[Any, ...], attrs: Mapping[str, Any]
    ) -> None:
        self._reach()
        trial = self.trials[claim.trial_number]
        if not trial.is_ours:
            raise LeaseLostError
        assert trial.end in {None, what}, "a trial has two ends"
        trial.end, trial.stands = what, stands
        trial.attributes.update(attrs)
        self.runs[claim.run_number] = stands
        self._answer()

    def _reach(self) -> None:
        if self.is_out:
            raise StorageFaultError("it is out")

    def _answer(self) -> None:
        was_counting = self.answers_until_loss > 0
        self.answers_until_loss -= self.answers_until_loss > 0
        if self.answers_until_loss == 0 and was_counting:
            raise StorageFaultError("its answer was lost")


def _claim(number: int, run: int, *, is_continuation: bool, plan: BatchPlan | None) -> Claim:
    return Claim(
        trial_id=number + 100,
        trial_number=number,
        run_number=run,
        title=f"run {run}",
        key=f"key of run {run}",
        point=Point({"run": run}),
        is_continuation=is_continuation,
        batch_plan=plan,
    )


_versions = count()


class _Curves(Curves):
    """What a pruner sees of the runs of a ledger; they are handed out in their order."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    @property
    def version(self) -> int:
        return next(_versions)

    def trained(self, ordinal: int) -> TrainedRun | None:
        trials = [t for t in self._ledger.trials if t.claim.run_number == ordinal]
        stands = self._ledger.runs[ordinal]
        losses = {epoch: loss for trial in trials for epoch, loss in trial.losses}
        rung: int | None = None
        if stands is RunStands.PRUNED:
            assert trials[-1].end is not None
            (rung,) = trials[-1].end
        return TrainedRun(Point({"run": ordinal}), losses, rung, stands in _ENDS)

    def in_training(self) -> Sequence[int]:
        waiting = _ENDS | {RunStands.WAITING}
        return [k for k, stands in enumerate(self._ledger.runs) if stands not in waiting]
