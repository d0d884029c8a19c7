"""Hundreds of lives of a search, chosen by hypothesis: whatever happens, its promises are kept."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequifier_hpo.coordinator.loop import POLL_SECONDS, STOP_SECONDS
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.records import OutcomeKind
from sequifier_hpo.study import StorageFaultError, batch_plan_of
from tests.coordinator.memory_ledger import MemoryLedger, RunStands
from tests.coordinator.stage import BASELINES, NUM_LOST_WORKERS, Stage, TrialRecord
from tests.coordinator.story import Deed, Story

ENDED = {RunStands.COMPLETE, RunStands.FAILED}


THEMES = {
    "memory": {Deed.RUN_OUT_OF_MEMORY, Deed.EPOCH, Deed.BREAK},
    "failures": {Deed.FAIL, Deed.COMPLETE, Deed.RUN_OUT_OF_MEMORY, Deed.LOSE_WORKER},
    "workers": {Deed.LOSE_WORKER, Deed.EPOCH, Deed.STRAY_END},
    "outages": {Deed.OUTAGE, Deed.LOSE_ANSWER, Deed.EPOCH, Deed.COMPLETE, Deed.NOTHING},
    "others": {Deed.BE_TAKEN_OVER, Deed.LET_GO, Deed.EPOCH, Deed.OUTAGE, Deed.RUN_OUT_OF_MEMORY},
    "stops": {Deed.SIGNAL, Deed.HANG, Deed.EPOCH, Deed.NOTHING, Deed.OUTAGE},
    "all": set(Deed),
}
"""A story that knows few kinds of deeds gets to the bottom of them."""
themes = pytest.mark.parametrize("theme", THEMES.values(), ids=THEMES)


@st.composite
def stories(draw: st.DrawFn, theme: set[Deed]) -> Story:
    deeds = st.sampled_from([deed for deed in Deed if deed in theme])
    steps = st.lists(
        st.tuples(deeds, st.integers(0, 3)),
        min_size=draw(st.sampled_from([0, 8, 24])),  # hypothesis prefers short lists
        max_size=40,
    )
    return Story(
        steps=draw(steps),
        num_runs=draw(st.integers(1, 6)),
        num_slots=draw(st.integers(1, 3)),
        batch_size=draw(st.sampled_from([64, 8, 2, 1])),
        accumulates=draw(st.booleans()),
        max_consecutive_failures=draw(st.integers(1, 4)),
        has_baselines=draw(st.booleans()),
        proposal_gap=draw(st.sampled_from([None, 1, 2])),
    )


@themes
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_whatever_happens_every_run_ends_once_or_can_be_continued(
    theme: set[Deed], data: st.DataObject
) -> None:
    story = data.draw(stories(theme))
    ledger = MemoryLedger(story.num_runs, story.proposal_gap)
    stage = Stage(story, ledger, ledger)

    end = play(stage)

    check_trials(stage, ledger)
    check_end(stage, ledger, end)
    check_baselines(stage, ledger)


@themes
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_the_next_start_finishes_what_was_left_with_the_batches_it_was_left_with(
    theme: set[Deed], data: st.DataObject
) -> None:
    story = data.draw(stories(theme))
    ledger = MemoryLedger(story.num_runs, story.proposal_gap)
    before = Stage(story, ledger, ledger)
    play(before)
    failed = ledger.runs.count(RunStands.FAILED)
    ledger.start_again()
    # Someone has edited on_out_of_memory in between.
    after = Stage(replace(story, steps=()), ledger, ledger, accumulates=not story.accumulates)

    end = after.play()

    assert end == SearchEnd(stopped_by=None, gave_up_after=())
    assert ledger.runs.count(RunStands.FAILED) == failed
    assert set(ledger.runs) <= ENDED
    if not {deed for deed, _ in story.steps} & {Deed.OUTAGE, Deed.LOSE_ANSWER, Deed.BE_TAKEN_OVER}:
        earlier, later = last_batches(before), last_batches(after)
        assert earlier | later == later | earlier


def last_batches(stage: Stage) -> dict[int, tuple[int, int | None]]:
    """Run -> the batches with which it was trained last."""
    records = stage.pool.records.items()
    return {stage.claims[number].run_number: batches(record) for number, record in records}


def batches(record: TrialRecord) -> tuple[int, int | None]:
    spec = record.orders[-1].config.training_spec
    return spec.batch_size, spec.accumulation_steps


def play(stage: Stage) -> SearchEnd | EnvironmentFaultError:
    try:
        return stage.play()
    except EnvironmentFaultError as error:
        return error


def check_trials(stage: Stage, ledger: MemoryLedger) -> None:
    """What is stored of each trial is what happened to it."""
    for trial in ledger.trials:
        record = stage.pool.records.get(trial.claim.trial_number, TrialRecord())
        if trial.end is None:  # lost to another coordinator, or to an outage
            assert trial.losses == record.epochs[: len(trial.losses)]
            continue
        assert trial.losses == record.epochs, "an epoch was lost, or told in another order"
        check_stored_end(trial.stands, trial.end, record)
        if record.orders:
            stored = batch_plan_of(trial.attributes)
            found = (stored.batch_size, stored.accumulation_steps) if stored else None
            assert batches(record) == (found or (stage.story.batch_size, 1))


def check_stored_end(stands: RunStands, end: tuple[object, ...], record: TrialRecord) -> None:
    kind = OutcomeKind.INTERRUPTED if record.result is None else record.result.kind
    if stands is RunStands.COMPLETE:
        assert record.result is not None
        assert (kind, end) == (OutcomeKind.COMPLETED, (record.result.best_validation_loss,))
    elif stands is RunStands.FAILED:
        is_lost = record.why_again is Deed.LOSE_WORKER
        assert end == (OutcomeKind.CRASHED.value if is_lost else kind.value,)
        assert not is_lost or record.num_lost_workers == NUM_LOST_WORKERS + 1


def check_end(stage: Stage, ledger: MemoryLedger, end: SearchEnd | EnvironmentFaultError) -> None:
    """Nothing runs any more, and it ended for a reason and in time."""
    stands = set(ledger.runs)
    stops = stage.stops
    if stops.times:
        patience = 3 * POLL_SECONDS + (0 if len(stops.times) > 1 else STOP_SECONDS)
        patience += stage.pool.seconds_slept_since(stops.times[-1])
        assert stage.clock.now - stops.times[-1] <= patience
    if isinstance(end, EnvironmentFaultError):
        assert stops.received or not isinstance(end, StorageFaultError)
        return
    assert stage.pool.running == {}
    assert RunStands.HERE not in stands or ledger.undelivered
    if end.stopped_by is None and not end.gave_up_after:
        assert stands <= ENDED
    if end.gave_up_after:
        assert stage.pool.is_asked_to_stop
        assert len(end.gave_up_after) >= stage.story.max_consecutive_failures
        is_sure = Deed.BE_TAKEN_OVER not in dict(stage.story.steps)
        assert stage.pool.most_failures >= stage.story.max_consecutive_failures or not is_sure


def check_baselines(stage: Stage, ledger: MemoryLedger) -> None:
    if stage.story.has_baselines:
        assert ledger.baselines == []
    num_repeated = sum(deed is Deed.LOSE_ANSWER for deed, _ in stage.story.steps)
    assert len(ledger.baselines) <= 1 + num_repeated
    assert all(kept == BASELINES for kept in ledger.baselines)
