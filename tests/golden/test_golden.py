"""Frozen run files come to the losses that they always came to."""

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.conftest import Project
from tests.golden.conftest import AssertMeets
from tests.golden.frozen import (
    RUN_NAMES,
    RUNS,
    SEARCH_NAMES,
    copy_project,
    outcome_of,
    train_run_files,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which all frozen run files were trained."""
    root = copy_project(tmp_path_factory.mktemp("golden") / "project")
    train_run_files(root, RUN_NAMES)
    return root


def test_all_that_is_frozen_is_recorded(golden: dict[str, Any]) -> None:
    assert sorted(golden["runs"]) == RUN_NAMES
    assert sorted(golden["searches"]) == SEARCH_NAMES


@pytest.mark.parametrize("name", RUN_NAMES)
def test_a_frozen_run_comes_to_its_losses(
    name: str,
    trained: Path,
    golden: dict[str, Any],
    assert_meets: AssertMeets,
    *,
    is_exact: bool,
) -> None:
    expected = golden["runs"][name]

    outcome = outcome_of(trained, name)

    found = outcome.record()
    assert found["kind"] == expected["kind"]
    assert_meets(found["epochs"], expected["epochs"])
    if is_exact:
        best = ("best_epoch", "best_validation_loss")
        assert [found[key] for key in best] == [expected[key] for key in best]
    # Nothing beside a frozen run file says that fewer positions count.
    for epoch in outcome.epochs.values():
        assert epoch.validation_loss == epoch.validation_loss_all_positions


@pytest.mark.parametrize("name", ["mixed-targets", "shards-of-two-processes"])
def test_the_command_for_one_run_comes_to_the_same_losses(
    name: str,
    golden: dict[str, Any],
    assert_meets: AssertMeets,
    tmp_path: Path,
    *,
    is_exact: bool,
) -> None:
    expected = golden["runs"][name]
    root = copy_project(tmp_path / "project")

    finished = Project(root).run("train", "--config-path", f"{RUNS}/{name}.yaml")

    assert finished.code == 0, finished.stderr
    assert_meets(outcome_of(root, name).record()["epochs"], expected["epochs"])
    if is_exact:
        assert f"best validation loss {expected['best_validation_loss']!r} at" in finished.stdout
