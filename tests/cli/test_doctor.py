"""`doctor`: what is fine, what is not, and what to do about it."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run, Study


@pytest.mark.slow  # imports torch in a process of its own
def test_doctor_finds_this_machine_fit(run: Run, study: Study) -> None:
    shown = run("doctor", "--config-path", "configs/search.yaml", "--json")

    checks = {check["name"]: check for check in json.loads(shown.stdout)}
    assert shown.code == 0
    assert checks["storage sqlite:///studies/shop/study.db"]["found"] == "reachable"
    assert "trains on" in checks["torch"]["found"]
    assert "folder configs/hp_search" in checks


@pytest.mark.slow  # imports torch in a process of its own
def test_doctor_names_what_is_wrong_and_exits_with_3(run: Run, study: Study) -> None:
    study.die()
    Path("studies/shop/study.db").write_text("this is no database" * 500)
    Path("logs").write_text("a file where a folder should be")

    shown = run("doctor", "--config-path", "configs/search.yaml")

    assert shown.code == 3
    assert "PROBLEM  storage sqlite:///studies/shop/study.db" in shown.stdout
    assert "PROBLEM  folder logs: it is a file" in shown.stdout
