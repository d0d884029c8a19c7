"""The tutorial and the guides, done to the letter in an empty folder."""

import contextlib
import io
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.cli.main import app, exit_code_of

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.slow


def follow(page: Path, folder: Path) -> dict[str, str]:
    """Write the files and type the commands of a page; returns command -> what it printed."""
    printed = {}
    with contextlib.chdir(folder):
        for kind, title, text in BLOCK.findall(page.read_text()):
            if title:
                Path(title).write_text(text)
            elif kind == "console":
                for line in text.splitlines():
                    assert line.startswith("$ "), "every line of a console block is typed"
                    printed[line[2:]] = typed(line[2:])
    return printed


def typed(line: str) -> str:
    """What a command line prints; our own program runs in this process, which saves its start."""
    if line.startswith("sequifier-hpo "):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = exit_code_of(lambda: app(shlex.split(line)[1:]))
        assert code == 0, f"{line}\n{printed.getvalue()}"
        return printed.getvalue()
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", line], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder in which a new user has followed the tutorial."""
    folder = tmp_path_factory.mktemp("visits")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEQUIFIER_HPO_STORAGE", raising=False)
        return folder, follow(DOCS / "tutorial.md", folder)


Project = tuple[Path, dict[str, str]]


def output_of(printed: dict[str, str], command: str) -> str:
    (found,) = (text for line, text in printed.items() if line.startswith(command))
    return found


def test_the_tutorial_ends_with_a_report_and_a_model(project: Project) -> None:
    folder, _ = project

    assert (folder / "studies/visits/report.html").stat().st_size > 4_000_000
    assert len(list((folder / "models").glob("sequifier-visits-final-best-[34].onnx"))) == 1


def test_the_status_of_the_tutorial_compares_with_trivial_predictors(project: Project) -> None:
    shown = output_of(project[1], "sequifier-hpo status")

    assert "6 of 6 runs complete" in shown
    assert "trivial predictor, class frequencies after the last value" in shown


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
    assert {line.split()[-1] for line in lines if line} >= {"home", "cart", "pay"}


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
