from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.records import EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.training.checkpoint import (
    CheckpointStore,
    DamagedCheckpointError,
    fingerprint_of,
    read_checkpoint,
)
from sequifier_hpo.training.data.windows import TrainingData

pytestmark = pytest.mark.slow

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]
Run = Any  # the fixture `run`: a recorder of training runs

RECIPES: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": {"name": "AdamW"}},
    "AdEMAMix": {"optimizer": {"name": "AdEMAMix", "T_alpha_beta3": 10}},
    "accumulated": {"accumulation_steps": 2},
    "NAdam in bfloat16": {
        "optimizer": {"name": "NAdam"},
        "layer_type_dtypes": {"linear": "bfloat16", "decoder": "float64"},
    },
    "plateau": {"scheduler": {"name": "ReduceLROnPlateau", "patience": 0}},
    "one cycle": {
        "scheduler": {"name": "OneCycleLR", "max_lr": 0.05, "total_steps": 24},
        "scheduler_step_on": "batch",
    },
}
# How often a run of 6 batches and 3 validation batches an epoch is asked before its steps:
# once before each epoch, once per optimizer step, once per validation batch.
BEFORE_THE_FIRST_STEP, AFTER_STEP_3, IN_VALIDATION, AT_EPOCH_2, IN_EPOCH_3 = 0, 3, 7, 10, 24


def state_of(config: TrainConfig, epoch: int) -> dict[str, Any]:
    """All that a checkpoint holds but clock times, flattened to comparable leaves."""
    content = read_checkpoint(config.paths.checkpoint(config.model_name, epoch))
    return {path: value for path, value in flat("", content) if "seconds" not in path}


def flat(path: str, value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in flat(f"{path}/{key}", item)]
    return [(path, value.tolist() if isinstance(value, torch.Tensor) else value)]


def told(reports: list[EpochReport]) -> list[dict[str, Any]]:
    clock = {"seconds", "total_seconds", "tokens_per_second", "peak_memory_bytes"}
    return [report.model_dump(exclude=clock) for report in reports]


def measured(result: TrainingResult) -> dict[str, Any]:
    clock = {"seconds", "tokens_per_second", "peak_memory_bytes"}
    return result.model_dump(exclude=clock)


@pytest.mark.parametrize(
    ("recipe", "stop_after"),
    [
        *(("AdamW", n) for n in (BEFORE_THE_FIRST_STEP, AFTER_STEP_3, IN_VALIDATION, AT_EPOCH_2)),
        *((recipe, IN_EPOCH_3) for recipe in RECIPES),
        *((recipe, IN_VALIDATION) for recipe in ("one cycle", "accumulated")),
    ],
)
def test_a_stopped_and_continued_run_equals_an_uninterrupted_one_bit_for_bit(
    make_config: Config, make_data: Data, run: Run, recipe: str, stop_after: int
) -> None:
    config = make_config(epochs=4, dropout=0.3, save_interval_epochs=3, **RECIPES[recipe])
    data = make_data()
    whole = run(config, data)
    expected, expected_reports = state_of(config, 4), told(run.epochs)
    run.epochs.clear()

    stopped = run(config, data, stop_after=stop_after)
    torch.manual_seed(12345)
    continued = run(config, data, resume=True)

    assert stopped.kind is OutcomeKind.INTERRUPTED
    assert measured(continued) == measured(whole)
    assert told(run.epochs) == expected_reports
    assert state_of(config, 4) == expected


