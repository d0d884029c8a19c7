"""What tables and lines on the terminal say about losses."""

import pytest

from sequifier_hpo.cli.tables import baseline_lines
from sequifier_hpo.report.data import Baseline

BASELINES = (Baseline("class frequencies", 1.5), Baseline("the last value", 0.75))


def test_the_losses_of_trivial_predictors_are_named() -> None:
    assert baseline_lines(0.5, BASELINES) == [
        "trivial predictor, class frequencies: 1.5",
        "trivial predictor, the last value: 0.75",
    ]


@pytest.mark.parametrize("loss", [0.75, 0.8, 2.0])
def test_a_best_run_that_is_no_better_than_a_trivial_predictor_is_called_so(loss: float) -> None:
    assert (
        "no run is better than the trivial predictor (the last value)"
        in (baseline_lines(loss, BASELINES)[-1])
    )


def test_without_known_baselines_nothing_is_said() -> None:
    assert baseline_lines(1.0, ()) == []
