"""What is shown while a search runs."""

import io

from rich.console import Console

from sequifier_hpo.cli.view import LineView, SearchProgress, drawing
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study import Claim
from tests.coordinator.story import config_of


def test_a_run_that_is_resumed_is_shown_where_it_is() -> None:
    config = config_of(3, 8)
    epochs = config.training_spec.epochs
    claim = Claim(7, 7, 3, "run 3", "key", Point({}), is_continuation=True, batch_plan=None)
    run, console = ActiveRun(claim, config, []), Console(file=io.StringIO(), width=200)
    progress = SearchProgress(num_runs=4, num_done=3, best_loss=None, best_run=None)
    view = LineView(progress, lambda: None)

    view.trial_started(run)
    view.trial_resumed(run, {1: 0.5, 2: 0.75})
    console.print(drawing(progress, "shop"))

    assert isinstance(console.file, io.StringIO)
    shown = " ".join(console.file.getvalue().split())
    assert f"run 3 epoch 2/{epochs}" in shown
    assert "loss 0.75 best 0.5" in shown
    assert progress.rows[3].fraction == 2 / epochs
