"""The options that lead back to a study."""

import shlex
from pathlib import Path

import pytest

from sequifier_hpo.config.locate import find_study
from tests.conftest import WriteSearch


def test_a_search_file_alone_is_enough_where_nothing_else_was_given(
    write_search: WriteSearch,
) -> None:
    file = write_search()

    assert find_study(file, None, None).options == f"--config-path {file}"


def test_a_storage_given_beside_the_search_file_is_repeated_without_its_password(
    write_search: WriteSearch,
) -> None:
    file = write_search()

    found = find_study(file, "postgresql://u:secret@host/db", None)

    assert shlex.split(found.options) == [
        *("--config-path", str(file), "--storage", "postgresql://u:***@host/db")
    ]


def test_a_storage_that_is_the_usual_one_is_not_repeated(
    write_search: WriteSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_search()
    monkeypatch.setenv("SEQUIFIER_HPO_STORAGE", "sqlite:///elsewhere.db")

    assert find_study(file, "sqlite:///elsewhere.db", None).options == f"--config-path {file}"


def test_a_path_with_a_blank_can_be_typed_again(write_search: WriteSearch) -> None:
    file = write_search().rename(Path("my search.yaml"))

    assert find_study(file, None, None).options == "--config-path 'my search.yaml'"