@pytest.mark.parametrize(("accumulated", "num_steps"), [(1, 9), (2, 5)])
def test_a_run_may_end_within_an_epoch_whether_it_was_stopped_there_or_not(
    make_config: Config, make_data: Data, run: Run, accumulated: int, num_steps: int
) -> None:
    config = make_config(epochs=2, dropout=0.3, accumulation_steps=accumulated, log_interval=1)
    data = make_data()

    whole = run(config, data, max_batches=9)

    expected = state_of(config, 2)
    steps = {value for path, value in expected.items() if path.endswith("/step")}
    assert steps == {num_steps}
    assert (whole.kind, whole.last_epoch) == (OutcomeKind.COMPLETED, 2)
    assert run.batches[-1].num_batches == 3
    run(config, data, max_batches=9, stop_after=11)
    assert measured(run(config, data, max_batches=9, resume=True)) == measured(whole)
    assert state_of(config, 2) == expected


def test_a_run_may_be_stopped_again_and_again(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=2, dropout=0.3), make_data()
    whole = run(config, data)

    result = run(config, data, stop_after=0)
    num_stops = 1
    while result.kind is OutcomeKind.INTERRUPTED:
        # Four questions: before the first step, and in validation all that there are.
        result = run(config, data, stop_after=4, resume=True)
        num_stops += 1

    assert num_stops > 4
    assert measured(result) == measured(whole)


def test_a_killed_run_continues_from_its_last_epoch(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=4, dropout=0.3), make_data()
    run(config, data)
    expected = state_of(config, 4)
    run(config, data, stop_after=AT_EPOCH_2 + 15)
    config.paths.interrupted_checkpoint("small").unlink()
    run.epochs.clear()

    run(config, data, resume=True)

    assert [report.epoch for report in run.epochs] == [3, 4]
    assert state_of(config, 4) == expected


@pytest.mark.parametrize("recipe", ["AdamW", "accumulated"])
def test_a_killed_run_continues_from_its_last_checkpoint_within_an_epoch(
    make_config: Config, make_data: Data, run: Run, recipe: str
) -> None:
    data = make_data()
    whole = run(make_config(epochs=3, dropout=0.3, **RECIPES[recipe]), data)
    config = make_config(
        epochs=3, dropout=0.3, save_latest_interval_minutes=1e-9, **RECIPES[recipe]
    )
    expected = state_of(config, 3)
    run.epochs.clear()

    with pytest.raises(KeyboardInterrupt):
        run(config, data, dies_after=AT_EPOCH_2 + 2)
    midway = read_checkpoint(config.paths.interrupted_checkpoint(config.model_name))
    run.epochs.clear()
    continued = run(config, data, resume=True)

    assert midway["epoch"] == 1
    assert midway["sequifier_hpo"]["progress"]["batch"] > 0
    assert [report.epoch for report in run.epochs] == [2, 3]
    assert measured(continued) == measured(whole)
    assert state_of(config, 3) == expected
    assert not config.paths.interrupted_checkpoint(config.model_name).exists()


def test_no_checkpoint_is_written_within_an_epoch_before_its_time(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=2, save_latest_interval_minutes=60), make_data()

    with pytest.raises(KeyboardInterrupt):
        run(config, data, dies_after=AT_EPOCH_2 + 2)

    assert not config.paths.interrupted_checkpoint(config.model_name).exists()


def test_early_stopping_counts_on_across_a_resume(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=9, early_stopping_epochs=2, learning_rate=1e-30)
    data = make_data()

    run(config, data, stop_after=AT_EPOCH_2)
    result = run(config, data, resume=True)

    assert (result.best_epoch, result.last_epoch) == (1, 3)


def test_continue_training_resumes_without_being_asked(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=3, continue_training=True), make_data()

    run(config, data, stop_after=AT_EPOCH_2)
    run(config, data)

    assert [report.epoch for report in run.epochs] == [1, 2, 3]


def test_a_finished_run_has_nothing_to_do_and_gives_its_result_again(
    make_config: Config, make_data: Data, run: Run, tmp_path: Path
) -> None:
    config = make_config(epochs=2, export_generative_model=True, export_pt=True)
    first = run(config, make_data())
    (tmp_path / first.model_files[0]).unlink()
    run.epochs.clear()

    again = run(config, make_data(), resume=True)

    assert run.epochs == []
    assert measured(again) == measured(first)
    assert (tmp_path / first.model_files[0]).exists()


