"""The policy: what follows from each event, without any process or storage."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequifier_hpo.coordinator import reducer
from sequifier_hpo.coordinator.pool import WorkerGone
from sequifier_hpo.coordinator.reducer import (
    ActiveTrial,
    AnnounceRetry,
    Claim,
    Claimed,
    Event,
    NothingToClaim,
    Policy,
    Started,
    State,
    StopRequested,
    StopTrials,
    StoreBaselines,
    StoreEnd,
    Train,
    is_over,
    reduce,
)
from sequifier_hpo.messages import BaselinesFound, EpochDone, EpochsRestored, TrialEnded
from sequifier_hpo.records import Baseline, BatchPlan, Failure, OutcomeKind, TrainingResult
from tests.coordinator.stage import report_of

POLICY = Policy(max_consecutive_failures=3, accumulates=False)


def fresh(num_slots: int = 1, policy: Policy = POLICY) -> State:
    return State(policy, free_slots=frozenset(range(num_slots)))


def running(trial: ActiveTrial, policy: Policy = POLICY) -> State:
    state, _ = reduce(fresh(policy=policy), Started())
    state, _ = reduce(state, Claimed(trial, is_continuation=False))
    return state


def ended(kind: OutcomeKind, reason: str = "", number: int = 0) -> TrialEnded:
    loss = 0.5 if kind == OutcomeKind.COMPLETED else None
    result = TrainingResult(kind=kind, reason=reason, batch_size=8, best_validation_loss=loss)
    return TrialEnded(trial_number=number, result=result)


def gone(number: int = 0) -> WorkerGone:
    return WorkerGone(number, exit_code=-9)


PLAN = BatchPlan(batch_size=8, accumulation_steps=1, oom_retries=0)
TRIAL = ActiveTrial(trial_number=0, slot=0, plan=PLAN)


def test_the_search_begins_by_claiming_for_every_slot() -> None:
    _, actions = reduce(fresh(num_slots=2), Started())

    assert actions == [Claim(0), Claim(1)]


def test_a_claimed_trial_is_trained() -> None:
    state, _ = reduce(fresh(), Started())

    _, actions = reduce(state, Claimed(TRIAL, is_continuation=True))

    assert actions == [Train(TRIAL, resume=True, wants_baselines=False)]


def test_a_result_is_stored_before_the_slot_is_used_again() -> None:
    event = ended(OutcomeKind.COMPLETED)

    _, actions = reduce(running(TRIAL), event)

    assert actions == [StoreEnd(TRIAL, event.result), Claim(0)]


def test_out_of_memory_halves_the_batch_and_starts_again_from_the_beginning() -> None:
    _, actions = reduce(running(TRIAL), ended(OutcomeKind.OUT_OF_MEMORY))

    retry = actions[-1]
    assert isinstance(actions[0], AnnounceRetry)
    assert isinstance(retry, Train)
    assert retry.trial.plan == BatchPlan(batch_size=4, accumulation_steps=1, oom_retries=1)
    assert not retry.resume


def test_accumulation_can_make_up_for_the_smaller_batch() -> None:
    policy = replace(POLICY, accumulates=True)

    _, actions = reduce(running(TRIAL, policy), ended(OutcomeKind.OUT_OF_MEMORY))

    retry = actions[-1]
    assert isinstance(retry, Train)
    assert retry.trial.plan == BatchPlan(batch_size=4, accumulation_steps=2, oom_retries=1)


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(8, [4, 2, 1]), (64, [32, 16, 8]), (2, [1]), (1, [])]
)
def test_at_most_three_halvings_and_never_below_one(batch_size: int, sizes: list[int]) -> None:
    state = running(replace(TRIAL, plan=PLAN.model_copy(update={"batch_size": batch_size})))
    actions: list[reducer.Action] = []
    seen = []

    for _ in range(5):
        state, actions = reduce(state, ended(OutcomeKind.OUT_OF_MEMORY))
        if not isinstance(actions[-1], Train):
            break
        seen.append(actions[-1].trial.plan.batch_size)

    assert seen == sizes
    assert isinstance(actions[0], StoreEnd)
    assert actions[0].result.kind == OutcomeKind.OUT_OF_MEMORY


def out_of_memory(*, is_certain: bool = True) -> TrialEnded:
    kind = OutcomeKind.OUT_OF_MEMORY
    result = TrainingResult(kind=kind, batch_size=8, is_certain=is_certain)
    return TrialEnded(trial_number=0, result=result)


@pytest.mark.parametrize(
    ("events", "too_large"),
    [
        ([out_of_memory()], [8]),
        ([out_of_memory(), out_of_memory()], [8, 4]),
        ([out_of_memory(is_certain=False), out_of_memory()], [4]),
        ([EpochDone(trial_number=0, report=report_of(1, 0.5)), out_of_memory()], []),
        ([EpochsRestored(trial_number=0, validation_losses={}), out_of_memory()], []),
        ([EpochDone(trial_number=0, report=report_of(1, 0.5)), *[out_of_memory()] * 2], [4]),
    ],
)
def test_what_was_proven_in_the_first_epoch_is_remembered(
    events: list[Event], too_large: list[int]
) -> None:
    state = running(TRIAL)

    for event in events:
        state, _ = reduce(state, event)

    assert [plan.batch_size for plan in state.trials[0].too_large] == too_large


def test_the_last_failure_is_remembered_with_the_others() -> None:
    state = running(replace(TRIAL, plan=PLAN.model_copy(update={"oom_retries": 3})))

    _, actions = reduce(state, out_of_memory())

    assert isinstance(actions[0], StoreEnd)
    assert [plan.oom_retries for plan in actions[0].trial.too_large] == [3]


def test_foreseen_failures_are_announced_before_the_trial_starts() -> None:
    trial = replace(TRIAL, num_foreseen=1, plan=PLAN.model_copy(update={"oom_retries": 1}))
    state, _ = reduce(fresh(), Started())

    _, actions = reduce(state, Claimed(trial, is_continuation=False))

    assert isinstance(actions[0], AnnounceRetry)
    assert (
        actions[0].why == "out of memory, as is known, at batch sizes above 8; beginning with that"
    )
    assert actions[1:] == [Train(trial, resume=False, wants_baselines=False)]


@pytest.mark.parametrize("kind", [OutcomeKind.CRASHED, OutcomeKind.DIVERGED, OutcomeKind.INVALID])
def test_any_other_failure_is_stored_and_not_repeated(kind: OutcomeKind) -> None:
    _, actions = reduce(running(TRIAL), ended(kind))

    assert isinstance(actions[0], StoreEnd)
    assert actions[0].result.kind == kind
    assert actions[1:] == [Claim(0)]


def fail_in_a_row(number: int, state: State) -> tuple[State, list[reducer.Action]]:
    actions: list[reducer.Action] = []
    for i in range(number):
        state, actions = reduce(state, ended(OutcomeKind.CRASHED, "bad data", number=i))
        following = replace(TRIAL, trial_number=i + 1)
        if not state.gave_up:
            state, _ = reduce(state, Claimed(following, is_continuation=False))
    return state, actions


def test_too_many_failures_in_a_row_end_the_search() -> None:
    state, actions = fail_in_a_row(3, running(TRIAL))

    assert StopTrials() in actions
    assert state.gave_up
    assert is_over(state)
    assert state.recent_failures == tuple(Failure(i, "bad data") for i in range(3))


def test_a_success_in_between_forgives_the_failures_before() -> None:
    state, _ = fail_in_a_row(2, running(TRIAL))
    state, _ = reduce(state, ended(OutcomeKind.COMPLETED, number=2))

    assert state.recent_failures == ()


def test_a_divergence_neither_counts_as_a_failure_nor_forgives_one() -> None:
    state, _ = fail_in_a_row(2, running(TRIAL))

    state, _ = reduce(state, ended(OutcomeKind.DIVERGED, number=2))

    assert not state.gave_up
    assert [failure.trial_number for failure in state.recent_failures] == [0, 1]


def test_a_lost_worker_is_replaced_and_the_trial_goes_on_from_its_checkpoint() -> None:
    _, actions = reduce(running(TRIAL), gone())

    retry = actions[-1]
    assert isinstance(retry, Train)
    assert retry.resume
    assert retry.trial.plan == TRIAL.plan


def test_a_trial_that_loses_its_worker_again_and_again_fails() -> None:
    state = running(TRIAL)
    for _ in range(reducer.MAX_LOST_WORKERS):
        state, _ = reduce(state, gone())

    _, actions = reduce(state, gone())

    assert isinstance(actions[0], StoreEnd)
    assert actions[0].result.kind == OutcomeKind.CRASHED


def test_a_stop_interrupts_what_runs_and_starts_nothing_new() -> None:
    state, actions = reduce(running(TRIAL), StopRequested())
    assert actions == [StopTrials()]
    assert not is_over(state)

    state, actions = reduce(state, ended(OutcomeKind.INTERRUPTED))

    assert isinstance(actions[0], StoreEnd)
    assert actions[0].result.kind == OutcomeKind.INTERRUPTED
    assert len(actions) == 1
    assert is_over(state)


def test_a_trial_that_completes_while_stopping_keeps_its_result() -> None:
    state, _ = reduce(running(TRIAL), StopRequested())

    state, actions = reduce(state, ended(OutcomeKind.COMPLETED))

    assert isinstance(actions[0], StoreEnd)
    assert actions[0].result.kind == OutcomeKind.COMPLETED
    assert is_over(state)


def test_nothing_to_claim_ends_the_search_once_all_trials_ended() -> None:
    state, _ = reduce(fresh(num_slots=2), Started())
    state, _ = reduce(state, Claimed(TRIAL, is_continuation=False))
    state, _ = reduce(state, NothingToClaim(1))
    assert not is_over(state)

    state, _ = reduce(state, ended(OutcomeKind.COMPLETED))

    assert is_over(state)


def test_an_outcome_of_a_trial_that_is_no_longer_ours_is_ignored() -> None:
    state = running(TRIAL)
    state, _ = reduce(state, reducer.LeaseLost(0))

    after, actions = reduce(state, ended(OutcomeKind.COMPLETED))

    assert actions == []
    assert after == state


@pytest.mark.parametrize("event", [gone(1), ended(OutcomeKind.OUT_OF_MEMORY, number=1)])
def test_a_search_that_has_given_up_repeats_nothing(event: Event) -> None:
    state = running(TRIAL, replace(POLICY, max_consecutive_failures=1))
    state, _ = reduce(state, Claimed(replace(TRIAL, trial_number=1, slot=1), is_continuation=False))
    state, _ = reduce(state, ended(OutcomeKind.CRASHED, number=0))

    state, actions = reduce(state, event)

    (stored,) = actions
    assert isinstance(stored, StoreEnd)
    assert stored.result.kind == OutcomeKind.INTERRUPTED
    assert is_over(state)


def test_attempts_are_to_find_the_baselines_until_one_has() -> None:
    state, _ = reduce(replace(fresh(num_slots=2), has_baselines=False), Started())
    found = BaselinesFound(trial_number=0, baselines=[Baseline(name="mean", loss=0.5)])

    state, first = reduce(state, Claimed(TRIAL, is_continuation=False))
    state, stored = reduce(state, found)
    state, again = reduce(state, found)
    _, second = reduce(
        state, Claimed(replace(TRIAL, trial_number=1, slot=1), is_continuation=False)
    )

    assert stored == [StoreBaselines(found.baselines)]
    assert again == []
    assert [train.wants_baselines for train in (*first, *second) if isinstance(train, Train)] == [
        True,
        False,
    ]


EVENTS = st.lists(
    st.sampled_from([*OutcomeKind, "lost_worker", "lost_lease", "stop", "work_left"]),
    max_size=40,
)


@given(EVENTS, st.integers(1, 3))
def test_no_slot_is_ever_lost_or_used_twice(kinds: list[OutcomeKind | str], num_slots: int) -> None:
    state = fresh(num_slots)
    number = 0
    queue: list[Event] = [Started()]
    for kind in [None, *kinds]:
        if kind is not None and state.trials:
            target = next(iter(state.trials))
            queue.append(event_of(kind, target))
        while queue:
            state, actions = reduce(state, queue.pop(0))
            for action in actions:
                if isinstance(action, Claim):
                    trial = replace(TRIAL, trial_number=number, slot=action.slot)
                    number += 1
                    queue.append(Claimed(trial, is_continuation=False))
        used = [trial.slot for trial in state.trials.values()]
        assert sorted([*used, *state.free_slots, *state.claims_pending]) == list(range(num_slots))


def event_of(kind: OutcomeKind | str, trial_number: int) -> Event:
    if isinstance(kind, OutcomeKind):
        return ended(kind, number=trial_number)
    if kind == "lost_worker":
        return gone(trial_number)
    if kind == "lost_lease":
        return reducer.LeaseLost(trial_number)
    return StopRequested() if kind == "stop" else reducer.WorkLeft()
