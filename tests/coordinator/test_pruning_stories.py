"""Whatever happens to a search, and in which order: the same runs are stopped at the same epochs."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.strategy.pruning import Pruning
from sequifier_hpo.strategy.stopping import EarlyStopping, PruningSince
from tests.coordinator.memory_ledger import MemoryLedger, RunStands
from tests.coordinator.stage import NUM_LOST_WORKERS, Stage
from tests.coordinator.story import NUM_EPOCHS, Deed, Story

NUM_RUNS = 9
HARMLESS = [
    Deed.EPOCH,
    Deed.EPOCH,
    Deed.BATCH,
    Deed.NOTHING,
    Deed.BE_TAKEN_OVER,
    Deed.LOSE_WORKER,
    Deed.HANG,
    Deed.STRAY_END,
    Deed.OUTAGE,
    Deed.LOSE_ANSWER,
    Deed.SLEEP,
    Deed.SIGNAL,
]
"""What does not change what a run comes to."""
METHODS = {
    "successive_halving": Pruning(first_rung=1),
    "median": Pruning(method="median", first_rung=1),
}


def early_stopping(pruning: Pruning, gap: int) -> EarlyStopping:
    return EarlyStopping([PruningSince(0, pruning, gap)], lambda _point: NUM_EPOCHS)


def ledger_of(pruning: Pruning, gap: int) -> MemoryLedger:
    ledger = MemoryLedger(NUM_RUNS)
    ledger.pruner = early_stopping(pruning, gap)
    return ledger


def ends(ledger: MemoryLedger) -> list[tuple[object, ...]]:
    """How each run ended, where it was stopped, and its losses up to there."""
    found: list[tuple[object, ...]] = []
    for run, stands in enumerate(ledger.runs):
        trials = [trial for trial in ledger.trials if trial.claim.run_number == run]
        end = trials[-1].end if trials else None
        last = end[0] if stands is RunStands.PRUNED and end else NUM_EPOCHS
        losses = {e: loss for trial in trials for e, loss in trial.losses if e <= last}
        found.append((stands, end, losses))
    return found


def few_lost_workers(steps: list[tuple[Deed, int]]) -> Iterator[tuple[Deed, int]]:
    """Without what would make a run fail: to take its worker down more often than it may."""
    num_lost = 0
    for step in steps:
        num_lost += step[0] is Deed.LOSE_WORKER
        if step[0] is not Deed.LOSE_WORKER or num_lost <= NUM_LOST_WORKERS:
            yield step


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=60)
@given(data=st.data())
def test_the_order_of_events_changes_no_stop(method: str, data: st.DataObject) -> None:
    losses = data.draw(
        st.lists(
            st.lists(st.integers(1, 40), min_size=NUM_EPOCHS, max_size=NUM_EPOCHS),
            min_size=NUM_RUNS,
            max_size=NUM_RUNS,
        )
    )
    gap = data.draw(st.integers(1, 4))
    deeds = st.tuples(st.sampled_from(HARMLESS), st.integers(0, 3))
    steps = data.draw(st.lists(deeds, min_size=20, max_size=60))
    story = Story(
        steps=list(few_lost_workers(steps)),
        num_runs=NUM_RUNS,
        num_slots=data.draw(st.integers(1, 4)),
        max_consecutive_failures=100,
        loss_of=lambda run, epoch: float(losses[run][epoch - 1]),
    )
    straight = ledger_of(METHODS[method], gap)
    Stage(replace(story, steps=(), num_slots=1), straight, straight).play()
    disturbed = ledger_of(METHODS[method], gap)

    end: SearchEnd | None = None
    for deeds_of in (story.steps, ()):
        stage = Stage(replace(story, steps=deeds_of), disturbed, disturbed)
        try:
            end = stage.play()
        except EnvironmentFaultError:  # a fault of the storage at a stop
            end = None
        disturbed.start_again()
        disturbed.pruner = early_stopping(METHODS[method], gap)  # another process knows nothing

    assert end == SearchEnd(stopped_by=None, gave_up_after=())
    assert ends(disturbed) == ends(straight)


def test_a_run_that_ends_at_a_signal_with_the_epoch_that_stops_it_is_stopped() -> None:
    story = Story(
        num_runs=NUM_RUNS,
        num_slots=1,
        loss_of=lambda run, epoch: 2.0 if run == 4 and epoch == 1 else 1.0,
    )
    straight = ledger_of(METHODS["successive_halving"], gap=1)
    Stage(story, straight, straight).play()
    assert straight.runs[4] is RunStands.PRUNED
    num_stopped = 0

    for num_epochs in range(10, 20):
        ledger = ledger_of(METHODS["successive_halving"], gap=1)
        # The last epoch and the end of its trial are polled together.
        steps = [*[(Deed.EPOCH, 0)] * num_epochs, (Deed.SIGNAL, 0), (Deed.EPOCH, 0)]
        Stage(replace(story, steps=steps), ledger, ledger).play()
        num_stopped += ledger.runs[4] is RunStands.PRUNED and len(ledger.trials) == 5
        ledger.start_again()
        ledger.pruner = early_stopping(METHODS["successive_halving"], 1)
        Stage(story, ledger, ledger).play()
        assert ends(ledger) == ends(straight)

    assert num_stopped, "at one of the moments"


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_is_worse_at_every_rung_is_stopped_and_one_that_is_better_is_not(
    method: str,
) -> None:
    ledger = ledger_of(METHODS[method], gap=1)
    story = Story(
        num_runs=NUM_RUNS,
        num_slots=1,
        loss_of=lambda run, epoch: (1.0 if run % 2 else 9.0) - run / 100 + 1 / epoch,
    )

    Stage(story, ledger, ledger).play()

    stopped = [run for run, stands in enumerate(ledger.runs) if stands is RunStands.PRUNED]
    assert stopped
    assert all(run % 2 == 0 for run in stopped)
    assert RunStands.COMPLETE in ledger.runs
