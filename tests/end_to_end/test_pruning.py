"""A search that stops runs early: what it leaves, and what all commands say of it."""

import csv
import json
import re
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow

FILE = "configs/early.yaml"


@pytest.fixture(scope="module")
def pruned(prepared: Project) -> tuple[Project, Finished]:
    """A search of ten runs, of which one more is finished in a last round."""
    prepared.write_search(
        "early",
        search_strategy="sample",
        n_samples=10,
        seed=7,
        pruning={"first_rung": 1},
        pruning_gap=1,
        finish_best=1,
        training__epochs=[4],
        training__batch_size=[16, 32, 64],
        training__dropout=[0.0, 0.2, 0.4],
        model__attention_type=["mha"],
    )
    return prepared, prepared.search("--workers", "1", file=FILE)


def rows(project: Project) -> list[dict[str, str]]:
    text = (project.root / "studies/early/results.csv").read_text()
    return list(csv.DictReader(text.splitlines()))


def files_of(project: Project, folder: str, run: str) -> list[Path]:
    return [
        path
        for path in (project.root / folder).iterdir()
        if re.search(rf"early-run-{run}(?!\d)", path.name)
    ]


def test_the_search_says_which_runs_it_stopped_and_names_a_complete_winner(
    pruned: tuple[Project, Finished],
) -> None:
    project, done = pruned
    stopped = [row for row in rows(project) if row["state"] == "pruned"]

    assert done.code == 0, done.stderr
    assert len(re.findall(r"stopped after epoch [123] of 4", done.stderr)) == len(stopped) + 1
    assert done.stderr.count("to its full length: it was stopped after epoch") == 1
    assert f"{len(stopped)} stopped early" in done.stdout
    assert rows(project)[0]["state"] == "complete"
    assert rows(project)[0]["epochs_run"] == "4"


def test_a_stopped_run_has_its_losses_and_a_checkpoint_but_neither_rank_nor_models(
    pruned: tuple[Project, Finished],
) -> None:
    project, _ = pruned
    stopped = [row for row in rows(project) if row["state"] == "pruned"]

    assert stopped
    for row in stopped:
        assert (row["rank"], row["validation_loss"]) == ("", "")
        assert row["epochs_run"] == row["stopped_at"]
        assert float(row["best_loss"]) > 0
        assert int(row["num_parameters"]) > 0
        assert files_of(project, "checkpoints", row["run"])
        assert files_of(project, "models", row["run"]) == []
        assert files_of(project, "configs/hp_search", row["run"])


def test_optuna_knows_the_stopped_runs_as_pruned_with_their_losses(
    pruned: tuple[Project, Finished],
) -> None:
    project, _ = pruned
    url = f"sqlite:///{project.root}/studies/early/study.db"

    study = optuna.load_study(study_name="early", storage=url)

    found = study.get_trials(states=(TrialState.PRUNED,))
    assert found
    for trial in found:
        rung = trial.user_attrs["stopped_at"]
        assert list(trial.intermediate_values) == list(range(1, rung + 1))
        assert trial.value == min(trial.intermediate_values.values())
    assert study.best_trial.state is TrialState.COMPLETE
    optuna.visualization.plot_intermediate_values(study)
    optuna.visualization.plot_optimization_history(study)


def test_status_and_json_count_the_stopped_runs(pruned: tuple[Project, Finished]) -> None:
    project, _ = pruned
    stopped = [row for row in rows(project) if row["state"] == "pruned"]

    shown = project.run("status", "--config-path", FILE).stdout
    found = json.loads(project.run("status", "--config-path", FILE, "--json").stdout)

    assert f"{len(stopped)} stopped early" in shown
    assert (found["pruned"], found["complete"]) == (len(stopped), 10 - len(stopped))
    assert found["is_over"]


def test_the_finished_search_has_nothing_left_to_run(pruned: tuple[Project, Finished]) -> None:
    project, _ = pruned

    again = project.search(file=FILE)

    assert again.code == 0
    assert "nothing is left to run" in again.stderr


def test_a_stopped_run_is_judged_and_predicts_from_its_checkpoint(
    pruned: tuple[Project, Finished],
) -> None:
    project, _ = pruned
    row = next(row for row in rows(project) if row["state"] == "pruned")
    of_run = ("--config-path", FILE, "--run", row["run"])

    judged = project.run("evaluate", *of_run, "--json")
    predicted = project.run("predict", *of_run, "--data", "data/seattle-weather.csv")

    assert "its checkpoint is used" in judged.stderr
    found = json.loads(judged.stdout)
    assert found["loss"] == pytest.approx(float(row["best_loss"]), abs=1e-5)
    assert found["loss_in_search"] == float(row["best_loss"])
    assert predicted.code == 0, predicted.stderr
    (row_of_sequence,) = csv.DictReader(predicted.stdout.splitlines())
    assert row_of_sequence["itemPosition"] == "1461"
    assert files_of(project, "models", row["run"]) == []


def test_a_stopped_run_is_finished_when_it_is_asked_for(pruned: tuple[Project, Finished]) -> None:
    project, _ = pruned
    stopped = [row for row in rows(project) if row["state"] == "pruned"]
    chosen = stopped[-1]["run"]

    done = project.search("--finish", chosen, "--workers", "1", file=FILE)

    assert done.code == 0, done.stderr
    row = next(row for row in rows(project) if row["run"] == chosen)
    assert (row["state"], row["epochs_run"], row["stopped_at"]) == (
        "complete",
        "4",
        stopped[-1]["stopped_at"],
    )
    assert files_of(project, "models", chosen)


def test_to_finish_what_was_not_stopped_is_a_mistake(pruned: tuple[Project, Finished]) -> None:
    project, _ = pruned
    winner = rows(project)[0]["run"]

    refused = project.search("--finish", winner, "--finish", "999", file=FILE)

    assert refused.code == 2
    assert f"run {winner} is complete, run 999 does not exist" in refused.stderr
    assert "fix: stopped early: " in refused.stderr
