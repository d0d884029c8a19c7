"""The command `train`, run as a user runs it: what it goes on from, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
import yaml

from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow

METADATA = "configs/metadata_configs/seattle-weather.json"
FILE = "configs/alone.yaml"
Trained = tuple[Project, Finished]


@pytest.fixture(scope="module")
def trained(prepared: Project, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A project with a finished run, and what its training said."""
    project = Project(tmp_path_factory.mktemp("trained"))
    for folder in ("configs", "data"):
        shutil.copytree(prepared.root / folder, project.root / folder)
    write_train_file(project)
    finished = train(project)
    assert finished.code == 0, finished.stderr
    return project, finished


@pytest.fixture
def project(trained: Trained, tmp_path: Path) -> Project:
    """A project with a finished run of two epochs, which a test may change."""
    shutil.copytree(trained[0].root, tmp_path, dirs_exist_ok=True)
    return Project(tmp_path)


def write_train_file(project: Project, **changes: Any) -> None:
    """A file that goes on with what is there; changes belong to its training section."""
    data = {
        "project_root": ".",
        "metadata_config_path": METADATA,
        "model_name": "alone",
        "input_columns": ["weather", "wind"],
        "target_columns": ["weather"],
        "target_column_types": {"weather": "categorical"},
        "seq_length": 7,
        "inference_batch_size": 32,
        "export_generative_model": True,
        "export_embedding_model": False,
        "model_spec": {
            "initial_embedding_dim": 8,
            "feature_embedding_dims": {"weather": 7, "wind": 1},
            "dim_model": 8,
            "n_head": 2,
            "dim_feedforward": 8,
            "num_layers": 1,
            "prediction_length": 1,
        },
        "training_spec": {
            "device": "cpu",
            "epochs": 2,
            "save_interval_epochs": 1,
            "batch_size": 64,
            "learning_rate": 0.003,
            "criterion": {"weather": "CrossEntropyLoss"},
            "optimizer": {"name": "AdamW"},
            "scheduler": {"name": "StepLR", "step_size": 1},
            "continue_training": True,
            **changes,
        },
    }
    (project.root / FILE).write_text(yaml.safe_dump(data, sort_keys=False))


def train(project: Project, *arguments: str) -> Finished:
    return project.run("train", "--config-path", FILE, *arguments)


def checkpoints(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (project.root / "checkpoints").iterdir()}


def change_values(project: Project, split: int, column: str) -> None:
    """Give a column of a stored split other values, in the same number of windows."""
    metadata = json.loads((project.root / METADATA).read_text())
    path = project.root / metadata["split_paths"][split]
    table = pl.read_parquet(path)
    is_meant = pl.col("inputCol") == column
    items = [name for name in table.columns if name.isdigit()]
    reversed_items = [
        pl.when(is_meant).then(pl.col(other)).otherwise(pl.col(name)).alias(name)
        for name, other in zip(items, reversed(items), strict=True)
    ]
    table.with_columns(reversed_items).write_parquet(path)


def test_a_finished_run_says_that_it_trained_nothing(project: Project, trained: Trained) -> None:
    _, first = trained

    again = train(project)

    assert "nothing was trained" not in first.stderr
    assert again.code == 0
    assert "nothing was trained: the run was already finished" in again.stderr
    assert again.stdout == first.stdout
    assert "epoch 2" not in again.stderr


def test_more_epochs_on_data_with_a_new_column_go_on(project: Project) -> None:
    change_values(project, 0, "temp_max")  # which the run does not read
    write_train_file(project, epochs=3)

    finished = train(project)

    assert finished.code == 0, finished.stderr
    assert "epoch 3" in finished.stderr
    assert "epoch 2" not in finished.stderr


@pytest.mark.parametrize(
    ("continues", "problem"),
    [
        (True, "error: checkpoints/alone-epoch-2.pt cannot be continued:"),
        (False, "error: a fresh start would remove checkpoints/alone-epoch-2.pt:"),
    ],
)
def test_new_data_are_found_before_anything_is_trained_or_removed(
    project: Project, *, continues: bool, problem: str
) -> None:
    before = checkpoints(project)
    change_values(project, 1, "weather")
    write_train_file(project, continue_training=continues)

    refused = train(project)

    assert refused.code == 2
    assert refused.stdout == ""
    assert problem in refused.stderr.splitlines()
    assert "in the validation split, `weather` changed: values, ids or scaling" in refused.stderr
    assert "training split" not in refused.stderr
    assert "--restart" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert checkpoints(project) == before


