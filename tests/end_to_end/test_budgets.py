"""A search within a budget ends by itself, says what is left, and goes on where it was."""

import json
import time
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Finished, Project
from tests.end_to_end.shop import FILE, preprocess, write_search

SLOW = {"epochs": [400], "batch_size": [2]}


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    preprocess(project, seed=1)
    return project


def run(project: Project, *options: str) -> Finished:
    return project.run("hyperparameter-search", "--config-path", FILE, *options)


def status(project: Project) -> dict[str, object]:
    shown = json.loads(project.run("status", "--config-path", FILE, "--json").stdout)
    assert isinstance(shown, dict)
    return shown


@pytest.mark.slow
def test_a_spent_budget_of_epochs_is_said_everywhere_and_more_goes_on(shop: Project) -> None:
    write_search(shop, n_samples=3, epoch_budget=2)

    first = run(shop, "--json")
    again = run(shop)

    assert (first.code, again.code) == (0, 0), first.stderr + again.stderr
    assert json.loads(first.stdout)["stopped_by_budget"] == "epoch_budget"
    assert "epoch budget 2: 0 trained so far" in first.stderr
    for said in (first.stderr, again.stderr):
        assert "stopped by its epoch budget: 1 run left; raise it and go on with" in said
    assert status(shop)["stopped_by_budget"] == "epoch_budget"
    for command in ("status", "best"):
        shown = shop.run(command, "--config-path", FILE).stdout
        assert "stopped by its epoch budget: 1 run left" in shown
    page = (shop.root / "studies/shop/report.html").read_text()
    assert "stopped by its epoch budget: 1 run left" in page
    assert "epoch budget 2: 2 trained so far" in shop.run("plan", "--config-path", FILE).stdout
    write_search(shop, n_samples=3)
    last = run(shop, "--json")
    assert (json.loads(last.stdout)["complete"], status(shop)["stopped_by_budget"]) == (3, None)


@pytest.mark.slow
def test_a_start_ends_in_time_and_the_next_one_continues_its_run(shop: Project) -> None:
    write_search(shop, n_samples=1, training_hyperparameter_sampling=SLOW)

    began = time.monotonic()
    ended = run(shop, "--workers", "1", "--time-budget", "12s")

    assert ended.code == 0, ended.stderr
    assert time.monotonic() - began < 12 + 20
    assert "stopping: its time budget is spent" in ended.stderr
    assert "stopped by its time budget: 1 run left; go on with" in ended.stderr
    assert status(shop)["interrupted"] == 1
    write_search(shop, n_samples=1, training_hyperparameter_sampling=SLOW, time_budget="1s")
    too_late = run(shop)
    assert too_late.code == 0
    assert "stopped by its time budget: 1 run left" in too_late.stderr


def test_a_time_that_is_none_is_a_mistake_of_the_command_line(shop: Project) -> None:
    write_search(shop, time_budget="soon", epoch_budget=0)

    in_file = run(shop)
    given = run(shop, "--time-budget", "8x")

    assert (in_file.code, given.code) == (2, 2)
    assert "'soon' is no duration: write `8h`, `90m`, `1h30m`" in in_file.stderr
    assert "0 is out of range" in in_file.stderr
    assert "'8x' is no duration" in given.stderr
