"""A whole search on real data, as a user runs it: results, files, resume, reproduction."""

import csv
import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import onnx
import optuna
import pytest

from sequifier_hpo.config.train import load_train_config
from sequifier_hpo.study.notes import note_of
from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow

Searched = tuple[Project, Finished]


def results(project: Project, name: str = "tiny") -> list[dict[str, str]]:
    with (project.root / "studies" / name / "results.csv").open() as file:
        return list(csv.DictReader(file))


def losses(project: Project, name: str) -> dict[str, str]:
    """Configuration -> validation loss, whatever the order of the runs.

    What has one choice is no column.
    """
    parameters = ("data_schema", "batch_size", "attention_type")
    return {
        " ".join(row.get(parameter, "") for parameter in parameters): row["validation_loss"]
        for row in results(project, name)
    }


def test_the_search_ends_with_a_leaderboard_and_the_next_commands(searched: Searched) -> None:
    _, finished = searched

    assert "best run" in finished.stdout
    assert "4 of 4 runs complete, 4 duplicate cells" in finished.stdout
    assert "sequifier-hpo train --config-path configs/hp_search/tiny-run-" in finished.stdout
    assert "trivial predictor, class frequencies after the last value: " in finished.stdout
    assert "n_samples" not in finished.stdout, "this is a grid: nothing can be added"


def test_the_best_run_is_shown_beside_the_losses_of_trivial_predictors(searched: Searched) -> None:
    project, _ = searched

    shown = project.run("best", "--config-path", "configs/tiny.yaml")
    found = json.loads(project.run("best", "--config-path", "configs/tiny.yaml", "--json").stdout)

    losses = found["baselines"]
    assert set(losses) == {
        "class frequencies",
        "class frequencies after the last value",
        "last value",
    }
    for name, loss in losses.items():
        assert f"trivial predictor, {name}: {loss:.6g}" in shown.stdout


def test_every_run_leaves_its_file_its_logs_its_checkpoint_and_its_models(
    searched: Searched,
) -> None:
    project, _ = searched
    numbers = [row["run"] for row in results(project) if not row["duplicate_of"]]

    assert len(numbers) == 4
    for number in numbers:
        for path in (
            f"configs/hp_search/tiny-run-{number}.yaml",
            f"logs/sequifier-tiny-run-{number}.log",
            f"logs/sequifier-tiny-run-{number}-metrics.jsonl",
            f"checkpoints/tiny-run-{number}-epoch-2.pt",
            f"models/sequifier-tiny-run-{number}-best-2.onnx",
            f"models/sequifier-tiny-run-{number}-last-2.onnx",
        ):
            assert (project.root / path).is_file(), path


def test_nothing_temporary_is_left_behind(searched: Searched) -> None:
    project, _ = searched

    assert [p for p in project.root.rglob("*") if p.name.endswith(".tmp")] == []


def test_the_leaderboard_file_and_the_storage_say_the_same(searched: Searched) -> None:
    project, _ = searched
    study = optuna.load_study(
        study_name="tiny", storage=f"sqlite:///{project.root}/studies/tiny/study.db"
    )

    best = results(project)[0]

    assert float(best["validation_loss"]) == study.best_value
    assert len(study.trials) == len(results(project)) == 8
    assert all(len(t.intermediate_values) == 2 for t in study.trials if "run" in t.user_attrs)


def test_every_trial_carries_its_note_and_its_artifacts(searched: Searched) -> None:
    project, _ = searched
    folder = project.root / "studies/tiny"
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder}/study.db")
    study = optuna.load_study(study_name="tiny", storage=storage)
    trials = [t for t in study.trials if "run" in t.user_attrs]
    attrs = storage.get_study_system_attrs(study._study_id)

    for trial in trials:
        name = trial.user_attrs["run"]
        assert note_of(attrs, trial._trial_id)["body"].startswith(f"# `{name}`")
        kept = {
            a.filename: (folder / "artifacts" / a.artifact_id).read_text()
            for a in optuna.artifacts.get_all_artifact_meta(trial, storage=storage)
        }
        assert kept["train.yaml"] == (project.root / f"configs/hp_search/{name}.yaml").read_text()
        assert f"in epoch {trial.user_attrs['best_epoch']}" in kept["loss-curve.svg"]
        assert "training" in kept["loss-curve.svg"]
    assert "configs/tiny.yaml" in note_of(attrs)["body"]
    assert len(trials) >= 4
    storage.engine.dispose()


