"""Frozen searches come to the losses of each configuration, in whichever way they are run.

The golden file holds every configuration of their spaces, so that it holds those of any sample.
"""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Project
from tests.golden.conftest import AssertMeets
from tests.golden.frozen import (
    SEARCHES,
    copy_project,
    has_event,
    leaderboard_of,
    outcomes_of_search,
)
from tests.process.chaos import wait_for

pytestmark = pytest.mark.slow


def search(project: Project, name: str, way: str) -> None:
    """Run a search to its end, in one of three ways."""
    file = f"{SEARCHES}/{name}.yaml"
    workers = ("--workers", "1" if way == "one worker" else "2")
    if way == "interrupted":
        process = project.start("hyperparameter-search", "--config-path", file, *workers)
        wait_for(lambda: has_event(project.root, "epoch"), process)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM, stderr
        assert has_event(project.root, "end", kind="interrupted")
    finished = project.search(*workers, file=file)
    assert finished.code == 0, finished.stderr


@pytest.mark.parametrize(
    ("name", "way", "num_runs"),
    [
        ("demo-sample", "one worker", 6),
        ("demo-sample", "two workers", 6),
        ("demo-sample", "interrupted", 6),
        ("demo-grid", "two workers", 8),
        ("chaos", "one worker", 8),
        ("chaos", "interrupted", 8),
    ],
)
def test_a_frozen_search_comes_to_the_losses_of_each_configuration(
    name: str,
    way: str,
    num_runs: int,
    golden: dict[str, Any],
    assert_meets: AssertMeets,
    tmp_path: Path,
) -> None:
    root = copy_project(tmp_path / "project")
    expected = {
        json.dumps(each["configuration"], sort_keys=True): each["epochs"]
        for each in golden["searches"][name]
    }

    search(Project(root), name, way)

    found = outcomes_of_search(root, name)
    assert len(found) == num_runs
    assert found.keys() <= expected.keys(), "a configuration that was never recorded"
    for configuration, outcome in found.items():
        record = outcome.record()
        assert record["kind"] == "completed"
        assert_meets(record["epochs"], expected[configuration])
    shown = {float(row["validation_loss"]) for row in leaderboard_of(root, name)}
    assert shown == {
        min(epoch.validation_loss for epoch in outcome.epochs.values())
        for outcome in found.values()
    }
