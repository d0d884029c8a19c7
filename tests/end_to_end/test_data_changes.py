"""Data that change under a study are found before anything is trained or overwritten."""

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Project
from tests.end_to_end.shop import (
    FILE,
    METADATA,
    contents,
    losses,
    preprocess,
    results,
    search,
    shown,
    write_search,
)
from tests.end_to_end.test_search import wait_for

pytestmark = pytest.mark.slow

MakeProject = Callable[[Project | None], Project]


@pytest.fixture(scope="module")
def new_project(tmp_path_factory: pytest.TempPathFactory) -> MakeProject:
    """Make a project: an empty one, or a copy of another."""

    def make(original: Project | None) -> Project:
        project = Project(tmp_path_factory.mktemp("shop"))
        if original is not None:
            shutil.copytree(original.root, project.root, dirs_exist_ok=True)
        return project

    return make


@pytest.fixture(scope="module")
def first(new_project: MakeProject) -> Project:
    """A project with a search of two runs that is over; not to be changed."""
    project = new_project(None)
    preprocess(project, seed=1)
    write_search(project)
    assert search(project).code == 0
    return project


@pytest.fixture(scope="module")
def second(first: Project, new_project: MakeProject) -> Project:
    """The same after the table was changed, and all four runs are wanted; not to be changed."""
    project = new_project(first)
    preprocess(project, seed=2)
    write_search(project, n_samples=4)
    return project


@pytest.fixture(scope="module")
def fresh(new_project: MakeProject) -> Project:
    """A project that has never had other data than the changed ones; not to be changed."""
    project = new_project(None)
    preprocess(project, seed=2)
    write_search(project, n_samples=4)
    assert search(project).code == 0
    return project


@pytest.fixture(scope="module")
def accepted(second: Project, new_project: MakeProject) -> Project:
    """The project with changed data after they were accepted; not to be changed."""
    project = new_project(second)
    done = search(project, "--accept-new-data")
    assert done.code == 0, done.stderr
    assert "4 of 4 runs complete, 2 more on earlier data, not ranked" in done.stdout
    return project


@pytest.fixture
def unchanged(first: Project, new_project: MakeProject) -> Project:
    """A copy of the project with a search that is over."""
    return new_project(first)


@pytest.fixture
def changed(second: Project, new_project: MakeProject) -> Project:
    """A copy of the project whose data have changed."""
    return new_project(second)


def test_a_search_on_changed_data_is_refused_in_words_and_nothing_is_touched(
    changed: Project,
) -> None:
    before = contents(changed)

    refused = search(changed)

    assert refused.code == 2
    assert refused.stdout == ""
    for split in ("training", "validation"):
        assert f"in the {split} split, `product` and `amount` changed" in refused.stderr
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d, for runs 0-1:", refused.stderr)
    assert "another hp_search_name" in refused.stderr
    assert "--accept-new-data" in refused.stderr
    assert contents(changed) == before


@pytest.mark.parametrize("command", ["plan", "verify"])
def test_what_would_mix_losses_of_two_tables_is_refused_too(changed: Project, command: str) -> None:
    before = contents(changed)

    refused = changed.run(command, "--config-path", FILE)

    assert refused.code == 2
    assert "the data of the study `shop` have changed" in refused.stderr
    assert contents(changed) == before


def test_accepted_data_are_ranked_alone_and_the_earlier_runs_stay_marked(
    accepted: Project, fresh: Project
) -> None:
    earlier = [row for row in results(accepted) if row["of_other_data"]]
    best, status = shown(accepted, "best"), shown(accepted, "status")

    assert losses(accepted) == losses(fresh)
    assert [(row["run"], row["rank"]) for row in earlier] == [("0", ""), ("1", "")]
    assert best["run"] not in {0, 1}
    assert [run["run"] in {0, 1} for run in status["leaderboard"]] == [False] * 4
    assert (status["complete"], status["of_other_data"]) == (4, 2)
    assert best["baselines"] == status["baselines"] == shown(fresh, "best")["baselines"]


def test_people_are_told_which_runs_are_on_earlier_data(accepted: Project) -> None:
    best = accepted.run("best", "--config-path", FILE).stdout
    status = accepted.run("status", "--config-path", FILE).stdout
    report = (accepted.root / "studies/shop/report.html").read_text()

    assert best.startswith("best of 4 complete runs: run ")
    assert "4 of 4 runs complete, 2 more on earlier data, not ranked" in status
    assert report.count("trained on earlier data: not ranked") == 2


def test_a_search_goes_on_when_the_earlier_data_are_back(changed: Project) -> None:
    assert search(changed).code == 2
    preprocess(changed, seed=1)
    write_search(changed)

    resumed = search(changed)

    assert resumed.code == 0
    assert "the study is complete: 2 of 2 runs complete" in resumed.stderr


