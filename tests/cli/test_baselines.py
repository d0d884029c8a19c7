"""Baselines as a study keeps them."""

import json
from pathlib import Path

import pytest

from sequifier_hpo.records import Baseline
from sequifier_hpo.study.baselines import baselines_in
from tests.cli.conftest import Run, Study, run, study
from tests.conftest import project, search_data, write_search

__all__ = ["project", "run", "search_data", "study", "write_search"]

STORED = [{"name": "class frequencies", "loss": 1.5}, {"name": "last value", "loss": 0.75}]


def test_baselines_are_read_from_the_attribute() -> None:
    assert baselines_in(STORED) == (
        Baseline(name="class frequencies", loss=1.5),
        Baseline(name="last value", loss=0.75),
    )


@pytest.mark.parametrize("attribute", [None, {}, "none", [{"name": "mean"}], [1.5]])
def test_something_else_holds_none(attribute: object) -> None:
    assert baselines_in(attribute) == ()


@pytest.mark.parametrize("command", ["status", "best"])
def test_a_study_shows_the_baselines_that_it_keeps(run: Run, study: Study, command: str) -> None:
    study.complete(0.9)
    storage = study.storage.cached
    storage.set_study_user_attr(storage.get_study_id_from_name("shop"), "baselines", STORED)

    shown = run(command, "--config-path", study.file)
    found = json.loads(run(command, "--config-path", study.file, "--json").stdout)

    assert "trivial predictor, last value: 0.75" in shown.stdout
    assert "no run beats the trivial predictor (last value)" in shown.stdout
    assert found["baselines"] == {"class frequencies": 1.5, "last value": 0.75}


def test_the_report_shows_them_too(run: Run, study: Study) -> None:
    study.complete(0.9)
    storage = study.storage.cached
    storage.set_study_user_attr(storage.get_study_id_from_name("shop"), "baselines", STORED)

    run("report", "--config-path", study.file)

    page = Path("studies/shop/report.html").read_text()
    assert "trivial: last value" in page
