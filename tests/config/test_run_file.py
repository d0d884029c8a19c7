"""The comments at the head of a run file: what they say, and that they stay comments."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sequifier_hpo.config.run_file import RunFileHead, read_run_file_head, run_file_text
from sequifier_hpo.config.train import TrainConfig, load_train_config, train_yaml
from tests.training.conftest import make_config

__all__ = ["make_config"]

MakeConfig = Callable[..., TrainConfig]
HEAD = (
    "# validation loss: over the last 8 positions of every window (sequifier-hpo: counted=8)\n"
    "# study: 3f2a-77\n"
)


@pytest.mark.parametrize("counted_last", [None, 1, 8, 512])
@pytest.mark.parametrize("study_id", [None, "3f2a-77"])
@pytest.mark.parametrize("max_batches", [None, 1, 10**9])
def test_what_is_written_is_read_again(
    make_config: MakeConfig,
    counted_last: int | None,
    study_id: str | None,
    max_batches: int | None,
) -> None:
    text = run_file_text(make_config(), counted_last, study_id, max_batches)

    assert read_run_file_head(text) == RunFileHead(counted_last, study_id, max_batches)


def test_the_head_stands_above_the_train_yaml_in_words(make_config: MakeConfig) -> None:
    config = make_config()

    assert run_file_text(config, 8, "3f2a-77") == HEAD + train_yaml(config)
    assert run_file_text(config, 1).startswith("# validation loss: over the last position of every")
    assert run_file_text(config, None) == train_yaml(config)


def test_the_architecture_stands_before_the_ids_of_all_columns(make_config: MakeConfig) -> None:
    keys = list(yaml.safe_load(train_yaml(make_config())))

    assert keys[-3:] == ["model_spec", "training_spec", "id_maps"]


def test_for_whoever_reads_yaml_there_is_no_head(make_config: MakeConfig, tmp_path: Path) -> None:
    config = make_config()
    path = tmp_path / "run.yaml"
    path.write_text(run_file_text(config, 3, "3f2a-77"))

    assert yaml.safe_load(path.read_text()) == yaml.safe_load(train_yaml(config))
    assert load_train_config(path, skip_metadata=True) == config


@pytest.mark.parametrize(
    "damage",
    [
        "",
        HEAD.replace("=8", "=0"),
        HEAD.replace("=8", "=-8"),
        HEAD.replace("=8", "=all"),
        HEAD.replace("=8)", "=8"),
        HEAD.replace("# validation", "validation"),
        HEAD + HEAD.replace("=8", "=9"),
        "model_name: shop\n" + HEAD,
    ],
)
def test_without_a_whole_comment_at_the_head_all_positions_count(damage: str) -> None:
    assert read_run_file_head(damage + "project_root: .\n").counted_last is None


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + HEAD,
        HEAD.replace("\n", "\r\n"),
        "# mine\n\n" + HEAD + "# and mine",
        HEAD + HEAD,
    ],
)
def test_a_head_is_found_among_the_comments_of_people(text: str) -> None:
    assert read_run_file_head(text + "\nproject_root: .\n") == RunFileHead(8, "3f2a-77")
