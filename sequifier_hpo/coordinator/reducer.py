"""The policy of a search, as one pure function: (state, event) -> (state, actions).

Which trial starts when, what is retried and how, when the search gives up or ends: all of it is
decided here and nothing is done here. The loop performs the actions. Events are what workers say,
as they say it, and the few things that the loop itself finds out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import assert_never

from sequifier_hpo.coordinator.pool import WorkerGone
from sequifier_hpo.messages import BaselinesFound, EpochDone, EpochsRestored, TrialEnded
from sequifier_hpo.records import (
    Baseline,
    BatchPlan,
    EpochReport,
    Failure,
    OutcomeKind,
    TrainingResult,
)

MAX_HALVINGS = 3
MAX_LOST_WORKERS = 3


@dataclass(frozen=True)
class Policy:
    """What the search file decides."""

    max_consecutive_failures: int
    accumulates: bool
    """Whether an out-of-memory retry doubles the accumulation steps while it halves the batch."""


@dataclass(frozen=True)
class ActiveTrial:
    """A trial this coordinator holds."""

    trial_number: int
    slot: int
    plan: BatchPlan
    """What it trains with; `accumulation_steps` is known."""
    num_lost_workers: int = 0
    attempt: int = 1
    has_progressed: bool = False
    """Whether an epoch of the present attempt has ended, or of one that it continues."""
    too_large: tuple[BatchPlan, ...] = ()
    """Plans for which a device like this one surely has not enough memory."""
    num_foreseen: int = 0
    """Attempts that were counted as out of memory without being made."""
    is_hopeless: bool = False
    """Whether that holds for the last one, too."""


@dataclass(frozen=True)
class State:
    """Everything a decision depends on."""

    policy: Policy
    free_slots: frozenset[int]
    trials: Mapping[int, ActiveTrial] = field(default_factory=dict)
    ending: Mapping[int, int] = field(default_factory=dict)
    """Trial number -> slot of the trials that were stopped at a rung, until they have ended."""
    claims_pending: frozenset[int] = frozenset()
    """Slots for which a claim is under way."""
    is_exhausted: bool = False
    """Whether the last claim found nothing; other coordinators may still lose a run."""
    is_stopping: bool = False
    recent_failures: tuple[Failure, ...] = ()
    """Those since the last success; once it gave up, they are kept."""
    gave_up: bool = False
    has_baselines: bool = True
    """Whether the losses of the trivial predictors are known; else every attempt is to find them."""

    @property
    def is_waiting(self) -> bool:
        """Whether workers are idle until runs have ended."""
        return bool(self.free_slots) and not self.is_exhausted and not self.is_ending

    @property
    def is_ending(self) -> bool:
        """Whether nothing more is started."""
        return self.is_stopping or self.gave_up


# Events of the loop


@dataclass(frozen=True)
class Started:
    """The search begins."""


@dataclass(frozen=True)
class Claimed:
    """A claim gave a trial."""

    trial: ActiveTrial
    is_continuation: bool


@dataclass(frozen=True)
class NothingToClaim:
    """A claim gave nothing."""

    slot: int
    must_wait: bool = False
    """Whether there is more, which depends on runs that are in training: their end asks again."""


@dataclass(frozen=True)
class WorkLeft:
    """Claiming makes sense again: another coordinator has lost a run, or one has ended."""


@dataclass(frozen=True)
class Pruned:
    """The run of a trial ends at a rung: other runs are better there."""

    trial_number: int
    rung: int


@dataclass(frozen=True)
class LeaseLost:
    """Another coordinator has taken the trial over."""

    trial_number: int


@dataclass(frozen=True)
class StopRequested:
    """The user asked to stop."""


OfTrial = EpochsRestored | EpochDone | TrialEnded | WorkerGone | LeaseLost | Pruned
"""What happens to one trial."""
Event = Started | Claimed | NothingToClaim | WorkLeft | StopRequested | BaselinesFound | OfTrial


# Actions


@dataclass(frozen=True)
class Claim:
    """Ask the study for a run."""

    slot: int


@dataclass(frozen=True)
class Train:
    """Start an attempt."""

    trial: ActiveTrial
    resume: bool
    wants_baselines: bool


@dataclass(frozen=True)
class StoreEpoch:
    """Report an epoch to the study."""

    trial: ActiveTrial
    report: EpochReport


@dataclass(frozen=True)
class StoreRestored:
    """Report the epochs of the run before it was continued, as far as the study lacks them."""

    trial: ActiveTrial
    validation_losses: Mapping[int, float]


@dataclass(frozen=True)
class StorePruned:
    """Tell the study that a run was stopped at a rung."""

    trial: ActiveTrial
    rung: int
    """Epochs that count."""


@dataclass(frozen=True)
class StoreBaselines:
    """Give the study the losses of the trivial predictors."""

    baselines: Sequence[Baseline]


@dataclass(frozen=True)
class StoreEnd:
    """Tell the study how a trial ended; an interrupted one leaves its run resumable."""

    trial: ActiveTrial
    result: TrainingResult


@dataclass(frozen=True)
class AnnounceRetry:
    """Let the study and the user know that there are other batches, in a retry or from the start."""

    trial: ActiveTrial
    why: str


@dataclass(frozen=True)
class EndTrial:
    """Ask the worker of a trial to write a checkpoint and end it."""

    trial_number: int


@dataclass(frozen=True)
class Abandon:
    """End a trial's process without telling the study."""

    trial_number: int