def test_more_epochs_continue_as_if_they_had_been_asked_for_at_first(
    make_config: Config, make_data: Data, run: Run
) -> None:
    data = make_data()
    run(make_config(epochs=4, dropout=0.3, save_interval_epochs=3), data)
    expected = state_of(make_config(), 4)

    run(make_config(epochs=2, dropout=0.3), data)
    run(make_config(epochs=4, dropout=0.3), data, resume=True)

    found = state_of(make_config(), 4)
    assert found == expected


def test_a_fresh_start_removes_checkpoints_of_exactly_this_name(
    make_config: Config, make_data: Data, run: Run
) -> None:
    data = make_data()
    run(make_config(model_name="x-run-10", epochs=2), data)
    run(make_config(model_name="x-run-1", epochs=3), data)

    run(make_config(model_name="x-run-1", epochs=1), data)

    folder = make_config().paths.checkpoints
    assert sorted(path.name for path in folder.iterdir()) == [
        "x-run-1-epoch-1.pt",
        "x-run-10-epoch-2.pt",
    ]


def test_a_name_that_begins_alike_is_another_run(
    make_config: Config, make_data: Data, run: Run
) -> None:
    data = make_data()
    run(make_config(model_name="x-run-10", epochs=3), data)
    run.epochs.clear()

    run(make_config(model_name="x-run-1", epochs=2), data, resume=True)

    assert [report.epoch for report in run.epochs] == [1, 2]


@pytest.mark.parametrize("changes", [{"batch_size": 4}, {"learning_rate": 0.02}, {"dim_model": 16}])
def test_a_checkpoint_of_another_configuration_is_not_continued(
    make_config: Config, make_data: Data, run: Run, changes: dict[str, Any]
) -> None:
    if "dim_model" in changes:
        changes["initial_embedding_dim"] = 16
    data = make_data()
    run(make_config(epochs=2), data)
    run.epochs.clear()

    run(make_config(epochs=3, **changes), data, resume=True)

    assert [report.epoch for report in run.epochs] == [1, 2, 3]
    assert any("was written by another configuration" in message for message in run.messages)


def test_other_data_are_another_configuration(make_config: Config) -> None:
    config = make_config()

    assert fingerprint_of(config, 44) != fingerprint_of(config, 45)


def test_paths_names_and_logging_do_not_change_the_fingerprint(make_config: Config) -> None:
    plain = make_config()
    moved = make_config(
        model_name="other", training_data_path="elsewhere", log_interval=99, epochs=7
    )

    assert fingerprint_of(plain, 44) == fingerprint_of(moved, 44)


def test_only_the_newest_two_are_kept_while_training_and_the_last_when_finished(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=5), make_data()

    run(config, data, stop_after=4 * AT_EPOCH_2)
    while_training = sorted(path.name for path in config.paths.checkpoints.iterdir())
    run(config, data, resume=True)
    when_finished = [path.name for path in config.paths.checkpoints.iterdir()]

    assert while_training == [".small-interrupted.pt", "small-epoch-3.pt", "small-epoch-4.pt"]
    assert when_finished == ["small-epoch-5.pt"]


def test_checkpoints_are_written_every_so_many_epochs_and_at_the_end(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=5, save_interval_epochs=2), make_data()

    run(config, data, stop_after=3 * AT_EPOCH_2)  # before epoch 4
    while_training = sorted(path.name for path in config.paths.checkpoints.iterdir())
    config.paths.interrupted_checkpoint("small").unlink()  # as if it had been killed
    run(config, data, resume=True)

    assert while_training == [".small-interrupted.pt", "small-epoch-2.pt"]
    assert [report.epoch for report in run.epochs] == [1, 2, 3, 3, 4, 5]
    assert [path.name for path in config.paths.checkpoints.iterdir()] == ["small-epoch-5.pt"]