def test_another_configuration_is_refused_until_a_restart_is_asked_for(project: Project) -> None:
    before = checkpoints(project)
    write_train_file(project, learning_rate=0.001, epochs=1)

    refused = train(project)
    kept = checkpoints(project)
    restarted = train(project, "--restart")

    assert refused.code == 2
    assert "learning_rate: 0.003 in the checkpoint, 0.001 now" in refused.stderr
    assert kept == before
    assert restarted.code == 0, restarted.stderr
    assert "starting afresh: removing checkpoints/alone-epoch-2.pt" in restarted.stderr
    assert "epoch 1: validation loss" in restarted.stderr
    assert list(checkpoints(project)) == ["alone-epoch-1.pt"]


def test_new_metadata_do_not_train_on_the_splits_of_the_old(project: Project) -> None:
    metadata = json.loads((project.root / METADATA).read_text())
    with (project.root / FILE).open("a") as file:
        file.write(f"training_data_path: {metadata['split_paths'][0]}\n")
        file.write(f"validation_data_path: {(project.root / metadata['split_paths'][1])}\n")
    new = [path.replace("seattle-weather", "newer") for path in metadata["split_paths"]]
    other = "configs/metadata_configs/newer.json"
    (project.root / other).write_text(json.dumps({**metadata, "split_paths": new}))

    refused = train(project, "-mc", other)

    assert refused.code == 2
    assert refused.stderr.count(f"is a split of {METADATA}") == 2
    assert f"remove the line ({other} names its own splits)" in refused.stderr
    assert refused.stdout == ""


def test_a_checkpoint_that_does_not_say_of_which_data_it_is_goes_on_when_trusted(
    project: Project,
) -> None:
    path = project.root / "checkpoints" / "alone-epoch-2.pt"
    content = torch.load(path)
    del content["sequifier_hpo"]["identity"], content["sequifier_hpo"]["fields"]
    torch.save(content, path)
    write_train_file(project, epochs=3)

    refused = train(project)
    trusted = train(project, "--trust-checkpoint")

    assert refused.code == 2
    assert "it does not record its data" in refused.stderr
    assert "--trust-checkpoint" in refused.stderr
    assert trusted.code == 0, trusted.stderr
    assert "epoch 3" in trusted.stderr
    assert "epoch 2" not in trusted.stderr


def test_a_restart_and_trust_exclude_each_other(project: Project) -> None:
    refused = train(project, "--restart", "--trust-checkpoint")

    assert refused.code == 2
    assert "--restart removes the checkpoint that --trust-checkpoint continues" in refused.stderr


def test_a_finished_run_goes_on_under_another_name_as_if_it_had_had_more_epochs(
    project: Project,
) -> None:
    before = checkpoints(project)
    models = {path.name for path in (project.root / "models").iterdir()}

    longer = project.run("train", "--continue-from", FILE, "--epochs", "4")
    again = project.run("train", "--continue-from", FILE, "--epochs", "4")
    write_train_file(project, epochs=4)
    at_once = train(project)

    assert longer.code == 0, longer.stderr
    assert "alone-to-epoch-4: goes on after epoch 2 of alone, which stays as it is" in longer.stderr
    assert "epoch 3" in longer.stderr
    assert "epoch 2:" not in longer.stderr
    assert "nothing was trained" in again.stderr
    assert longer.stdout.splitlines()[0] == at_once.stdout.splitlines()[0]
    assert checkpoints(project).keys() == {"alone-epoch-4.pt", "alone-to-epoch-4-epoch-4.pt"}
    assert models < {path.name for path in (project.root / "models").iterdir()}
    assert before.keys() == {"alone-epoch-2.pt"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--continue-from", FILE), "alone was trained for 2 epochs, and no --epochs are given"),
        (("--continue-from", FILE, "--epochs", "2"), "--epochs 2 is no more"),
        (("--continue-from", FILE, "--epochs", "3", "--restart"), "goes on with a run as it is"),
        (("--continue-from", "3", "--epochs", "3"), "was never started"),
        (("--config-path", FILE, "--epochs", "3"), "--epochs belongs to --continue-from"),
        (("--config-path", FILE, "-mn", "new", "--weights", "x.pt"), "there are no weights"),
    ],
)
def test_a_continuation_that_is_none_changes_nothing(
    project: Project, arguments: tuple[str, ...], words: str
) -> None:
    before = checkpoints(project)

    refused = project.run("train", *arguments)

    assert refused.code == 2
    assert words in refused.stderr
    assert checkpoints(project) == before


def test_fine_tuning_begins_with_what_another_run_has_learned(
    project: Project, trained: Trained
) -> None:
    write_train_file(project, learning_rate=1e-12, epochs=1)
    weights = "checkpoints/alone-epoch-2.pt"

    tuned = train(project, "--model-name", "tuned", "--weights", weights)

    assert tuned.code == 0, tuned.stderr
    assert f"beginning with the weights of {weights}" in tuned.stderr
    best = [float(done.stdout.split()[3]) for done in (trained[1], tuned)]
    assert best[1] == pytest.approx(best[0], abs=1e-5)
    assert {"alone-epoch-2.pt", "tuned-epoch-1.pt"} == checkpoints(project).keys()