@dataclass(frozen=True)
class GiveUp:
    """Say that the search ends because of repeated failures."""

    failures: tuple[Failure, ...]


@dataclass(frozen=True)
class StopTrials:
    """Ask all workers to checkpoint and end their trials."""


OfHeldTrial = StoreEpoch | StoreRestored | StoreEnd | StorePruned | AnnounceRetry
"""What the study is told of a trial that this coordinator holds."""
ForStorage = Claim | StoreBaselines | OfHeldTrial
"""Actions that need the study."""
Action = ForStorage | Train | EndTrial | Abandon | GiveUp | StopTrials
Step = tuple[State, list[Action]]


def is_over(state: State) -> bool:
    """Whether nothing runs and nothing more will be started by this coordinator."""
    idle = not state.trials and not state.ending and not state.claims_pending
    return idle and (state.is_exhausted or state.is_ending)


def reduce(state: State, event: Event) -> Step:
    """Decide what follows from an event."""
    match event:
        case Started():
            return _claim_for_free_slots(state)
        case WorkLeft():
            return _claim_for_free_slots(replace(state, is_exhausted=False))
        case Claimed():
            return _claimed(state, event)
        case NothingToClaim(slot, must_wait):
            pending, free = state.claims_pending - {slot}, state.free_slots | {slot}
            state = replace(state, claims_pending=pending, free_slots=free)
            return replace(state, is_exhausted=not must_wait), []
        case StopRequested():
            if state.is_stopping:
                return state, []
            return replace(state, is_stopping=True), [StopTrials()]
        case BaselinesFound():
            if state.has_baselines:
                return state, []
            return replace(state, has_baselines=True), [StoreBaselines(event.baselines)]
        case EpochsRestored() | EpochDone() | TrialEnded() | WorkerGone() | LeaseLost() | Pruned():
            trial = state.trials.get(event.trial_number)
            return _rest_of(state, event) if trial is None else _happened(state, trial, event)
        case _:
            assert_never(event)


def _rest_of(state: State, event: OfTrial) -> Step:
    """What a trial still says that is not held any more."""
    if event.trial_number not in state.ending or not isinstance(event, TrialEnded | WorkerGone):
        return state, []
    slot = state.ending[event.trial_number]
    ending = {n: s for n, s in state.ending.items() if n != event.trial_number}
    return _then_claim(replace(state, ending=ending, free_slots=state.free_slots | {slot}), [])


def _happened(state: State, trial: ActiveTrial, event: OfTrial) -> Step:
    match event:
        case EpochsRestored():
            trial = replace(trial, has_progressed=True)
            return _with(state, trial), [StoreRestored(trial, event.validation_losses)]
        case EpochDone():
            # A trial that makes progress is not what takes its worker down.
            trial = replace(trial, num_lost_workers=0, has_progressed=True)
            return _with(state, trial), [StoreEpoch(trial, event.report)]
        case TrialEnded():
            return _ended(state, trial, event.result)
        case WorkerGone():
            return _worker_gone(state, trial)
        case LeaseLost():
            return _then_claim(_without(state, trial), [Abandon(event.trial_number)])
        case Pruned():
            trials = {n: t for n, t in state.trials.items() if n != trial.trial_number}
            ending = {**state.ending, trial.trial_number: trial.slot}
            actions: list[Action] = [EndTrial(trial.trial_number), StorePruned(trial, event.rung)]
            return replace(state, trials=trials, ending=ending), actions
        case _:
            assert_never(event)


def _claimed(state: State, event: Claimed) -> Step:
    slot = event.trial.slot
    state = replace(state, claims_pending=state.claims_pending - {slot})
    state = _with(state, event.trial)
    if state.is_ending:
        return _released(state, event.trial)
    actions: list[Action] = [_train(state, event.trial, resume=event.is_continuation)]
    if event.trial.num_foreseen:
        actions = [AnnounceRetry(event.trial, _foreseen(event.trial)), *actions]
    return state, actions


def _foreseen(trial: ActiveTrial) -> str:
    size = trial.plan.batch_size
    if trial.is_hopeless:
        return f"out of memory, as is known, at every batch size down to {size}; not tried"
    return f"out of memory, as is known, at batch sizes above {size}; beginning with that"


