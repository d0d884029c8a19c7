"""The page about a table of one's own, typed to the letter in a folder next to the repository."""

import json
import re
from pathlib import Path

import pytest

from tests.cli.pages import DOCS, assert_shows, follow, shown_outputs

PAGE = DOCS / "own-table.md"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def typed_page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder in which the page was followed, and what each command printed."""
    beside = tmp_path_factory.mktemp("projects")
    (beside / "sequifier-hpo").symlink_to(DOCS.parent)
    folder = beside / "storms"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SEQUIFIER_HPO_STORAGE", raising=False)
        return folder, follow(PAGE, folder)


def test_the_page_shows_what_its_commands_print(
    typed_page: tuple[Path, dict[str, str]],
) -> None:
    for command, output in shown_outputs(PAGE):
        assert_shows(output, typed_page[1][command])


def test_the_models_of_the_page_beat_every_trivial_predictor_on_later_storms(
    typed_page: tuple[Path, dict[str, str]],
) -> None:
    (judged,) = (typed_page[0] / "studies/storms/evaluations").glob("*-test.json")
    found = json.loads(judged.read_text())

    for figures in (found, *found["targets"].values()):
        assert figures["loss"] < 0.85 * min(figures["baselines"].values())


def test_every_command_of_the_page_but_small_ones_has_its_output_shown() -> None:
    typed = re.findall(r"^\$ (sequifier-hpo [\w-]+)", PAGE.read_text(), re.MULTILINE)
    shown = {command for command, _ in shown_outputs(PAGE)}

    assert len(typed) == 8
    assert all(any(line.startswith(command) for line in shown) for command in typed)
