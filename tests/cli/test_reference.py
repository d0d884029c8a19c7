"""The reference pages are written from models and commands, so they cannot drift."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

from sequifier_hpo.cli.commands import COMMANDS, function_of
from sequifier_hpo.cli.reference import (
    command_reference,
    preprocess_file_reference,
    search_file_reference,
    train_file_reference,
)
from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.train import SUPPLIED, load_train_config
from sequifier_hpo.config.yaml_file import dump_yaml
from sequifier_hpo.searchspace import compile_space, decode
from tests.cli.conftest import Run
from tests.conftest import WriteSearch

REPOSITORY = Path(__file__).parents[2]
PAGES = REPOSITORY / "docs" / "reference"
CONSTRAINTS = REPOSITORY / "constraints.txt"


@pytest.mark.parametrize(
    ("page", "written"),
    [
        ("search-file.md", search_file_reference),
        ("train-file.md", train_file_reference),
        ("preprocess-file.md", preprocess_file_reference),
    ],
)
def test_the_page_of_a_file_is_what_the_models_say(page: str, written: Callable[[], str]) -> None:
    assert (PAGES / page).read_text() == written(), "run `make docs`"


def test_what_the_page_of_the_train_file_leaves_to_the_metadata_may_be_left_out(
    write_search: WriteSearch, project: Path
) -> None:
    space = compile_space(load_search(write_search()).config)
    complete, _ = decode(space, space.point_at((0,) * len(space.parameters)), 0, device="cpu")
    fields = complete.model_dump()
    file = project / "train.yaml"
    supplied = set(SUPPLIED) - {"input_columns"}  # without them all are read
    file.write_text(dump_yaml({key: fields[key] for key in fields if key not in supplied}))

    assert load_train_config(file) == complete


def test_the_list_of_commands_says_of_each_what_its_own_help_begins_with() -> None:
    first_sentences = {
        name: (function_of(name).__doc__ or "").split("\n")[0].split(". ")[0].rstrip(".") + "."
        for name in COMMANDS
    }

    assert first_sentences == {name: sentence for name, (_, sentence) in COMMANDS.items()}


# How a help text is laid out is typer's business, and changes.
@pytest.mark.skipif(
    f"typer=={version('typer')}\n" not in CONSTRAINTS.read_text(),
    reason="the page has the layout of another release of typer",
)
def test_the_page_of_the_command_line_is_what_the_commands_say() -> None:
    page = (PAGES / "command-line.md").read_text()

    assert page == command_reference(), "run `make docs`"


def test_the_list_of_commands_cuts_no_sentence_off(run: Run) -> None:
    commands = run("--help").stdout.partition("Commands:")[2]

    assert "hyperparameter-search" in commands
    assert "..." not in commands


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_that_can_be_copied(
    run: Run, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "50")  # a narrow terminal, which breaks other lines

    shown = run(name, "--help").stdout.splitlines()

    description = function_of(name).__doc__ or ""
    examples = [line.strip() for line in description.splitlines() if "Example:" in line]
    assert examples
    assert set(examples) <= {line.strip() for line in shown}