def test_the_metrics_hold_every_epoch_in_full_precision(searched: Searched) -> None:
    project, _ = searched
    best = results(project)[0]
    path = project.root / f"logs/sequifier-{best['model_name']}-metrics.jsonl"

    events = [json.loads(line) for line in path.read_text().splitlines()]

    epochs = [event for event in events if event["event"] == "epoch"]
    assert min(event["validation_loss"] for event in epochs) == float(best["validation_loss"])


def test_a_run_file_trains_to_the_same_loss_to_the_last_digit(searched: Searched) -> None:
    project, _ = searched
    best = results(project)[0]
    file = f"configs/hp_search/{best['model_name']}.yaml"

    finished = project.run_program("train", "--config-path", file)

    assert finished.code == 0, finished.stderr
    assert f"best validation loss {best['validation_loss']} " in finished.stdout


def test_the_run_file_is_a_complete_train_yaml(
    searched: Searched, monkeypatch: pytest.MonkeyPatch
) -> None:
    project, _ = searched
    path = project.root / "configs/hp_search" / f"{results(project)[0]['model_name']}.yaml"
    monkeypatch.chdir(project.root)

    config = load_train_config(path)

    assert config.seed == 101
    assert config.model_spec.attention_type == "mha"  # gqa without n_kv_heads was adjusted


def test_an_exported_model_is_a_valid_onnx_file_with_a_free_batch_axis(searched: Searched) -> None:
    project, _ = searched
    name = results(project)[0]["model_name"]

    model = onnx.load(project.root / f"models/sequifier-{name}-best-2.onnx")

    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_the_same_command_again_trains_nothing_and_says_so(searched: Searched) -> None:
    project, _ = searched
    before = (project.root / "logs" / "sequifier-tiny-workers.log").stat().st_mtime_ns

    again = project.search()

    assert again.code == 0
    assert "the study is complete" in again.stderr
    assert (project.root / "logs" / "sequifier-tiny-workers.log").stat().st_mtime_ns == before


def test_what_dead_trials_left_unfinished_is_gone_when_a_search_ends(searched: Searched) -> None:
    project, _ = searched
    nobody = 2**22 + 1  # above the largest pid of Linux
    left = [
        project.root / f"{path}~{socket.gethostname()}~{nobody}.tmp"
        for path in (
            "checkpoints/.tiny-run-0-epoch-1.pt",
            "checkpoints/..tiny-run-0-interrupted.pt",
            "models/.sequifier-tiny-run-0-best-1.onnx",
            "configs/hp_search/.tiny-run-0.yaml",
        )
    ]
    for path in left:
        path.write_bytes(b"half")

    done = project.search()

    assert done.code == 0, done.stderr
    assert [path for path in left if path.exists()] == []


def test_the_guides_program_runs_the_same_search(searched: Searched) -> None:
    project, _ = searched

    finished = project.run_program(
        "hyperparameter-search", "--config-path", "configs/tiny.yaml", program="sequifier"
    )

    assert finished.code == 0
    assert "the study is complete" in finished.stderr


def test_a_changed_space_is_refused_without_touching_the_study(searched: Searched) -> None:
    project, _ = searched
    file = project.write_search("tiny", model__num_layers=[1, 2])

    refused = project.search(file=file)
    project.write_search("tiny")

    assert refused.code == 2
    assert "num_layers: 2 added" in refused.stderr
    assert "--accept-changes" in refused.stderr
    assert len(results(project)) == 8


def epochs_trained(project: Project, run: str) -> list[int]:
    """Every epoch that the attempts at a run have trained, in their order."""
    events = (project.root / f"logs/sequifier-{run}-metrics.jsonl").read_text().splitlines()
    return [event["epoch"] for event in map(json.loads, events) if event["event"] == "epoch"]


def test_json_output_can_be_read_by_a_program(searched: Searched) -> None:
    project, _ = searched

    summary = json.loads(project.search("--json").stdout)

    assert summary["complete"] == 4
    assert summary["best"]["validation_loss"] == float(results(project)[0]["validation_loss"])
    shown = json.loads(project.run("best", "--json", "--config-path", "configs/tiny.yaml").stdout)
    assert summary["best"].items() <= shown.items()