class Malicious:
    """Touches a file when it is unpickled without restrictions."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_reading_a_checkpoint_runs_no_code_from_it(tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "small-epoch-1.pt"
    content = {"epoch": 1, "model_state_dict": {}, "optimizer_state_dict": Malicious(trace)}
    torch.save(content, path)

    with pytest.raises(DamagedCheckpointError, match="something other than numbers"):
        read_checkpoint(path)

    assert not trace.exists()


@pytest.mark.parametrize("damage", ["cut off", "empty", "other content", "flipped bytes", "bit"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    make_config: Config, make_data: Data, run: Run, damage: str
) -> None:
    config, data = make_config(epochs=5, dropout=0.3), make_data()
    run(config, data)
    expected = state_of(config, 5)
    run(config, data, stop_after=4 * AT_EPOCH_2)
    config.paths.interrupted_checkpoint("small").unlink()
    path = config.paths.checkpoint("small", 4)
    spoil(path, damage)
    run.epochs.clear()

    run(config, data, resume=True)

    assert [report.epoch for report in run.epochs] == [4, 5]
    assert any(
        m.startswith("skipping the damaged checkpoint") and "epoch-4.pt" in m for m in run.messages
    )
    assert state_of(config, 5) == expected


def spoil(path: Path, damage: str) -> None:
    whole = path.read_bytes()
    if damage == "other content":
        torch.save({"weights": torch.ones(3)}, path)
    elif damage == "flipped bytes":
        # More than the padding between two tensors, where it would do no harm.
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + b"\xff" * 512 + whole[middle + 512 :])
    elif damage == "bit":
        weight = read_checkpoint(path)["model_state_dict"]["layers.0.ff.w1.weight"]
        place = whole.index(weight.numpy().tobytes())
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    else:
        path.write_bytes(whole[: len(whole) // 2 if damage == "cut off" else 0])


def test_a_checkpoint_of_sequifier_is_continued(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=4), make_data()
    run(config, data, stop_after=2 * AT_EPOCH_2)
    config.paths.interrupted_checkpoint("small").unlink()
    path = config.paths.checkpoint("small", 2)
    content = read_checkpoint(path)
    del content["sequifier_hpo"]
    torch.save({**content, "loss": np.float32(7.5)}, path)
    run.epochs.clear()

    result = run(config, data, resume=True)

    assert [report.epoch for report in run.epochs] == [3, 4]
    assert result.kind is OutcomeKind.COMPLETED


def test_a_finished_run_of_sequifier_is_judged_anew(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=2), make_data()
    ours = run(config, data)
    path = config.paths.checkpoint("small", 2)
    content = read_checkpoint(path)
    del content["sequifier_hpo"]
    torch.save({**content, "loss": np.float32(7.5)}, path)

    result = run(config, data, resume=True)

    assert (result.best_epoch, result.best_validation_loss) == (2, ours.best_validation_loss)


def test_a_checkpoint_of_sequifier_with_other_shapes_is_not_continued(
    make_config: Config, make_data: Data, run: Run
) -> None:
    data = make_data()
    run(make_config(epochs=1), data)
    path = make_config().paths.checkpoint("small", 1)
    content = read_checkpoint(path)
    del content["sequifier_hpo"]
    torch.save(content, path)
    wider = make_config(epochs=2, dim_feedforward=16)
    run(wider, data)
    expected = state_of(wider, 2)
    torch.save(content, path)
    config_path = wider.paths.checkpoint("small", 2)
    config_path.unlink()

    run(wider, data, resume=True)

    assert any("does not fit this run" in message for message in run.messages)
    assert state_of(wider, 2) == expected


def test_checkpoints_have_the_keys_of_sequifier(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=1)

    result = run(config, make_data())

    content = torch.load(config.paths.checkpoint("small", 1), weights_only=True)
    assert list(content)[:5] == [
        "epoch",
        "model_state_dict",
        "optimizer_state_dict",
        "scheduler_state_dict",
        "loss",
    ]
    assert content["loss"] == result.last_validation_loss
    (group,) = content["optimizer_state_dict"]["param_groups"]
    shapes = [
        tuple(content["optimizer_state_dict"]["state"][i]["exp_avg"].shape) for i in group["params"]
    ]
    weights = content["model_state_dict"]
    assert shapes == [tuple(value.shape) for value in weights.values()]


def test_what_a_killed_writer_left_behind_is_removed_at_the_end(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config = make_config(epochs=1, export_generative_model=True, export_onnx=True)
    left = {
        config.paths.checkpoints: ["small-epoch-7.pt", ".small-interrupted.pt"],
        config.paths.models: ["sequifier-small-best-7.onnx"],
    }
    others = [
        config.paths.checkpoints / ".small-1-epoch-7.pt~elsewhere~999.tmp",
        config.paths.models / ".sequifier-small-1-best-7.onnx~elsewhere~999.tmp",
    ]
    for folder, names in left.items():
        folder.mkdir(parents=True)
        for name in names:
            (folder / f".{name}~elsewhere~999.tmp").write_bytes(b"half")
    for path in others:
        path.write_bytes(b"another run's")

    run(config, make_data())

    hidden = [path for folder in left for path in folder.iterdir() if path.name.startswith(".")]
    assert sorted(hidden) == sorted(others)


def test_a_run_that_was_killed_after_its_last_checkpoint_leaves_no_more_than_others(
    make_config: Config, make_data: Data, run: Run
) -> None:
    config, data = make_config(epochs=3), make_data()
    run(config, data)
    checkpoints = config.paths.checkpoints
    (checkpoints / "small-epoch-2.pt").write_bytes(b"superfluous")
    (checkpoints / ".small-interrupted.pt").write_bytes(b"superfluous")

    run(config, data, resume=True)

    assert [path.name for path in checkpoints.iterdir()] == ["small-epoch-3.pt"]


def test_a_failed_write_leaves_no_file_and_is_the_environments_fault(make_config: Config) -> None:
    config = make_config()
    config.paths.checkpoints.parent.mkdir(parents=True, exist_ok=True)
    config.paths.checkpoints.write_text("a file where the folder should be")
    store = CheckpointStore(config.paths, "small", print)

    with pytest.raises(EnvironmentFaultError, match=r"cannot write .*small-epoch-1\.pt"):
        store.save_epoch(1, {"epoch": 1}, is_final=False)


def test_a_write_that_breaks_off_keeps_the_old_file_and_no_other(make_config: Config) -> None:
    config = make_config()
    store = CheckpointStore(config.paths, "small", print)
    store.save_epoch(1, {"epoch": 1}, is_final=False)
    before = config.paths.checkpoint("small", 1).read_bytes()

    with pytest.raises((AttributeError, TypeError)):
        store.save_epoch(1, {"epoch": 1, "generator": (i for i in range(3))}, is_final=False)

    assert [path.name for path in config.paths.checkpoints.iterdir()] == ["small-epoch-1.pt"]
    assert config.paths.checkpoint("small", 1).read_bytes() == before


def test_a_late_end_of_another_attempt_does_not_take_a_checkpoint_away(make_config: Config) -> None:
    config = make_config()
    store = CheckpointStore(config.paths, "small", print)

    class Late:
        """When it is first saved, an attempt of the same run on another host ends."""

        has_ended = False

        def __reduce__(self) -> tuple[type, tuple[()]]:
            if not Late.has_ended:
                Late.has_ended = True
                CheckpointStore(config.paths, "small", print).tidy()
            return dict, ()

    store.save_epoch(1, {"epoch": 1, "late": Late()}, is_final=False)

    assert Late.has_ended
    assert [path.name for path in config.paths.checkpoints.iterdir()] == ["small-epoch-1.pt"]
