"""A search over ranges of numbers, from the search file to storage, tables, report and plots."""

import csv
import json
import re
from contextlib import chdir
from pathlib import Path

import optuna
import pytest
from optuna import visualization

from sequifier_hpo.config.train import load_train_config
from tests.end_to_end.conftest import Project

pytestmark = pytest.mark.slow

DECAY = {"low": 1e-4, "high": 0.1, "log": True}


@pytest.fixture(scope="module")
def ranged(prepared: Project) -> Project:
    """The project after a search of six runs."""
    prepared.write_search(
        "ranged",
        search_strategy="bayesian",
        n_samples=6,
        input_columns=[["weather", "month"]],
        model__attention_type=["mha"],
        training__learning_rate={"low": 1e-3, "high": 1e-1, "log": True},
        training__epochs=[1],
        training__dropout={"low": 0.0, "high": 0.3, "step": 0.1},
        training__batch_size={"low": 32, "high": 64},
        training__optimizer=[{"name": "AdamW", "weight_decay": DECAY}, {"name": "Adam"}],
    )
    finished = prepared.search(file="configs/ranged.yaml")
    assert finished.code == 0, finished.stderr
    return prepared


def test_numbers_are_the_same_in_storage_table_and_run_file(ranged: Project) -> None:
    study = optuna.load_study(
        study_name="ranged", storage=f"sqlite:///{ranged.root}/studies/ranged/study.db"
    )
    with (ranged.root / "studies" / "ranged" / "results.csv").open() as file:
        rows = {int(row["run"]): row for row in csv.DictReader(file)}

    assert len(study.trials) == len(rows) == 6
    for trial in study.trials:
        row = rows[trial.number]
        with chdir(ranged.root):
            config = load_train_config(Path(f"configs/hp_search/ranged-run-{trial.number}.yaml"))
        spec = config.training_spec
        assert trial.params["learning_rate"] == spec.learning_rate == float(row["learning_rate"])
        assert trial.params["batch_size"] == spec.batch_size == int(row["batch_size"])
        assert trial.params["dropout"] == spec.dropout == float(row["dropout"])
        decay = trial.params.get("optimizer[0].weight_decay")
        assert spec.optimizer.get("weight_decay") == decay
        assert row["optimizer.weight_decay"] == ("" if decay is None else repr(decay))
    assert {"Adam", "AdamW"} == {row["optimizer"].split(" ")[0] for row in rows.values()}


def test_optunas_plots_have_axes_of_numbers(ranged: Project) -> None:
    study = optuna.load_study(
        study_name="ranged", storage=f"sqlite:///{ranged.root}/studies/ranged/study.db"
    )

    figures = [
        plot(study)
        for plot in (
            visualization.plot_slice,
            visualization.plot_parallel_coordinate,
            visualization.plot_contour,
            visualization.plot_param_importances,
            visualization.plot_optimization_history,
        )
    ]

    axes = {axis.title.text: axis.type for axis in figures[0].select_xaxes()}
    assert axes["learning_rate"] == "log"
    assert axes["dropout"] != "category"
    assert axes["optimizer[0].weight_decay"] == "log"


def test_the_report_and_the_status_have_the_numbers(ranged: Project) -> None:
    report = (ranged.root / "studies" / "ranged" / "report.html").read_text()
    status = json.loads(
        ranged.run("status", "--json", "--config-path", "configs/ranged.yaml").stdout
    )
    best = ranged.run("best", "--config-path", "configs/ranged.yaml").stdout.split()

    assert '"type":"log"' in report
    assert all(isinstance(run["learning_rate"], float) for run in status["leaderboard"])
    assert isinstance(status["best"]["parameters"]["dropout"], float)
    assert best[best.index("learning_rate") + 1] == f"{status['best']['learning_rate']:g}"


def test_the_plan_counts_what_can_be_counted(ranged: Project) -> None:
    shown = ranged.run("plan", "--config-path", "configs/ranged.yaml")
    plan = json.loads(ranged.run("plan", "--json", "--config-path", "configs/ranged.yaml").stdout)

    assert "dropout (parameter, 4 choices)\n  0: 0 to 0.3, step 0.1\n" in shown.stdout
    assert "learning_rate (parameter, continuous)" in shown.stdout
    assert "optimizer (parameter, 2 choices, continuous)" in shown.stdout
    assert "distinct configurations   continuous" in shown.stdout
    assert (plan["num_combinations"], plan["num_distinct"]) == ("continuous", "continuous")
    assert plan["parameters"]["dropout"]["num_choices"] == 4
    assert plan["parameters"]["learning_rate"]["num_choices"] == "continuous"
    assert plan["parameters"]["optimizer"]["choices"][0]["values"] == {
        "optimizer": {"name": "AdamW", "weight_decay": DECAY}
    }
    assert plan["num_to_come"] == 0


def test_more_samples_go_on_and_another_range_is_refused(ranged: Project) -> None:
    file = ranged.root / "configs" / "ranged.yaml"
    written = file.read_text()
    file.write_text(written.replace("high: 0.3", "high: 0.4"))

    refused = ranged.search(file="configs/ranged.yaml")
    file.write_text(written)
    again = ranged.search(file="configs/ranged.yaml")

    assert refused.code == 2
    assert re.search(r"dropout: 0 to 0\.3.* becomes 0 to 0\.4.*\(wider\)", refused.stderr)
    assert again.code == 0
    assert "the study is complete" in again.stderr