def wait_for(condition: "object", process: "object", seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert process.poll() is None, "the search ended too early"  # type: ignore[attr-defined]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_search_goes_on_where_it_was_and_ends_with_the_same_losses(
    prepared: Project, number: signal.Signals, code: int
) -> None:
    changes: dict[str, Any] = {
        "model__num_layers": [2],
        "training__epochs": [12],
        "training__batch_size": [32],
    }
    straight = prepared.write_search("straight", **changes)
    if not (prepared.root / "studies/straight/results.csv").exists():
        assert prepared.search(file=straight).code == 0
    name = f"stopped-{number.name.lower()}"
    file = prepared.write_search(name, **changes)
    process = prepared.start("hyperparameter-search", "--config-path", file, "--workers", "1")
    log = prepared.root / f"logs/sequifier-{name}-run-0-metrics.jsonl"
    wait_for(lambda: log.exists() and log.read_text().count('"event": "epoch"') >= 3, process)

    stopped_at = time.monotonic()
    process.send_signal(number)
    process.communicate(timeout=30)

    assert process.returncode == code
    assert time.monotonic() - stopped_at < 20
    states = {row["state"] for row in results(prepared, name)}
    assert "running" not in states
    assert prepared.search(file=file).code == 0
    assert losses(prepared, name) == losses(prepared, "straight")
    assert epochs_trained(prepared, f"{name}-run-0") == list(range(1, 13))


def test_a_sample_runs_the_number_of_distinct_runs_it_was_asked_for(prepared: Project) -> None:
    file = prepared.write_search("sampled", search_strategy="sample", n_samples=2)
    first = prepared.search(file=file)
    prepared.write_search("sampled", search_strategy="sample", n_samples=99)

    second = prepared.search(file=file)

    assert (first.code, second.code) == (0, 0)
    assert "n_samples is 99, but only 4 are distinct: all of them will run" in second.stderr
    assert len({row["run"] for row in results(prepared, "sampled")}) == 4


def test_a_search_without_one_success_says_why_and_exits_with_4(prepared: Project) -> None:
    file = prepared.write_search(
        "diverging", training__learning_rate=[1e30], training__dropout=[0.0]
    )

    finished = prepared.search(file=file)

    assert finished.code == 4
    assert "diverged" in finished.stderr
    assert {row["state"] for row in results(prepared, "diverging")} == {"failed"}


def test_only_the_best_run_keeps_its_models_when_asked_for(prepared: Project) -> None:
    file = prepared.write_search("best-only", export="best")

    finished = prepared.search(file=file)

    assert finished.code == 0, finished.stderr
    best = results(prepared, "best-only")[0]["model_name"]
    kept = {path.name for path in (prepared.root / "models").glob("sequifier-best-only-*")}
    assert kept == {f"sequifier-{best}-best-2.onnx", f"sequifier-{best}-last-2.onnx"}


def test_a_search_file_that_carries_its_derived_fields_needs_no_metadata(
    searched: Searched,
) -> None:
    project, _ = searched
    metadata = json.loads(
        (project.root / "configs/metadata_configs/seattle-weather.json").read_text()
    )
    derived = {
        "metadata_config_path": "not/there.json",
        "column_types": [metadata["column_types"]] * 2,
        "categorical_columns": [["weather", "month"], ["weather"]],
        "real_columns": [[], ["temp_max", "wind"]],
        "id_maps": metadata["id_maps"],
        "n_classes": metadata["n_classes"],
        "training_data_path": metadata["split_paths"][0],
        "validation_data_path": metadata["split_paths"][1],
    }
    file = project.write_search("bare", **derived)

    finished = project.search("--skip-metadata", file=file)
    run_file = f"configs/hp_search/{results(project, 'bare')[0]['model_name']}.yaml"
    alone = project.run("train", "--config-path", run_file, "--skip-metadata")

    assert finished.code == 0, finished.stderr
    assert losses(project, "bare") == losses(project, "tiny")
    assert results(project, "bare")[0]["validation_loss"] in alone.stdout


def test_init_leaves_existing_files_alone(prepared: Project) -> None:
    config = prepared.root / "configs" / "preprocess.yaml"
    config.write_text("mine: true\n" + config.read_text())

    finished = prepared.run("init", ".")
    kept = config.read_text()
    config.write_text(kept.removeprefix("mine: true\n"))

    assert finished.code == 0
    assert kept.startswith("mine: true")


def test_files_shown_in_the_repository_are_those_of_the_package() -> None:
    root = Path(__file__).parents[2]

    for path in (root / "configs").glob("*.yaml"):
        original = root / "sequifier_hpo/cli/starter/configs" / path.name
        assert path.read_text() == original.read_text()
