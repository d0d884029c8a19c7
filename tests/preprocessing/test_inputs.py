"""What a run file that is trained alone counts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.config.run_file import run_file_text
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.preprocessing.inputs import counted_by_run
from sequifier_hpo.records import Counted
from tests.conftest import METADATA
from tests.training.conftest import make_config

__all__ = ["make_config"]

MakeConfig = Callable[..., TrainConfig]


def write_metadata(config: TrainConfig, content: dict[str, Any]) -> None:
    path = Path(config.project_root) / config.metadata_config_path
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("last_positions", [None, 3])
@pytest.mark.parametrize(
    ("added", "is_stored"), [({}, False), ({"padding": "startItemPosition"}, True)]
)
def test_the_head_says_which_positions_count_and_the_metadata_how_padding_is_known(
    make_config: MakeConfig,
    tmp_path: Path,
    last_positions: int | None,
    added: dict[str, str],
    *,
    is_stored: bool,
) -> None:
    config, path = make_config(), tmp_path / "run.yaml"
    write_metadata(config, METADATA | added)
    path.write_text(run_file_text(config, last_positions))

    counted = counted_by_run(config, path)

    assert counted == Counted(last_positions=last_positions, padding_is_stored=is_stored)


def test_without_metadata_padding_is_known_by_its_zeros(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    config, path = make_config(), tmp_path / "run.yaml"
    path.write_text(run_file_text(config, 3))

    assert counted_by_run(config, path) == Counted(last_positions=3)
