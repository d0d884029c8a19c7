"""The winner check on real data, as a user runs it."""

import json
import signal
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import optuna
import pytest

from tests.end_to_end.conftest import Finished, Project
from tests.end_to_end.test_search import results, wait_for

pytestmark = pytest.mark.slow

FILE = "configs/checked.yaml"
Checked = tuple[Project, Finished]


def check(project: Project, *more: str, file: str = FILE) -> Finished:
    return project.run("best", "--config-path", file, "--verify", *more)


def stored(project: Project, study_name: str) -> list[optuna.trial.FrozenTrial]:
    url = f"sqlite:///{project.root}/studies/{study_name.partition('/')[0]}/study.db"
    return optuna.load_study(study_name=study_name, storage=url).trials


def files_of(project: Project, pattern: str) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in project.root.glob(pattern)}


@pytest.fixture(scope="module")
def searched_for_check(prepared: Project) -> Project:
    """A search of 3 runs that is over."""
    file = prepared.write_search("checked", search_strategy="sample", n_samples=3)
    assert prepared.search(file=file).code == 0
    return prepared


@pytest.fixture(scope="module")
def checked(searched_for_check: Project) -> Checked:
    """Its 2 best runs, checked with 2 new seeds each."""
    before = files_of(searched_for_check, "*/**/*checked-run-?[.-]*")
    finished = check(searched_for_check, "2", "--seeds", "2", "--json")
    assert finished.code == 0, finished.stderr
    own = {path: at for path, at in before.items() if "-seed-" not in path.name}
    assert {path: path.stat().st_mtime_ns for path in own} == own, "files of the search changed"
    return searched_for_check, finished


def found(checked: Checked) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(checked[1].stdout)
    return record


def test_the_best_runs_are_trained_with_new_seeds_and_compared(checked: Checked) -> None:
    project, _ = checked
    best = [row["run"] for row in results(project, "checked")[:2]]

    record = found(checked)

    by_run = {str(each["run"]): each for each in record["configurations"]}
    assert set(by_run) == set(best)
    assert str(record["winner"]) == best[0]
    for each in record["configurations"]:
        losses = list(each["validation_loss_by_seed"].values())
        assert set(each["validation_loss_by_seed"]) == {"102", "103"}
        assert len({*losses, each["validation_loss_in_search"]}) == 3, "a seed changes the loss"
        assert (each["mean"], each["standard_deviation"]) == (mean(losses), stdev(losses))
    smallest = min(record["configurations"], key=lambda each: each["mean"])
    assert record["still_wins"] == (smallest["run"] == record["winner"])


def test_the_trainings_are_trials_of_a_study_beside_that_of_the_search(checked: Checked) -> None:
    project, _ = checked
    losses = {
        (each["run"], int(seed)): loss
        for each in found(checked)["configurations"]
        for seed, loss in each["validation_loss_by_seed"].items()
    }

    trials = stored(project, "checked/verify")

    assert {(t.user_attrs["verified_run"], t.user_attrs["seed"]): t.value for t in trials} == losses
    parameters = {trial.number: trial.params for trial in stored(project, "checked")}
    assert all(t.params == parameters[t.user_attrs["verified_run"]] for t in trials)
    assert all(len(trial.intermediate_values) == 2 for trial in trials)


def test_the_commands_about_the_search_see_nothing_of_the_check(checked: Checked) -> None:
    project, _ = checked

    status = json.loads(project.run("status", "--config-path", FILE, "--json").stdout)
    exported = project.run("export", "--config-path", FILE).stdout

    assert (status["complete"], status["num_runs"], status["is_over"]) == (3, 3, True)
    assert len(exported.splitlines()) == 4
    assert "seed-" not in exported
    assert len(stored(project, "checked")) == 3


