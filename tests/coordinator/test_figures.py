"""What is told of a trial at its end."""

from sequifier_hpo.coordinator.figures import attributes_of, figures_at
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.coordinator.reducer import ActiveTrial
from sequifier_hpo.records import BatchPlan
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
