"""Values from the command line replace those of the file, and are blamed by that name."""

from pathlib import Path

import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.errors import ConfigError
from tests.conftest import WriteSearch


def test_an_input_set_from_the_command_line_replaces_those_of_the_file(
    write_search: WriteSearch,
) -> None:
    loaded = load_search(write_search(), overrides={"input_columns": [["product", "weekday"]]})

    assert loaded.config.input_columns == [["product", "weekday"]]
    assert loaded.config.categorical_columns == [["product", "weekday"]]


def test_a_mistake_on_the_command_line_is_not_blamed_on_a_line_of_the_file(
    write_search: WriteSearch,
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_search(write_search(), overrides={"input_columns": [["product", "weekdy"]]})

    (issue,) = caught.value.issues
    assert (issue.file, issue.line) == ("the command line", None)
    assert "weekday" in issue.fix


def test_another_metadata_file_from_the_command_line_is_read(
    write_search: WriteSearch, project: Path
) -> None:
    metadata = project / "configs" / "metadata_configs"
    (metadata / "other.json").write_text((metadata / "shop.json").read_text())
    file = write_search({"metadata_config_path": "nope.json"})

    loaded = load_search(
        file, overrides={"metadata_config_path": "configs/metadata_configs/other.json"}
    )

    assert loaded.config.metadata_config_path == "configs/metadata_configs/other.json"
