"""The reference page of the search file is written from the models, so it cannot drift."""

from pathlib import Path

from sequifier_hpo.cli.reference import search_file_reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "search-file.md"


def test_the_page_in_the_repository_is_what_the_models_say() -> None:
    assert PAGE.read_text() == search_file_reference(), "run `make docs`"
