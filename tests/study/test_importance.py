"""Importances of parameters over readable labels."""

from datetime import datetime

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import create_trial

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.study.importance import parameter_importances


def run_of(number: int, labels: dict[str, str], loss: float | None) -> Run:
    now = datetime(2026, 3, 1)  # noqa: DTZ001 - storages give local time without a zone
    state = RunState.COMPLETE if loss is not None else RunState.FAILED
    return Run(number, number, state, loss, labels, {}, {}, "", None, now, now, 1)


def grid_runs() -> list[Run]:
    return [
        run_of(9 * i + 3 * j + k, {"a": f"{i}: x", "b": f"{j}: y", "c": "0: same"}, i + 0.01 * k)
        for i in range(3)
        for j in range(3)
        for k in range(3)
    ]


def test_the_parameter_that_decides_the_loss_has_the_largest_share() -> None:
    found = parameter_importances(grid_runs())

    assert found["a"] > 0.9
    assert set(found) == {"a", "b"}


def test_runs_without_a_result_do_not_count() -> None:
    failed = [run_of(100 + i, {"a": "9: z", "b": "0: y", "c": "1: other"}, None) for i in range(9)]

    assert parameter_importances([*grid_runs(), *failed]) == parameter_importances(grid_runs())


def test_equal_losses_give_no_error() -> None:
    runs = [run_of(i, {"a": f"{i % 2}: x"}, 1.0) for i in range(30)]

    assert list(parameter_importances(runs)) == ["a"]


def test_a_single_run_says_nothing() -> None:
    assert parameter_importances(grid_runs()[:1]) == {}


def test_the_shares_are_those_of_a_study_in_a_storage() -> None:
    runs = [
        run_of(i, {"a": f"{i % 3}: x", "b": f"{i % 5}: y"}, (i * 7 % 11) + (i % 3))
        for i in range(90)
    ]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    choices = {
        name: CategoricalDistribution(sorted({run.labels[name] for run in runs})) for name in "ab"
    }
    for run in runs:
        params = dict(run.labels)
        trial = create_trial(value=run.validation_loss, params=params, distributions=dict(choices))
        study.add_trial(trial)

    found = parameter_importances(runs)

    assert found == get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
