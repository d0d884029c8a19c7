"""The reference pages are written from models and commands, so they cannot drift."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sequifier_hpo.cli.main import app
from sequifier_hpo.cli.reference import command_reference, search_file_reference
from tests.cli.conftest import Run

PAGES = Path(__file__).parents[2] / "docs" / "reference"


def test_the_page_of_the_search_file_is_what_the_models_say() -> None:
    page = (PAGES / "search-file.md").read_text()

    assert page == search_file_reference(), "run `make docs`"


def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    page = (PAGES / "command-line.md").read_text()

    assert page == command_reference(), "run `make docs`"


def test_the_list_of_commands_cuts_no_sentence_off(run: Run) -> None:
    commands = run("--help").stdout.partition("Commands:")[2]

    assert "hyperparameter-search" in commands
    assert "..." not in commands


@pytest.mark.parametrize("command", [c.callback for c in app.registered_commands])
def test_every_command_has_help_with_an_example_that_can_be_copied(
    run: Run, command: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")  # a narrow terminal, which breaks other lines

    shown = run(command.__name__.replace("_", "-"), "--help").stdout.splitlines()

    examples = [line.strip() for line in (command.__doc__ or "").splitlines() if "Example:" in line]
    assert examples
    assert set(examples) <= {line.strip() for line in shown}