def test_a_retraining_leaves_its_files_where_those_of_a_run_are(checked: Checked) -> None:
    project, _ = checked
    name = f"checked-run-{found(checked)['winner']}-seed-102"

    for path in (
        f"configs/hp_search/{name}.yaml",
        f"logs/sequifier-{name}.log",
        f"logs/sequifier-{name}-metrics.jsonl",
        f"checkpoints/{name}-epoch-2.pt",
        f"models/sequifier-{name}-best-2.onnx",
    ):
        assert (project.root / path).is_file(), path
    notes = optuna.storages.RDBStorage(f"sqlite:///{project.root}/studies/checked/study.db")
    study_id = notes.get_study_id_from_name("checked/verify")
    assert f"`configs/hp_search/{name}.yaml`" in str(notes.get_study_system_attrs(study_id))


def test_the_same_command_again_trains_nothing_and_more_seeds_only_what_is_new(
    checked: Checked,
) -> None:
    project, first = checked
    before = files_of(project, "logs/*checked-run-*-seed-*")

    again = check(project, "2", "--seeds", "2", "--json")
    after = files_of(project, "logs/*checked-run-*-seed-*")
    more = check(project, "2", "--seeds", "3")

    assert (again.code, again.stdout) == (0, first.stdout)
    assert "nothing is left to train" in again.stderr
    assert after == before
    assert "2 of 6 training runs left" in more.stderr
    assert more.stdout.count("3 of 3") == 2
    assert "win" in more.stdout
    assert len(stored(project, "checked/verify")) == 6


def test_the_search_goes_on_after_a_check_and_leaves_its_models_alone(checked: Checked) -> None:
    project, _ = checked
    models = files_of(project, "models/*checked-run-*-seed-*")
    file = project.write_search("checked", search_strategy="sample", n_samples=4, export="best")

    finished = project.search(file=file)

    assert finished.code == 0, finished.stderr
    assert {row["run"] for row in results(project, "checked")} == {"0", "1", "2", "3"}
    assert models
    assert files_of(project, "models/*checked-run-*-seed-*") == models


def test_an_interrupted_check_goes_on_and_ends_with_the_losses_of_an_undisturbed_one(
    prepared: Project,
) -> None:
    file = prepared.write_search(
        "cut-check",
        search_strategy="sample",
        n_samples=1,
        training__epochs=[6],
        training__batch_size=[64],
    )
    assert prepared.search(file=file).code == 0
    command = ("verify", "--config-path", file, "--runs", "1", "--seeds", "2", "--json")
    process = prepared.start(*command, "-v")
    log = prepared.root / "logs/sequifier-cut-check-run-0-seed-102-metrics.jsonl"
    wait_for(lambda: log.exists() and log.read_text().count('"epoch"') >= 2, process)

    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    again = prepared.run(*command)
    alone = prepared.run(
        *("train", "--config-path", "configs/hp_search/cut-check-run-0.yaml"),
        *("--seed", "102", "--model-name", "undisturbed"),
    )

    record = (prepared.root / "studies/cut-check/coordinator.log").read_text().splitlines()[-1]
    assert process.returncode == 130, stderr
    assert record in stderr
    assert record.endswith(" study=cut-check/verify signal=SIGINT")
    assert not json.loads(stdout)["is_complete"]
    assert again.code == 0, again.stderr
    losses = json.loads(again.stdout)["configurations"][0]["validation_loss_by_seed"]
    assert f"best validation loss {losses['102']!r} " in alone.stdout
    starts = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["resume"] for event in starts if event["event"] == "start"] == [False, True]


def test_what_cannot_be_checked_is_said_without_a_trace_in_the_storage(prepared: Project) -> None:
    file = prepared.write_search("never-begun")

    never_begun = check(prepared, "2", file=file)
    of_another = check(prepared, "2", "--study-name", "tiny", file=file)

    assert never_begun.code == 2
    assert "the study `never-begun` was never started" in never_begun.stderr
    assert of_another.code == 2
    assert "not of `tiny`" in of_another.stderr
    assert not (prepared.root / "studies/never-begun").exists()
