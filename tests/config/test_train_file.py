"""The train file: what may be left out of it, and that one mistake does not hide another."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sequifier_hpo.config.train import SUPPLIED, load_train_config
from sequifier_hpo.errors import ConfigError
from tests.config.test_other_metadata import RUN

WriteShortFile = Callable[..., Path]


@pytest.fixture
def write_short_file(project: Path) -> WriteShortFile:
    """Write a train file without what the metadata supply, with changes at its root."""

    def write(**changes: Any) -> Path:
        data = {key: value for key, value in RUN.items() if key not in SUPPLIED}
        # One width for categorical and real inputs together has to be shared out in the file.
        data["model_spec"] = {
            **copy.deepcopy(RUN["model_spec"]),
            "feature_embedding_dims": {"product": 4, "price": 2, "weekday": 2},
        }
        path = project / "configs/train.yaml"
        path.write_text(yaml.safe_dump(data | changes, sort_keys=False))
        return path

    return write


@pytest.mark.parametrize("changes", [{}, {"input_columns": None}])
def test_without_input_columns_all_are_read(
    write_short_file: WriteShortFile, changes: dict[str, Any]
) -> None:
    config = load_train_config(write_short_file(**changes))

    assert config.input_columns == ["product", "price", "weekday"]
    assert config.categorical_columns == ["product", "weekday"]
    assert config.real_columns == ["price"]


def test_missing_metadata_do_not_hide_the_other_mistakes(write_short_file: WriteShortFile) -> None:
    file = write_short_file(metadata_config_path="nope.json", seq_length=0, sede=1)

    with pytest.raises(ConfigError) as caught:
        load_train_config(file)

    assert [issue.path for issue in caught.value.issues] == [
        "metadata_config_path",
        "seq_length",
        "sede",
    ]


def test_missing_metadata_are_the_only_mistake_of_a_file_that_needs_them(
    write_short_file: WriteShortFile,
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_train_config(write_short_file(metadata_config_path="nope.json"))

    assert [issue.path for issue in caught.value.issues] == ["metadata_config_path"]
