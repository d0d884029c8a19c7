"""The policy of a search, as one pure function: (state, event) -> (state, actions).

Which trial starts when, what is retried and how, when the search gives up or ends: all of it is
decided here and nothing is done here. The loop performs the actions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import singledispatch

from sequifier_hpo.records import EpochReport, OutcomeKind, TrainingResult

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
    batch_size: int
    accumulation_steps: int
    oom_retries: int = 0
    num_lost_workers: int = 0
    attempt: int = 1


@dataclass(frozen=True)
class State:
    """Everything a decision depends on."""

    policy: Policy
    free_slots: frozenset[int]
    trials: Mapping[int, ActiveTrial] = field(default_factory=dict)
    claims_pending: frozenset[int] = frozenset()
    """Slots for which a claim is under way."""
    is_exhausted: bool = False
    """Whether the last claim found nothing; other coordinators may still lose a run."""
    is_stopping: bool = False
    recent_failures: tuple[str, ...] = ()
    """Reasons of the failures since the last success."""
    gave_up: bool = False


# Events


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


@dataclass(frozen=True)
class WorkLeft:
    """While exhausted: another coordinator lost a run, so claiming makes sense again."""


@dataclass(frozen=True)
class EpochEnded:
    """A trial finished an epoch."""

    trial_number: int
    report: EpochReport


@dataclass(frozen=True)
class TrialEnded:
    """An attempt ended."""

    trial_number: int
    result: TrainingResult


@dataclass(frozen=True)
class WorkerLost:
    """The worker process of a trial is gone, and not through the trial's own fault."""

    trial_number: int


@dataclass(frozen=True)
class LeaseLost:
    """Another coordinator has taken the trial over."""

    trial_number: int


@dataclass(frozen=True)
class StopRequested:
    """The user asked to stop."""


Event = (
    Started
    | Claimed
    | NothingToClaim
    | WorkLeft
    | EpochEnded
    | TrialEnded
    | WorkerLost
    | LeaseLost
    | StopRequested
)


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


@dataclass(frozen=True)
class StoreEpoch:
    """Report an epoch to the study."""

    trial_number: int
    report: EpochReport


@dataclass(frozen=True)
class StoreResult:
    """Tell the study that a trial is complete."""

    trial: ActiveTrial
    result: TrainingResult


@dataclass(frozen=True)
class StoreFailure:
    """Tell the study that a trial failed; the reason `interrupted` leaves its run resumable."""

    trial: ActiveTrial
    reason: str
    result: TrainingResult


@dataclass(frozen=True)
class AnnounceRetry:
    """Let the user know that an attempt is repeated."""

    trial: ActiveTrial
    why: str


@dataclass(frozen=True)
class Abandon:
    """End a trial's process without telling the study."""

    trial_number: int


@dataclass(frozen=True)
class StopTrials:
    """Ask all workers to checkpoint and end their trials."""


Action = (
    Claim | Train | StoreEpoch | StoreResult | StoreFailure | AnnounceRetry | Abandon | StopTrials
)
Step = tuple[State, list[Action]]


def is_over(state: State) -> bool:
    """Whether nothing runs and nothing more will be started by this coordinator."""
    idle = not state.trials and not state.claims_pending
    return idle and (state.is_exhausted or state.is_stopping or state.gave_up)


def reduce(state: State, event: Event) -> Step:
    """Decide what follows from an event."""
    return _reduce(event, state)


@singledispatch
def _reduce(event: Event, state: State) -> Step:
    raise AssertionError(f"no rule for {event} in {state}")


@_reduce.register
def _(_event: Started, state: State) -> Step:
    return _claim_for_free_slots(state)


@_reduce.register
def _(_event: WorkLeft, state: State) -> Step:
    return _claim_for_free_slots(replace(state, is_exhausted=False))


@_reduce.register
def _(event: Claimed, state: State) -> Step:
    slot = event.trial.slot
    state = replace(
        state,
        claims_pending=state.claims_pending - {slot},
        trials={**state.trials, event.trial.trial_number: event.trial},
    )
    if state.is_stopping or state.gave_up:
        return _released(state, event.trial, _interrupted(event.trial))
    return state, [Train(event.trial, resume=event.is_continuation)]


@_reduce.register
def _(event: NothingToClaim, state: State) -> Step:
    return replace(
        state,
        claims_pending=state.claims_pending - {event.slot},
        free_slots=state.free_slots | {event.slot},
        is_exhausted=True,
    ), []


@_reduce.register
def _(event: EpochEnded, state: State) -> Step:
    trial = state.trials.get(event.trial_number)
    if trial is None:
        return state, []
    # A trial that gets on is not what takes its worker down.
    state = _with(state, replace(trial, num_lost_workers=0))
    return state, [StoreEpoch(event.trial_number, event.report)]


