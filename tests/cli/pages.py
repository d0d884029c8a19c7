"""Pages of the documentation, done to the letter: their files, their commands, what those print."""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from sequifier_hpo.cli.main import app, exit_code_of

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d{1,3}(?:,\d{3})+(?!\d)|\d+(?:\.\d+)?%?")
SKIPPED = "..."
WIDTH = "100"
"""Of the terminal that the pages show: tables have the columns for which there is space."""


def follow(page: Path, folder: Path) -> dict[str, str]:
    """Write the files and type the commands of a page; returns command -> what it printed."""
    printed = {}
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", WIDTH)
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
    if line.startswith("sequifier-hpo ") and "$(" not in line:
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


def shown_outputs(page: Path) -> Iterator[tuple[str, str]]:
    """Each command whose output a page shows, right below it: (command, output)."""
    blocks = BLOCK.findall(page.read_text())
    for (kind, _, text), (next_kind, _, next_text) in pairwise(blocks):
        if (kind, next_kind) == ("console", "text"):
            yield text.splitlines()[-1][2:], next_text


def assert_shows(shown: str, printed: str) -> None:
    """Compare what a page shows with what was printed, line by line.

    `...` stands for any lines. Words are the same; shares and numbers with three decimals or more
    are about the same, as other machines round otherwise; other numbers may be any.
    """
    left = [line for line in printed.splitlines() if line.strip()]
    may_skip = False
    for line in filter(str.strip, shown.splitlines()):
        if line == SKIPPED:
            may_skip = True
            continue
        while may_skip and left and words(left[0]) != words(line):
            left.pop(0)
        assert left, f"not printed: {line}"
        found, may_skip = left.pop(0), False
        assert words(found) == words(line), f"{line}\n{found}"
        for a, b in zip(exact_numbers(line), exact_numbers(found), strict=True):
            assert a == pytest.approx(b, rel=0.2, abs=0.02), f"{line}\n{found}"
    assert may_skip or not left, f"not shown: {left}"


def words(line: str) -> list[str]:
    return NUMBER.sub("#", line).split()


def exact_numbers(line: str) -> list[float]:
    found = [number for number in NUMBER.findall(line) if re.search(r"%|\.\d{3}", number)]
    return [float(n.rstrip("%")) / (100 if n.endswith("%") else 1) for n in found]
