"""A study that takes in a shorter window: its finished runs are evaluated anew with their models."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Finished, Project
from tests.end_to_end.shop import FILE, preprocess, results, search, write_search

pytestmark = pytest.mark.slow


def write(project: Project, *lengths: int, name: str = "shop") -> None:
    write_search(
        project,
        hp_search_name=name,
        search_strategy="grid",
        input_columns=[["product"]],
        seq_length=list(lengths),
        training_hyperparameter_sampling={"batch_size": [16]},
    )


def loss_of(project: Project, seq_length: int, name: str = "shop") -> float:
    wanted = str(seq_length)
    (row,) = (r for r in results(project, name) if r.get("seq_length", wanted) == wanted)
    return float(row["validation_loss"])


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A study with one run, of six positions."""
    project = Project(tmp_path_factory.mktemp("longer"))
    preprocess(project, seed=1, stride_by_split=[1, 9, 1], split_ratios=[0.4, 0.5, 0.1])
    write(project, 6)
    assert search(project).code == 0
    return project


@pytest.fixture
def project(searched: Project, tmp_path: Path) -> Project:
    shutil.copytree(searched.root, tmp_path / "copy")
    return Project(tmp_path / "copy")


def shorter(project: Project, *options: str) -> Finished:
    """The search with a window of three positions as well."""
    write(project, 6, 3)
    return search(project, *options)


def test_what_it_means_is_said_first(project: Project) -> None:
    before = (project.root / "studies/shop/results.csv").read_text()

    done = shorter(project)
    plan = project.run("plan", "--config-path", FILE)

    assert done.code == plan.code == 2
    for said in (done.stderr, plan.stderr):
        assert "seq_length: 3 added" in said
        assert "losses count the last 3 positions of a window from then on, instead of 6" in said
        assert "1 finished run is evaluated anew over the last 3 positions, with the model" in said
        assert "continue with --accept-changes" in said
    assert (project.root / "studies/shop/results.csv").read_text() == before


def test_accepted_all_losses_are_those_of_a_study_that_had_both_windows_from_the_beginning(
    project: Project,
) -> None:
    before = loss_of(project, 6)

    done = shorter(project, "--accept-changes")
    write(project, 6, 3, name="fresh")
    assert search(project).code == 0

    assert done.code == 0, done.stderr
    assert "1 of 2 runs left to train" in done.stderr
    assert loss_of(project, 3) == loss_of(project, 3, "fresh")
    # With one epoch, both have the same best one; onnxruntime and torch differ in the last digits.
    assert loss_of(project, 6) == pytest.approx(loss_of(project, 6, "fresh"), rel=1e-5)
    assert loss_of(project, 6) != before
    all_positions = "validation_loss_all_positions"
    (anew,) = (row for row in results(project) if row["seq_length"] == "6")
    assert float(anew[all_positions]) == pytest.approx(before), "they were all of them"


def test_without_the_models_it_is_refused_and_nothing_has_changed(project: Project) -> None:
    for folder in ("models", "checkpoints"):
        shutil.move(project.root / folder, project.root / f"elsewhere-{folder}")

    done = shorter(project, "--accept-changes")

    assert done.code == 2
    assert "a seq_length of 3 is shorter than the last 6 positions" in done.stderr
    assert "no model is kept here of run 0" in done.stderr
    write(project, 6)
    assert search(project).code == 0, "the study is as it was"


def test_killed_while_models_are_judged_the_study_is_as_it_was(project: Project) -> None:
    before = loss_of(project, 6)
    write(project, 6, 3)
    search_process = project.start(
        "hyperparameter-search", "--config-path", FILE, "--accept-changes"
    )
    assert search_process.stderr is not None
    assert any("evaluating run 0 anew" in line for line in search_process.stderr)

    os.killpg(search_process.pid, signal.SIGKILL)
    search_process.communicate()
    write(project, 6)
    done = search(project)

    assert done.code == 0, done.stderr
    assert loss_of(project, 6) == before


def test_a_checkpoint_alone_is_a_model_too(project: Project) -> None:
    shutil.rmtree(project.root / "models")

    done = shorter(project, "--accept-changes")

    assert done.code == 0, done.stderr
    assert "evaluating run 0 anew (1 of 1)" in done.stderr


def test_afterwards_everything_else_speaks_of_the_same_positions(project: Project) -> None:
    assert shorter(project, "--accept-changes").code == 0
    longer = loss_of(project, 6)

    judged = project.run("evaluate", "--config-path", FILE, "--run", "0", "--json")
    compared = project.run("compare", f"{FILE}:0", f"{FILE}:1", "--json")
    checked = project.run(
        "verify", "--config-path", FILE, "--runs", "2", "--seeds", "2", "--workers", "1"
    )

    assert json.loads(judged.stdout)["loss_in_search"] == longer
    assert json.loads(judged.stdout)["loss"] == pytest.approx(longer)
    losses = {each["run"]: each["loss"] for each in json.loads(compared.stdout)["models"]}
    assert losses[0] == pytest.approx(longer)
    assert checked.code == 0, checked.stderr
    assert "`shop/verify-last-3`" in checked.stderr
    page = (project.root / "studies/shop/report.html").read_text()
    assert "over the last 6 positions of a window when it was trained" in page