@_reduce.register
def _(event: TrialEnded, state: State) -> Step:
    trial = state.trials.get(event.trial_number)
    if trial is None:
        return state, []
    result = event.result
    if result.kind == OutcomeKind.COMPLETED:
        state = _without(replace(state, recent_failures=()), trial)
        return _then_claim(state, [StoreResult(trial, result)])
    if result.kind == OutcomeKind.INTERRUPTED:
        return _released(state, trial, result)
    if result.kind == OutcomeKind.OUT_OF_MEMORY:
        return _out_of_memory(state, trial, result)
    return _failed(state, trial, result)


@_reduce.register
def _(event: WorkerLost, state: State) -> Step:
    trial = state.trials.get(event.trial_number)
    if trial is None:
        return state, []
    if state.is_stopping:
        return _released(state, trial, _interrupted(trial))
    if trial.num_lost_workers >= MAX_LOST_WORKERS:
        reason = f"its worker process was lost {trial.num_lost_workers + 1} times"
        lost = TrainingResult(kind=OutcomeKind.CRASHED, reason=reason, batch_size=trial.batch_size)
        return _failed(state, trial, lost)
    trial = replace(trial, num_lost_workers=trial.num_lost_workers + 1, attempt=trial.attempt + 1)
    actions: list[Action] = [AnnounceRetry(trial, "its worker process was lost")]
    return _with(state, trial), [*actions, Train(trial, resume=True)]


@_reduce.register
def _(event: LeaseLost, state: State) -> Step:
    trial = state.trials.get(event.trial_number)
    if trial is None:
        return state, []
    return _then_claim(_without(state, trial), [Abandon(event.trial_number)])


@_reduce.register
def _(_event: StopRequested, state: State) -> Step:
    if state.is_stopping:
        return state, []
    return replace(state, is_stopping=True), [StopTrials()]


def _out_of_memory(state: State, trial: ActiveTrial, result: TrainingResult) -> Step:
    """Halve the batch and start again, at most `MAX_HALVINGS` times and never below 1."""
    if state.is_stopping:
        return _released(state, trial, _interrupted(trial))
    if trial.oom_retries >= MAX_HALVINGS or trial.batch_size < 2:
        return _failed(state, trial, result)
    smaller = replace(
        trial,
        batch_size=trial.batch_size // 2,
        accumulation_steps=trial.accumulation_steps * (2 if state.policy.accumulates else 1),
        oom_retries=trial.oom_retries + 1,
        attempt=trial.attempt + 1,
    )
    why = f"out of memory at batch size {trial.batch_size}; again with {smaller.batch_size}"
    return _with(state, smaller), [AnnounceRetry(smaller, why), Train(smaller, resume=False)]


def _failed(state: State, trial: ActiveTrial, result: TrainingResult) -> Step:
    failures = (*state.recent_failures, result.reason)
    gives_up = len(failures) >= state.policy.max_consecutive_failures
    state = _without(replace(state, recent_failures=failures), trial)
    actions: list[Action] = [StoreFailure(trial, result.kind.value, result)]
    if gives_up and not state.gave_up:
        state = replace(state, gave_up=True)
        actions.append(StopTrials())
    return _then_claim(state, actions)


def _released(state: State, trial: ActiveTrial, result: TrainingResult) -> Step:
    """Hand a trial back, to be continued by the next start."""
    state = _without(state, trial)
    actions: list[Action] = [StoreFailure(trial, OutcomeKind.INTERRUPTED.value, result)]
    return _then_claim(state, actions)


def _interrupted(trial: ActiveTrial) -> TrainingResult:
    return TrainingResult(kind=OutcomeKind.INTERRUPTED, batch_size=trial.batch_size)


def _with(state: State, trial: ActiveTrial) -> State:
    return replace(state, trials={**state.trials, trial.trial_number: trial})


def _without(state: State, trial: ActiveTrial) -> State:
    trials = {n: t for n, t in state.trials.items() if n != trial.trial_number}
    return replace(state, trials=trials, free_slots=state.free_slots | {trial.slot})


def _then_claim(state: State, actions: list[Action]) -> Step:
    state, claims = _claim_for_free_slots(state)
    return state, [*actions, *claims]


def _claim_for_free_slots(state: State) -> Step:
    if state.is_exhausted or state.is_stopping or state.gave_up:
        return state, []
    slots = sorted(state.free_slots)
    state = replace(
        state,
        free_slots=frozenset(),
        claims_pending=state.claims_pending | state.free_slots,
    )
    return state, [Claim(slot) for slot in slots]
