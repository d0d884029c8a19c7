"""A run file or a search file that is read with another metadata file than the one it names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.train import load_train_config
from sequifier_hpo.errors import ConfigError
from tests.conftest import METADATA, WriteSearch

OTHER = {"metadata_config_path": "configs/metadata_configs/other.json"}
WriteRunFile = Callable[..., Path]


RUN: dict[str, Any] = {
    "project_root": ".",
    "metadata_config_path": "configs/metadata_configs/shop.json",
    "model_name": "shop-run-0",
    "training_data_path": "./data/shop-split0.parquet",
    "validation_data_path": "./data/shop-split1.parquet",
    "column_types": METADATA["column_types"],
    "n_classes": METADATA["n_classes"],
    "id_maps": METADATA["id_maps"],
    "input_columns": ["product"],
    "categorical_columns": ["product"],
    "real_columns": [],
    "target_columns": ["product"],
    "target_column_types": {"product": "categorical"},
    "seq_length": 6,
    "inference_batch_size": 8,
    "export_generative_model": True,
    "export_embedding_model": False,
    "model_spec": {
        "initial_embedding_dim": 8,
        "dim_model": 8,
        "n_head": 2,
        "dim_feedforward": 8,
        "num_layers": 1,
        "prediction_length": 1,
    },
    "training_spec": {
        "device": "cpu",
        "epochs": 1,
        "save_interval_epochs": 1,
        "batch_size": 8,
        "learning_rate": 0.001,
        "criterion": {"product": "CrossEntropyLoss"},
        "optimizer": {"name": "AdamW"},
        "scheduler": {"name": "StepLR", "step_size": 1},
    },
}


@pytest.fixture
def write_run_file(project: Path) -> WriteRunFile:
    """Write a run file as a search does, with changes at its root; None removes a key."""

    def write(**changes: Any) -> Path:
        data = {key: value for key, value in {**RUN, **changes}.items() if value is not None}
        file = project / "run.yaml"
        file.write_text(yaml.safe_dump(data, sort_keys=False))
        return file

    return write


@pytest.fixture
def other_metadata(project: Path) -> Callable[..., None]:
    """Write metadata of other data in the same columns, with changes."""

    def write(**changes: Any) -> None:
        data = {**METADATA, "split_paths": ["./data/other-split0.parquet"] * 2, **changes}
        (project / OTHER["metadata_config_path"]).write_text(json.dumps(data))

    return write


@pytest.mark.parametrize("spelling", ["./data/{}", "data/{}", "{root}/data/{}", "data/../data/{}"])
def test_splits_of_the_old_metadata_are_refused_beside_new_ones(
    write_run_file: WriteRunFile,
    other_metadata: Callable[..., None],
    project: Path,
    spelling: str,
) -> None:
    training, validation = (
        spelling.format(f"shop-split{i}.parquet", root=project) for i in range(2)
    )
    file = write_run_file(training_data_path=training, validation_data_path=validation)
    other_metadata()

    with pytest.raises(ConfigError) as caught:
        load_train_config(file, overrides=OTHER)

    first, second = caught.value.issues
    assert (first.path, second.path) == ("training_data_path", "validation_data_path")
    assert first.line is not None
    assert "is a split of configs/metadata_configs/shop.json" in first.problem
    assert "remove the line" in first.fix


def test_without_the_two_lines_the_new_metadata_name_the_data(
    write_run_file: WriteRunFile, other_metadata: Callable[..., None]
) -> None:
    file = write_run_file(training_data_path=None, validation_data_path=None)
    other_metadata()

    config = load_train_config(file, overrides=OTHER)

    assert Path(config.training_data_path) == Path("data/other-split0.parquet")


def test_what_the_file_says_of_the_old_columns_is_refused_with_them(
    write_run_file: WriteRunFile, other_metadata: Callable[..., None]
) -> None:
    file = write_run_file()
    other_metadata(n_classes={"product": 11, "weekday": 8})

    with pytest.raises(ConfigError) as caught:
        load_train_config(file, overrides=OTHER)

    paths = [issue.path for issue in caught.value.issues]
    assert paths == ["training_data_path", "validation_data_path", "n_classes"]


def test_paths_of_the_users_own_stay_beside_any_metadata(
    write_run_file: WriteRunFile, other_metadata: Callable[..., None]
) -> None:
    mine = {"training_data_path": "mine/a.parquet", "validation_data_path": "mine/b.parquet"}
    file = write_run_file(**mine)
    other_metadata(n_classes={"product": 11, "weekday": 8})

    config = load_train_config(file, overrides=OTHER)

    assert Path(config.training_data_path) == Path("mine/a.parquet")


def test_splits_that_both_metadata_files_name_stay(
    write_run_file: WriteRunFile, other_metadata: Callable[..., None]
) -> None:
    file = write_run_file()
    other_metadata(split_paths=METADATA["split_paths"])

    config = load_train_config(file, overrides=OTHER)

    assert Path(config.training_data_path) == Path("data/shop-split0.parquet")


@pytest.mark.parametrize("spelling", ["configs/metadata_configs/shop.json", "{root}/{}"])
def test_the_same_metadata_file_in_another_spelling_is_no_other(
    write_run_file: WriteRunFile, project: Path, spelling: str
) -> None:
    file = write_run_file()
    path = spelling.format("configs/metadata_configs/shop.json", root=project)

    config = load_train_config(file, overrides={"metadata_config_path": path})

    assert Path(config.training_data_path) == Path("data/shop-split0.parquet")


def test_a_file_that_speaks_for_itself_may_name_any_data(
    write_run_file: WriteRunFile, other_metadata: Callable[..., None]
) -> None:
    file = write_run_file()
    other_metadata()

    config = load_train_config(file, overrides=OTHER, skip_metadata=True)

    assert Path(config.training_data_path) == Path("data/shop-split0.parquet")


def test_splits_of_metadata_that_are_gone_are_taken_for_the_users_own(
    write_run_file: WriteRunFile, other_metadata: Callable[..., None], project: Path
) -> None:
    file = write_run_file()
    other_metadata()
    (project / "configs" / "metadata_configs" / "shop.json").unlink()

    config = load_train_config(file, overrides=OTHER)

    assert Path(config.training_data_path) == Path("data/shop-split0.parquet")


def test_a_search_file_is_as_little_read_with_splits_of_the_old_metadata(
    write_search: WriteSearch, other_metadata: Callable[..., None]
) -> None:
    own = {
        "training_data_path": "data/shop-split0.parquet",
        "column_types": [METADATA["column_types"]] * 2,
        "n_classes": METADATA["n_classes"],
    }
    file = write_search(own)
    other_metadata(
        n_classes={"product": 11, "weekday": 8},
        column_types={"product": "Int64", "price": "Float64", "weekday": "Float64"},
    )

    with pytest.raises(ConfigError) as caught:
        load_search(file, overrides=OTHER)

    paths = [issue.path for issue in caught.value.issues]
    assert paths == ["training_data_path", "column_types", "n_classes"]


def test_a_search_file_without_old_data_is_read_with_any_metadata(
    write_search: WriteSearch, other_metadata: Callable[..., None]
) -> None:
    file = write_search()
    other_metadata()

    config = load_search(file, overrides=OTHER).config

    assert Path(config.training_data_path) == Path("data/other-split0.parquet")
