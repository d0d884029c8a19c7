"""The working directory is nowhere to import from, however a process was started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sequifier_hpo import python_path
from sequifier_hpo.python_path import leave_working_directory, python_environment

PROGRAM = """
import subprocess, sys
from sequifier_hpo.python_path import leave_working_directory
leave_working_directory()
import queue
print(queue.__file__)
subprocess.run([sys.executable, "-c", "import queue; print(queue.__file__)"], check=True)
"""


def test_a_process_and_its_children_find_the_standard_library(tmp_path: Path) -> None:
    (tmp_path / "queue.py").write_text("")

    shown = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(["", ".", str(tmp_path)])},
        capture_output=True,
        text=True,
        check=True,
    )

    assert len(set(shown.stdout.split())) == 1
    assert str(tmp_path) not in shown.stdout


def test_other_folders_of_the_search_path_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", "/library", ".", "link", "below"]))
    monkeypatch.setattr(sys, "path", ["", "/library", str(tmp_path), "/standard.zip"])

    leave_working_directory()

    assert sys.path == ["/library", "/standard.zip"]
    assert os.environ["PYTHONPATH"] == os.pathsep.join(["/library", "below"])
    assert os.environ["PYTHONSAFEPATH"] == "1"


@pytest.mark.parametrize(
    ("folder", "expected"), [("checkout", ["{root}", "/library"]), ("site-packages", ["/library"])]
)
def test_a_package_that_is_not_installed_is_found_by_its_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, expected: list[str]
) -> None:
    root = str(tmp_path / folder)
    monkeypatch.setattr(python_path, "_PACKAGE_ROOT", root)
    monkeypatch.setattr(sys, "path", [root])
    monkeypatch.setenv("PYTHONPATH", "/library")

    found = python_environment()["PYTHONPATH"]

    assert found == os.pathsep.join(entry.format(root=root) for entry in expected)


def test_every_process_of_python_that_we_start_has_this_environment() -> None:
    package = Path(python_path.__file__).parent
    starting = [path for path in package.rglob("*.py") if "sys.executable" in path.read_text()]

    assert starting
    assert all("env=" in path.read_text() for path in starting)
    assert all("python_environment()" in path.read_text() for path in starting)