def test_an_interrupted_run_is_not_continued_on_other_data(new_project: MakeProject) -> None:
    project = new_project(None)
    preprocess(project, seed=1)
    write_search(
        project,
        n_samples=1,
        training_hyperparameter_sampling={"epochs": [40], "batch_size": [8]},
    )
    log = project.root / "logs/sequifier-shop-run-0-metrics.jsonl"
    process = project.start("hyperparameter-search", "--config-path", FILE)
    wait_for(lambda: log.exists() and '"epoch"' in log.read_text(), process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    preprocess(project, seed=2)
    before = contents(project)

    refused = search(project)
    untouched = contents(project)
    done = search(project, "--accept-new-data")

    assert (process.returncode, refused.code) == (130, 2)
    assert untouched == before
    assert done.code == 0, done.stderr
    best = shown(project, "best")
    assert best["model_name"] == "shop-run-1"
    metrics = (project.root / "logs/sequifier-shop-run-1-metrics.jsonl").read_text()
    trained = [event for event in map(json.loads, metrics.splitlines()) if "epoch" in event]
    assert [event["epoch"] for event in trained if event["event"] == "epoch"] == [*range(1, 41)]


def test_checkpoints_of_a_deleted_study_give_no_losses_of_other_data(
    changed: Project, fresh: Project
) -> None:
    shutil.rmtree(changed.root / "studies")
    before = contents(changed)

    refused = search(changed)
    untouched = {
        path: content for path, content in contents(changed).items() if "studies" not in path.parts
    }
    advice = refused.stderr.strip().splitlines()[-1].strip()
    assert advice.startswith("rm -r configs/hp_search/shop-run-[0-9]* ")
    subprocess.run(advice, shell=True, cwd=changed.root, check=True)  # noqa: S602 - as a user does
    done = search(changed)

    assert refused.code == 2
    assert "belong to an earlier study of that name" in refused.stderr
    assert untouched == before
    assert done.code == 0, done.stderr
    assert losses(changed) == losses(fresh)


def test_a_finished_run_file_is_not_trained_on_other_data_under_its_name(changed: Project) -> None:
    before = contents(changed)

    refused = changed.run("train", "--config-path", "configs/hp_search/shop-run-0.yaml")

    assert refused.code == 2
    assert "in the validation split, `product` changed" in refused.stderr
    assert "--restart" in refused.stderr
    assert refused.stdout == ""
    after = contents(changed)  # the attempt is in the run's logs, and in nothing else
    assert {path for path in before if before[path] != after.get(path)} == {
        Path(f"logs/sequifier-shop-run-0{end}") for end in (".log", "-metrics.jsonl")
    }


def test_a_run_file_is_not_trained_on_old_splits_with_new_metadata(unchanged: Project) -> None:
    preprocess(unchanged, seed=2, data_path="data/newer.csv")
    newer = "configs/metadata_configs/newer.json"

    refused = unchanged.run(
        *("train", "--config-path", "configs/hp_search/shop-run-0.yaml"), *("-mc", newer)
    )

    assert refused.code == 2
    assert f"is a split of {METADATA}" in refused.stderr


def as_shards(project: Project) -> tuple[str, ...]:
    preprocess(project, seed=1, write_format="pt")
    write_search(project, read_format="pt")
    return ()


def as_csv(project: Project) -> tuple[str, ...]:
    preprocess(project, seed=1, write_format="csv")
    write_search(project, read_format="csv")
    return ()


def with_a_new_column(project: Project) -> tuple[str, ...]:
    preprocess(project, seed=1, has_more=True)
    return ()


def under_another_name(project: Project) -> tuple[str, ...]:
    preprocess(project, seed=1, data_path="data/sales.csv")
    write_search(project, metadata_config_path="configs/metadata_configs/sales.json")
    return ()


def without_metadata(project: Project) -> tuple[str, ...]:
    metadata = json.loads((project.root / METADATA).read_text())
    filled: dict[str, Any] = {key: metadata[key] for key in ("n_classes", "id_maps")}
    training, validation, _ = metadata["split_paths"]
    columns = [{"product": "Int64"}, {"product": "Int64", "amount": "Float64"}]
    write_search(
        project,
        **filled,
        column_types=columns,
        categorical_columns=[["product"], ["product"]],
        real_columns=[[], ["amount"]],
        training_data_path=training,
        validation_data_path=validation,
    )
    return ("--skip-metadata",)


@pytest.mark.parametrize(
    "change",
    [as_shards, as_csv, with_a_new_column, under_another_name, without_metadata],
)
def test_the_same_values_are_the_same_study_however_they_are_stored_and_named(
    unchanged: Project, change: Callable[[Project], tuple[str, ...]]
) -> None:
    options = change(unchanged)

    resumed = search(unchanged, *options)

    assert resumed.code == 0, resumed.stderr
    assert "the study is complete: 2 of 2 runs complete; nothing is left to run" in resumed.stderr
