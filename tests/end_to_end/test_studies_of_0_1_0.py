"""Studies that 0.1.0 left are read for ever; tests/fixtures/study-0.1.0/README.md says what they are."""

import csv
import html
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study-0.1.0"
STUDIES = ("shop-grid", "shop-lengths")

Row = tuple[str, str, str, str, str, str, str, str]
"""Rank, run, state, validation loss, best epoch, duplicate of, reason, model name."""
COLUMNS = (
    *("rank", "run", "state", "validation_loss"),
    *("best_epoch", "duplicate_of", "reason", "model_name"),
)
ROWS: dict[str, list[Row]] = {
    "shop-grid": [
        ("1", "6", "complete", "1.1225096099078655", "20", "", "", "shop-grid-run-6"),
        ("2", "7", "complete", "1.1225096099078655", "", "6", "", "shop-grid-run-6"),
        ("3", "1", "complete", "1.3818451609266431", "4", "", "", "shop-grid-run-1"),
        ("4", "2", "complete", "1.3818451609266431", "", "1", "", "shop-grid-run-1"),
        ("5", "4", "complete", "1.4631850703766471", "4", "", "", "shop-grid-run-4"),
        ("6", "5", "complete", "1.4631850703766471", "", "4", "", "shop-grid-run-4"),
        ("", "0", "failed", "", "", "", "diverged", "shop-grid-run-0"),
        ("", "3", "failed", "", "", "", "diverged", "shop-grid-run-3"),
        ("", "8", "interrupted", "", "22", "", "interrupted", "shop-grid-run-8"),
    ],
    "shop-lengths": [
        ("1", "2", "complete", "1.2219339575566037", "5", "", "", "shop-lengths-run-2"),
        ("2", "1", "complete", "1.258238233233753", "5", "", "", "shop-lengths-run-1"),
        ("3", "0", "complete", "1.2618712441701638", "5", "", "", "shop-lengths-run-0"),
        ("", "3", "running", "", "", "", "", "shop-lengths-run-3"),
    ],
}
COUNTS = {
    "shop-grid": {
        "strategy": "grid",
        "num_runs": 6,
        "complete": 3,
        "failed": 2,
        "running": 0,
        "interrupted": 1,
        "duplicates": 3,
    },
    "shop-lengths": {
        "strategy": "sample",
        "num_runs": 4,
        "complete": 3,
        "failed": 0,
        "running": 1,
        "interrupted": 0,
        "duplicates": 0,
    },
}


@pytest.fixture
def left(tmp_path: Path) -> Project:
    """A copy of the project."""
    return Project(shutil.copytree(FIXTURE, tmp_path / "project"))


def ask(project: Project, command: str, study: str, *options: str) -> str:
    """What a command says of a study."""
    finished = project.run(command, "--config-path", f"configs/{study}.yaml", *options)
    assert finished.code == 0, finished.stderr
    return finished.stdout


