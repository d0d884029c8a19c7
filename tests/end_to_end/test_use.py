"""From the best run to its worth and to predictions, by the commands of the guide."""

import json
import math
from typing import Any

import polars as pl
import pytest
import yaml

from sequifier_hpo.config.run_file import read_run_file_head
from sequifier_hpo.preprocessing.stored_split import describe_split
from sequifier_hpo.words import counted
from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow

STUDY = ("--config-path", "configs/tiny.yaml")


@pytest.fixture(scope="module")
def project(searched: tuple[Project, Finished]) -> Project:
    return searched[0]


def best_of(project: Project) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(project.run("best", *STUDY, "--json").stdout)
    return found


def test_the_best_run_is_judged_with_the_loss_of_the_search(project: Project) -> None:
    best = best_of(project)

    done = project.run("evaluate", *STUDY, "--json", "--events", "events.csv")

    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["run"] == best["run"]
    assert found["loss"] == pytest.approx(best["validation_loss"], abs=1e-5)
    assert found["loss_in_search"] == best["validation_loss"]
    assert pl.read_csv(project.root / "events.csv").height == found["num_events"]
    assert found["baselines"].keys() == best["baselines"].keys()
    assert found["baselines"] == pytest.approx(best["baselines"], abs=1e-6)
    project.run("report", *STUDY)
    page = (project.root / "studies/tiny/report.html").read_text()
    assert f"Run {best['run']} on the validation split" in page
    assert "the median on one thread of" in page
    assert best_of(project)["milliseconds_per_event"] < 100


@pytest.mark.usefixtures("real_starts")
def test_a_run_without_a_model_file_is_judged_from_its_checkpoint(project: Project) -> None:
    number = best_of(project)["run"]
    with_model = json.loads(project.run("evaluate", *STUDY, "--split", "test", "--json").stdout)
    (model,) = (project.root / "models").glob(f"sequifier-tiny-run-{number}-best-*.onnx")
    hidden = model.rename(model.with_suffix(".hidden"))

    done = project.run("evaluate", *STUDY, "--run", str(number), "--split", "test", "--json")
    hidden.rename(model)

    assert "its checkpoint is used" in done.stderr
    assert json.loads(done.stdout)["loss"] == pytest.approx(with_model["loss"], abs=1e-6)
    assert list((project.root / "models").glob("*.onnx")).count(model) == 1


def test_a_table_of_events_is_judged_by_a_model_file_alone(project: Project) -> None:
    number = best_of(project)["run"]
    (model,) = (project.root / "models").glob(f"sequifier-tiny-run-{number}-best-*.onnx")

    done = project.run("evaluate", "--model", str(model), "--data", "data/seattle-weather.csv")

    assert done.code == 0, done.stderr
    # 209 windows of 7 positions cover 1,460 events: few are counted twice.
    assert "on a table of events, data/seattle-weather.csv: 1,463 events" in done.stdout
    assert "accuracy" in done.stdout


def test_runs_are_compared_by_the_program_with_the_losses_of_the_search(project: Project) -> None:
    best = best_of(project)
    other = 0 if best["run"] else 1
    arguments = ("compare", STUDY[1], f"{STUDY[1]}:{other}", "--json", "--report", "compared.html")

    done = project.run_program(*arguments)

    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["run"] for row in found["models"]] == [best["run"], other]
    assert found["models"][0]["loss"] == pytest.approx(best["validation_loss"], abs=1e-5)
    assert found["configurations"]
    page = (project.root / "compared.html").read_text()
    assert f"run {best['run']} of tiny has the smallest loss" in page
    # The weather is one sequence.
    assert "cannot be said how far the differences are chance" in page


def test_predictions_for_a_table_come_from_the_program(project: Project) -> None:
    arguments = ("--data", "data/seattle-weather.csv", "--output", "next.csv", "--top-k", "2")

    done = project.run_program("predict", *STUDY, *arguments)

    assert done.code == 0, done.stderr
    assert f"wrote next.csv: {counted(1, 'prediction')}" in done.stderr
    (row,) = pl.read_csv(project.root / "next.csv").iter_rows(named=True)
    assert (row["sequenceId"], row["itemPosition"]) == (0, 1461)
    assert row["weather.probability"] >= row["weather.2.probability"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("evaluate", *STUDY, "--run", "99"), "has no run 99"),
        (("evaluate", *STUDY, "--split", "tset"), "there is no split"),
        (("evaluate", *STUDY, "--split", "test", "--data", "x.csv"), "leave one of them out"),
        (("evaluate", *STUDY, "--model", "x.onnx"), "leave one of them out"),
        (("compare", STUDY[1]), "there is nothing to compare with"),
        (("compare", STUDY[1], f"{STUDY[1]}:99"), "has no run 99"),
        (("compare", STUDY[1], "x.onnx"), "there is no model x.onnx"),
        (("predict", "--model", "x.onnx", "--data", "x.csv"), "there is no model x.onnx"),
        (("predict", *STUDY, "--data", "none.csv"), "none.csv cannot be read"),
        (("predict", *STUDY, "--data", "a.csv", "-o", "./a.csv"), "is the table that is read"),
    ],
)
def test_what_cannot_be_done_is_said(
    project: Project, arguments: tuple[str, ...], words: str
) -> None:
    done = project.run(*arguments)

    assert done.code == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_data_that_were_preprocessed_again_are_not_taken_for_the_old_ones(
    project: Project,
) -> None:
    path = project.root / "configs/metadata_configs/seattle-weather.json"
    before = path.read_text()
    content = json.loads(before)
    ids = content["id_maps"]["weather"]
    ids["rain"], ids["sun"] = ids["sun"], ids["rain"]
    path.write_text(json.dumps(content))

    done = project.run("evaluate", *STUDY)
    content["id_maps"] = json.loads(before)["id_maps"]
    content["split_paths"] = content["split_paths"][:2]
    path.write_text(json.dumps(content))
    without_test = project.run("evaluate", *STUDY, "--split", "test")
    path.write_text(before)

    assert "the data were preprocessed again since: `weather` has other ids" in done.stderr
    assert "there is no test split" in without_test.stderr
    assert done.code == without_test.code == 2


def test_the_best_run_is_refitted_on_both_splits_and_the_study_stays_as_it_is(
    project: Project,
) -> None:
    best = best_of(project)
    before = {path: path.read_bytes() for path in (project.root / "studies/tiny").glob("study.db")}
    models = {path.name for path in (project.root / "models").iterdir()}

    done = project.run("refit", *STUDY, "--json")

    assert done.code == 0, done.stderr
    found = json.loads(done.stdout)
    name = f"tiny-run-{best['run']}-refit"
    assert "1,185 windows of both splits" in done.stderr
    assert "validation loss" not in done.stderr
    assert found["test"]["split"] == "test"
    assert found["test"]["loss"] < max(found["test"]["baselines"].values()) * 2
    new = {path.name for path in (project.root / "models").iterdir()} - models
    file = project.root / f"configs/hp_search/{name}.yaml"
    num_batches = read_run_file_head(file.read_text()).max_batches
    assert num_batches is not None
    batch_size = yaml.safe_load(file.read_text())["training_spec"]["batch_size"]
    training = project.root / "data/seattle-weather-split0.parquet"
    num_training = describe_split(training, "parquet").num_windows
    assert num_batches == best["best_epoch"] * math.ceil(num_training / batch_size)
    epochs = math.ceil(num_batches / math.ceil(1185 / batch_size))
    assert new == {f"sequifier-{name}-last-{epochs}.onnx"}
    assert {path: path.read_bytes() for path in before} == before
    assert best_of(project) == best
