"""`doctor`: what is fine, what is not, and what to do about it."""

import re
from itertools import takewhile
from pathlib import Path

import pytest

from sequifier_hpo.config.locate import find_study
from sequifier_hpo.doctor import examine
from tests.cli.conftest import Run, Study


@pytest.mark.slow
def test_a_project_that_is_ready_has_no_problem(study: Study) -> None:
    checks = examine(find_study(Path("configs/search.yaml"), None, None), Path())

    found = {check.name: check for check in takewhile(lambda check: check.name != "torch", checks)}

    assert all(check.is_fine for check in found.values())
    assert found["storage sqlite:///studies/shop/study.db"].found == "reachable"
    assert "folder configs/hp_search" in found


@pytest.mark.slow  # imports torch in a process of its own
def test_doctor_names_what_is_wrong_and_exits_with_3(run: Run, study: Study) -> None:
    study.die()
    Path("studies/shop/study.db").write_text("this is no database" * 500)
    Path("logs").write_text("a file where a folder should be")

    shown = run("doctor", "--config-path", "configs/search.yaml")

    assert shown.code == 3
    assert "PROBLEM  storage sqlite:///studies/shop/study.db" in shown.stdout
    assert "PROBLEM  folder logs: it is a file" in shown.stdout
    assert re.search(r"ok +torch: .*trains on", shown.stdout)