def logged(project: Project, run: str) -> dict[str, float]:
    """Epoch -> validation loss, as the run's own log has it."""
    lines = (project.root / f"logs/sequifier-{run}-metrics.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return {str(e["epoch"]): e["validation_loss"] for e in events if e["event"] == "epoch"}


def assert_is(record: dict[str, Any], row: Row, project: Project) -> None:
    """Compare a run's record with its row and its log."""
    _, run, state, loss, best_epoch, duplicate_of, reason, name = row
    assert str(record["run"]) == run
    assert record["model_name"] == name
    assert record["state"] == state
    assert record["validation_loss"] == (float(loss) if loss else None)
    assert record["duplicate_of"] == (int(duplicate_of) if duplicate_of else None)
    assert record["reason"] == reason
    assert str(record["attributes"].get("best_epoch") or "") == best_epoch
    if not duplicate_of:
        assert record["validation_loss_by_epoch"] == logged(project, name)


@pytest.mark.parametrize("study", STUDIES)
def test_its_runs_are_exported_with_the_losses_they_had(study: str, left: Project) -> None:
    written = ask(left, "export", study)
    records = json.loads(ask(left, "export", study, "--format", "json"))

    rows = list(csv.DictReader(io.StringIO(written)))
    assert [tuple(row[column] for column in COLUMNS) for row in rows] == ROWS[study]
    for record, row in zip(records, ROWS[study], strict=True):
        assert_is(record, row, left)


@pytest.mark.parametrize("study", STUDIES)
def test_its_status_is_what_it_was(study: str, left: Project) -> None:
    found = json.loads(ask(left, "status", study, "--json"))

    assert {key: found[key] for key in COUNTS[study]} == COUNTS[study]
    assert_is(found["best"], ROWS[study][0], left)
    ranked = [row for row in ROWS[study] if row[0]]
    for record, row in zip(found["leaderboard"], ranked, strict=True):
        assert_is(record, row, left)
    running = [row for row in ROWS[study] if row[2] == "running"]
    for record, row in zip(found["running_runs"], running, strict=True):
        assert_is(record, row, left)


@pytest.mark.parametrize("study", STUDIES)
def test_its_best_run_is_the_one_that_was_and_its_file_can_be_had(
    study: str, left: Project
) -> None:
    found = json.loads(ask(left, "best", study, "--json", "--write", "configs/train.yaml"))

    row = ROWS[study][0]
    file = f"configs/hp_search/{row[-1]}.yaml"
    assert_is(found, row, left)
    assert found["train_config"] == file
    assert (left.root / "configs/train.yaml").read_bytes() == (FIXTURE / file).read_bytes()


def search(project: Project, study: str, *options: str) -> Finished:
    """Go on with a study."""
    file = f"configs/{study}.yaml"
    return project.run("hyperparameter-search", "--config-path", file, "--workers", "2", *options)


@pytest.mark.parametrize("command", ["hyperparameter-search", "verify"])
def test_it_does_not_go_on_before_its_data_are_confirmed(left: Project, command: str) -> None:
    before = json.loads(ask(left, "export", "shop-grid", "--format", "json"))

    refused = left.run(command, "--config-path", "configs/shop-grid.yaml")

    assert refused.code == 2
    assert "started by sequifier-hpo 0.1.0, which did not record what data" in refused.stderr
    assert "--same-data" in refused.stderr
    assert "--accept-new-data" in refused.stderr
    assert json.loads(ask(left, "export", "shop-grid", "--format", "json")) == before


@pytest.fixture(scope="module")
def gone_on(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Finished]:
    """A copy in which the search over a grid has gone on, on the same data."""
    root = tmp_path_factory.mktemp("gone-on") / "project"
    project = Project(shutil.copytree(FIXTURE, root))
    return project, search(project, "shop-grid", "--same-data")


def test_with_the_same_data_it_goes_on_and_its_results_stay(
    gone_on: tuple[Project, Finished],
) -> None:
    project, finished = gone_on

    assert finished.code == 0, finished.stderr
    rows = list(csv.DictReader(io.StringIO(ask(project, "export", "shop-grid"))))
    found = {row["run"]: (row["state"], row["validation_loss"]) for row in rows}
    for row in ROWS["shop-grid"]:
        if row[1] != "8":
            assert found[row[1]] == row[2:4]
    assert found["8"][0] == "complete"
    assert all(row["of_other_data"] == "" for row in rows)


def test_with_the_same_data_its_winner_check_is_there_and_nothing_is_trained(
    gone_on: tuple[Project, Finished],
) -> None:
    project, _ = gone_on

    found = json.loads(ask(project, "verify", "shop-grid", "--runs", "2", "--seeds", "2", "--json"))

    losses = {
        each["run"]: (each["validation_loss_in_search"], each["validation_loss_by_seed"])
        for each in found["configurations"]
    }
    assert losses[6] == (
        1.1225096099078655,
        {"103": 1.091168715079364, "104": 1.083352083830457},
    )
    assert not list(project.root.glob("logs/*-run-6-seed-*.log")), "something was trained"


def test_with_new_data_its_results_stay_out_of_the_ranking_and_all_is_run_again(
    left: Project,
) -> None:
    finished = search(left, "shop-grid", "--accept-new-data")

    assert finished.code == 0, finished.stderr
    rows = list(csv.DictReader(io.StringIO(ask(left, "export", "shop-grid"))))
    old = [row for row in rows if row["of_other_data"] == "true"]
    assert {row["run"] for row in old} == {row[1] for row in ROWS["shop-grid"]}
    assert not any(row["rank"] for row in old)
    ranked = [row for row in rows if row["rank"]]
    # The data are in truth the same: so are the losses.
    known = {row[3] for row in ROWS["shop-grid"] if row[3]}
    assert known <= {row["validation_loss"] for row in ranked}


def test_a_search_over_window_lengths_says_why_it_does_not_go_on(left: Project) -> None:
    refused = search(left, "shop-lengths", "--same-data")

    assert refused.code == 2
    assert "counted all positions of each run's own window" in refused.stderr
    assert "another hp_search_name" in refused.stderr


@pytest.mark.parametrize(
    ("study", "shown"),
    [
        ("shop-grid", ("1.12251", "3 of 6", "2 failed", "1 interrupted", "3 duplicate cells")),
        ("shop-lengths", ("1.22193", "3 of 4", "1 running")),
    ],
)
def test_its_report_can_be_written(study: str, shown: tuple[str, ...], left: Project) -> None:
    ask(left, "report", study)

    page = (left.root / f"studies/{study}/report.html").read_text()
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for text in shown:
        assert text in words
    best = ROWS[study][0][-1]
    assert html.escape((FIXTURE / f"configs/hp_search/{best}.yaml").read_text()) in page
