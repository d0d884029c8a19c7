"""The tutorial and the guides, done to the letter in an empty folder."""

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.pages import BLOCK, DOCS, assert_shows, follow, shown_outputs, typed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder in which a new user has followed the tutorial."""
    folder = tmp_path_factory.mktemp("code")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEQUIFIER_HPO_STORAGE", raising=False)
        return folder, follow(DOCS / "tutorial.md", folder)


Project = tuple[Path, dict[str, str]]


def in_folder(folder: Path, command: str) -> str:
    with contextlib.chdir(folder):
        return typed(command)


def output_of(printed: dict[str, str], command: str) -> str:
    (found,) = (text for line, text in printed.items() if line.startswith(command))
    return found


def test_the_tutorial_ends_with_a_report_and_a_model(project: Project) -> None:
    folder, _ = project

    assert (folder / "studies/code/report.html").stat().st_size > 4_000_000
    assert len(list((folder / "models").glob("sequifier-code-final-last-*.onnx"))) == 1


def test_the_best_run_of_the_tutorial_beats_every_trivial_predictor_by_far(
    project: Project,
) -> None:
    study = json.loads(in_folder(project[0], "sequifier-hpo status --json"))
    (judged,) = (project[0] / "studies/code/evaluations").glob("*-test.json")
    on_test = json.loads(judged.read_text())

    assert study["best"]["validation_loss"] < 0.85 * min(study["baselines"].values())
    assert on_test["loss"] < 0.85 * min(on_test["baselines"].values())


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the table is of Python 3.11's library")
def test_the_tutorial_shows_what_its_commands_print(project: Project) -> None:
    shown = dict(shown_outputs(DOCS / "tutorial.md"))

    assert len(shown) == 6
    for command, output in shown.items():
        assert_shows(output, project[1][command])


def test_plan_says_how_long_a_search_will_take_before_it_begins(project: Project) -> None:
    shown = output_of(project[1], "sequifier-hpo plan")

    assert re.search(
        r"remaining: 6 runs, on cpu: about \d+ (s|min) at the pace measured now", shown
    )


def test_the_file_of_the_guide_to_tables_takes_names_times_and_gaps(tmp_path: Path) -> None:
    page = (DOCS / "guides" / "tables.md").read_text()
    (file,) = (text for kind, _, text in BLOCK.findall(page) if kind == "yaml")
    rows = "".join(
        f"N{i % 3},2013-01-{1 + i // 3:02} {i % 24:02}:30,{100 * i},{i},{i / 2 if i % 7 else ''},g\n"
        for i in reversed(range(90))
    )

    with contextlib.chdir(tmp_path):
        for folder in ("data", "configs"):
            Path(folder).mkdir()
        Path("data/flights.csv").write_text(f"tail,departure,distance,flight,delay,gate\n{rows}")
        Path("configs/preprocess.yaml").write_text(file)
        shown = typed("sequifier-hpo preprocess --config-path configs/preprocess.yaml")

    assert "90 rows, 3 sequences" in shown
    assert "column `delay`: 13 missing values became the mean" in shown


def test_the_guide_to_the_model_predicts_the_next_event(project: Project) -> None:
    printed = follow(DOCS / "guides/use-the-model.md", project[0])

    lines = output_of(printed, "python predict.py").split("\n")

    shares = [float(line.split("%")[0]) for line in lines if line]
    assert sum(shares) == pytest.approx(100, abs=1)
    assert {line.split()[-1] for line in lines if line} >= {"name", "newline", "return"}


def cells_of(page: Path) -> list[str]:
    """The code of a notebook, or of a guide's blocks, in its order."""
    if page.suffix == ".md":
        return [text for kind, _, text in BLOCK.findall(page.read_text()) if kind == "python"]
    cells = json.loads(page.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


@pytest.mark.parametrize("page", ["notebook.ipynb", "guides/from-python.md"])
def test_the_notebook_and_the_guide_to_python_run_in_the_tutorials_project(
    page: str, project: Project
) -> None:
    names: dict[str, Any] = {}
    with contextlib.chdir(project[0]):
        for cell in cells_of(DOCS / page):
            exec(cell, names)

    assert names["study"].best.number == names["best"].number
    assert names["figures"]["history"].data


def test_the_notebook_is_stored_without_what_it_shows() -> None:
    cells = json.loads((DOCS / "notebook.ipynb").read_text())["cells"]

    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


GUIDES = [
    page
    for page in sorted((DOCS / "guides").glob("*.md"))
    if page.name != "use-the-model.md" and "```console" in page.read_text()
]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_the_commands_of_a_guide_work_in_the_tutorials_project(
    page: Path, project: Project
) -> None:
    follow(page, project[0])


def test_links_between_pages_lead_somewhere() -> None:
    for page in [DOCS / "tutorial.md", *(DOCS / "guides").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).is_file(), f"{page.name}: {target}"
