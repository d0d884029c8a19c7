"""What a trial begins with, and what is told of it at its end."""

from dataclasses import replace

import pytest

from sequifier_hpo.coordinator.figures import attributes_of, begun, figures_at
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.coordinator.reducer import ActiveTrial, Policy
from sequifier_hpo.records import BatchPlan, MemoryNeed
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study import Claim
from tests.coordinator.stage import report_of
from tests.coordinator.story import config_of

LOSSES = {1: 0.9, 2: 0.5, 3: 0.7}
PLAN = BatchPlan(batch_size=4, accumulation_steps=2, oom_retries=1)
CLAIM = Claim(7, 7, 3, "run 3", "key", Point({}), is_continuation=True, batch_plan=None)


def test_a_run_that_is_stopped_at_a_rung_has_the_figures_of_that_epoch() -> None:
    run = ActiveRun(CLAIM, config_of(3, 4), [])
    run.reports = {epoch: report_of(epoch, loss) for epoch, loss in LOSSES.items()}

    told = attributes_of(run, ActiveTrial(7, 0, PLAN), figures_at(run, 3, LOSSES))

    assert (told["best_epoch"], told["epochs_run"], told["seconds"]) == (2, 3, 3.0)
    assert (told["num_parameters"], told["effective_batch_size"]) == (9, 4)


def test_of_epochs_that_another_coordinator_saw_nothing_is_made_up() -> None:
    run = ActiveRun(CLAIM, config_of(3, 4), [])

    told = attributes_of(run, ActiveTrial(7, 0, PLAN), figures_at(run, 3, LOSSES))

    assert (told["best_epoch"], told["epochs_run"]) == (2, 3)
    unknown = {"seconds", "num_parameters", "tokens_per_second", "peak_memory_mib"}
    assert not unknown & told.keys()


def need(plan: BatchPlan) -> MemoryNeed:
    return MemoryNeed(device="cpu", like="x", sizes={"batch_size": plan.batch_size})


def claimed(*too_large: int, batch_size: int = 64, is_continuation: bool = False) -> ActiveRun:
    """A run of a study that knows of batches which do not fit."""
    plans = [PLAN.model_copy(update={"batch_size": size}) for size in too_large]
    claim = replace(CLAIM, ran_out=list(map(need, plans)), is_continuation=is_continuation)
    return ActiveRun(claim, config_of(3, batch_size), [], need)


@pytest.mark.parametrize(
    ("too_large", "batch_size", "expected", "num_foreseen"),
    [
        ([], 64, (64, 1, 0), 0),
        ([128], 64, (64, 1, 0), 0),
        ([64], 64, (32, 2, 1), 1),
        ([40, 20], 65, (16, 4, 2), 2),
        ([16, 64], 64, (8, 8, 3), 3),
        ([8], 64, (8, 8, 3), 4),
        ([1], 3, (1, 2, 1), 2),
    ],
)
def test_a_new_run_begins_with_the_first_batches_that_may_fit(
    too_large: list[int], batch_size: int, expected: tuple[int, int, int], num_foreseen: int
) -> None:
    run = claimed(*too_large, batch_size=batch_size)

    trial = begun(run, 1, Policy(5, accumulates=True))

    plan = trial.plan
    assert (plan.batch_size, plan.accumulation_steps, plan.oom_retries) == expected
    assert trial.num_foreseen == num_foreseen
    assert trial.is_hopeless is (num_foreseen > plan.oom_retries)


def test_a_run_that_is_continued_goes_on_with_what_it_has() -> None:
    trial = begun(claimed(8, is_continuation=True), 0, Policy(5, accumulates=False))

    assert (trial.plan.batch_size, trial.num_foreseen) == (64, 0)


def test_what_was_too_large_is_told_with_the_trial() -> None:
    trial = ActiveTrial(7, 0, PLAN, too_large=(PLAN,), num_foreseen=2)

    told = attributes_of(claimed(), trial, figures_at(claimed(), 3, LOSSES))

    assert told["oom_foreseen"] == 2
    assert [MemoryNeed(**each) for each in told["ran_out_of_memory"]] == [need(PLAN)]