def _ended(state: State, trial: ActiveTrial, result: TrainingResult) -> Step:
    match result.kind:
        case OutcomeKind.COMPLETED:
            # What made the search give up stays the reason, also if another run succeeds by then.
            failures = state.recent_failures if state.gave_up else ()
            state = _without(replace(state, recent_failures=failures), trial)
            return _then_claim(state, [StoreEnd(trial, result)])
        case OutcomeKind.INTERRUPTED | OutcomeKind.DIVERGED:
            # Divergence is a result, of the values that were tried: no sign that the rest will fail.
            return _then_claim(_without(state, trial), [StoreEnd(trial, result)])
        case OutcomeKind.OUT_OF_MEMORY:
            return _out_of_memory(state, trial, result)
        case OutcomeKind.CRASHED | OutcomeKind.INVALID:
            return _failed(state, trial, result)
        case _:
            assert_never(result.kind)


def _worker_gone(state: State, trial: ActiveTrial) -> Step:
    """Continue in a new worker, unless it is the trial that takes its workers down."""
    if state.is_ending:
        return _released(state, trial)
    if trial.num_lost_workers >= MAX_LOST_WORKERS:
        reason = f"its worker process was lost {trial.num_lost_workers + 1} times"
        batch_size = trial.plan.batch_size
        lost = TrainingResult(kind=OutcomeKind.CRASHED, reason=reason, batch_size=batch_size)
        return _failed(state, trial, lost)
    trial = replace(trial, num_lost_workers=trial.num_lost_workers + 1)
    return _again(state, trial, "its worker process was lost", resume=True)


def _out_of_memory(state: State, trial: ActiveTrial, result: TrainingResult) -> Step:
    """Halve the batch and start again, at most `MAX_HALVINGS` times and never below 1."""
    if state.is_ending:
        return _released(state, trial)
    plan = trial.plan
    # What an epoch that ended leads to, early stopping for one, is not known of another run.
    if result.is_certain and not trial.has_progressed:
        trial = replace(trial, too_large=(*trial.too_large, plan))
    smaller = halved(plan, state.policy)
    if smaller is None:
        return _failed(state, trial, result)
    why = f"out of memory at batch size {plan.batch_size}; retrying with {smaller.batch_size}"
    return _again(state, replace(trial, plan=smaller, has_progressed=False), why, resume=False)


def halved(plan: BatchPlan, policy: Policy) -> BatchPlan | None:
    """What is tried where the memory does not suffice for a plan; None = nothing."""
    if plan.oom_retries >= MAX_HALVINGS or plan.batch_size < 2:
        return None
    assert plan.accumulation_steps is not None
    return BatchPlan(
        batch_size=plan.batch_size // 2,
        accumulation_steps=plan.accumulation_steps * (2 if policy.accumulates else 1),
        oom_retries=plan.oom_retries + 1,
    )


def _again(state: State, trial: ActiveTrial, why: str, *, resume: bool) -> Step:
    trial = replace(trial, attempt=trial.attempt + 1)
    return _with(state, trial), [AnnounceRetry(trial, why), _train(state, trial, resume=resume)]


def _failed(state: State, trial: ActiveTrial, result: TrainingResult) -> Step:
    failures = (*state.recent_failures, Failure(trial.trial_number, result.reason))
    gives_up = len(failures) >= state.policy.max_consecutive_failures
    state = _without(replace(state, recent_failures=failures), trial)
    actions: list[Action] = [StoreEnd(trial, result)]
    if gives_up and not state.gave_up:
        state = replace(state, gave_up=True)
        actions += [GiveUp(failures), StopTrials()]
    return _then_claim(state, actions)


def _released(state: State, trial: ActiveTrial) -> Step:
    """Hand a trial back that is not running, so that the next start continues it."""
    result = TrainingResult(kind=OutcomeKind.INTERRUPTED, batch_size=trial.plan.batch_size)
    return _then_claim(_without(state, trial), [StoreEnd(trial, result)])


def _train(state: State, trial: ActiveTrial, *, resume: bool) -> Train:
    return Train(trial, resume=resume, wants_baselines=not state.has_baselines)


def _with(state: State, trial: ActiveTrial) -> State:
    return replace(state, trials={**state.trials, trial.trial_number: trial})


def _without(state: State, trial: ActiveTrial) -> State:
    trials = {n: t for n, t in state.trials.items() if n != trial.trial_number}
    return replace(state, trials=trials, free_slots=state.free_slots | {trial.slot})


def _then_claim(state: State, actions: list[Action]) -> Step:
    state, claims = _claim_for_free_slots(state)
    return state, [*actions, *claims]


def _claim_for_free_slots(state: State) -> Step:
    if state.is_exhausted or state.is_ending:
        return state, []
    slots = sorted(state.free_slots)
    pending = state.claims_pending | state.free_slots
    state = replace(state, free_slots=frozenset(), claims_pending=pending)
    return state, [Claim(slot) for slot in slots]
