"""A search file that changes while searches run and are killed."""

import csv
import json
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.process.chaos import Coordinator, StoredTrials, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FIRST: dict[str, Any] = {
    "training__epochs": [6],
    "model__dim_feedforward": [8, 16],
    "model__attention_type": ["mha"],
}
ADDED = {**FIRST, "model__dim_feedforward": [8, 16, 24]}
REMOVED = {**FIRST, "model__dim_feedforward": [8, 24]}
WIDENED = {**REMOVED, "training__dropout": {"low": 0.1, "high": 0.2, "step": 0.1}}


def start(project: Project, file: str, *options: str) -> Coordinator:
    arguments = ("--config-path", file, "--workers", "1", *options)
    return Coordinator(project.start("hyperparameter-search", *arguments))


def rows(project: Project, name: str) -> list[dict[str, str]]:
    with Path(project.root / f"studies/{name}/results.csv").open() as file:
        return list(csv.DictReader(file))


def num_revisions(stored: StoredTrials) -> int:
    query = "SELECT value_json FROM study_system_attributes WHERE key = 'sequifier_hpo:identity'"
    return len(json.loads(stored.rows(query)[0][0]).get("spaces", ()))


def cell_of(row: dict[str, str]) -> tuple[str, ...]:
    names = ("input_columns", "batch_size", "dim_feedforward", "dropout")
    return tuple(row[name] for name in names)


def test_three_revisions_with_kills_and_two_coordinators_end_with_exactly_the_union(
    project: Project,
) -> None:
    stored = StoredTrials(sqlite_url(project.root / "studies/living/study.db"))

    def wait_for_results(number: int, coordinator: Coordinator) -> None:
        wait_for(lambda: stored.num("COMPLETE") >= number, coordinator.process)

    def moved_on(coordinator: Coordinator) -> None:
        _, stderr = coordinator.process.communicate(timeout=60)
        assert coordinator.process.returncode == 2, stderr
        assert "has gone on with another search space" in stderr
        assert "Traceback" not in stderr

    file = project.write_search("living", **FIRST)
    killed, older = start(project, file), start(project, file)
    wait_for_results(2, older)
    killed.kill_all()

    project.write_search("living", **ADDED)
    refused = project.search(file=file)
    assert refused.code == 2
    assert "dim_feedforward: 24 added" in refused.stderr
    assert "--accept-changes" in refused.stderr
    killed = start(project, file, "--accept-changes")
    moved_on(older)
    wait_for_results(5, killed)
    killed.kill_all()

    project.write_search("living", **REMOVED)
    killed = start(project, file, "--accept-changes")
    wait_for(lambda: num_revisions(stored) == 3, killed.process)
    older = start(project, file)
    wait_for(lambda: stored.num("RUNNING") > 1, older.process)
    killed.kill_all()

    project.write_search("living", **WIDENED)
    killed = start(project, file, "--accept-changes")
    moved_on(older)
    wait_for_results(9, killed)
    killed.kill_all()
    done = project.search(file=file)
    assert done.code == 0, done.stderr

    inside = [row for row in rows(project, "living") if not row["outside_space"]]
    columns = ("weather, month", "weather, temp_max, wind")
    cells = product(columns, ("32", "64"), ("8", "24"), ("0.1", "0.2"))
    assert sorted(map(cell_of, inside)) == sorted(cells)
    assert all(row["state"] == "complete" for row in inside)
    outside = [row for row in rows(project, "living") if row["outside_space"]]
    assert {row["dim_feedforward"] for row in outside} <= {"16"}
    tags = stored.rows(
        "SELECT a.value_json FROM trials t JOIN trial_system_attributes a "
        "ON a.trial_id = t.trial_id AND a.key = 'sequifier_hpo:tag' WHERE t.state = 'COMPLETE'"
    )
    keys = Counter(json.loads(tag)["key"] for (tag,) in tags)
    assert set(keys.values()) == {1}, "nothing is trained twice"
    assert stored.num("RUNNING") == 0
