"""The guide on a study that lives: its search file is edited as it says, each of its commands is run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.conftest import Project

pytestmark = pytest.mark.slow

GUIDE = Path(__file__).parents[2] / "docs/guides/a-living-study.md"
SEARCH_FILE = "configs/hyperparameter_search.yaml"
SHORTER = 4
"""The fourth part of the runs is enough to see what happens."""


def blocks() -> Iterator[tuple[str, str]]:
    """Kind and text of every block of the page, in order."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE.read_text(), re.M | re.S)


def without_numbers(text: str) -> str:
    return re.sub(r"\d+", "N", text).replace("stays", "stay").replace("N run to", "N runs to")


def edited(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    for name, value in changes.items():
        is_section = name.endswith("_sampling")
        data[name] = edited(data[name], value) if is_section else value
    return data


def edit(project: Project, changes: dict[str, Any]) -> None:
    file = project.root / SEARCH_FILE
    if "n_samples" in changes:
        changes["n_samples"] //= SHORTER
    file.write_text(yaml.safe_dump(edited(yaml.safe_load(file.read_text()), changes)))


def test_every_command_of_the_guide_does_what_the_guide_says(tmp_path: Path) -> None:
    project = Project(tmp_path)
    assert project.run("init", ".").code == 0
    assert project.run("preprocess", "--config-path", "configs/preprocess.yaml").code == 0
    quick = {
        "learning_rate": [0.003],
        "epochs": [1],
        "scheduler": [{"name": "StepLR", "step_size": 1}],
    }
    edit(project, {"n_samples": 12, "training_hyperparameter_sampling": quick})
    done: list[tuple[int, str]] = []

    for kind, text in blocks():
        if kind == "yaml":
            edit(project, yaml.safe_load(text))
        elif kind == "console":
            for line in text.splitlines():
                found = project.run(*shlex.split(line.removeprefix("$ sequifier-hpo ")))
                done.append((found.code, found.stdout + found.stderr))
        else:
            code, said = done[-1]
            assert code == 2
            for line in text.splitlines():
                if line.startswith("    with it: "):
                    assert without_numbers(line) in without_numbers(said)
                else:
                    assert line in said

    outputs = [text for _, text in done]
    assert [code for code, _ in done] == [0, 2, 0, 0, 0, 0, 0, 0, 2, 0, 0]
    assert "--accept-changes" in outputs[1]
    assert "outside the search space, not ranked" not in outputs[7]
    assert "time budget" in outputs[9]
    assert re.search(r"warm start: \d+ of \d+ runs of seattle-weather guide", outputs[10])
