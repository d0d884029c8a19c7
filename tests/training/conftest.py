"""Small configurations and data for the tests of the training room, as functions that make them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.records import (
    BatchReport,
    Checkpoints,
    Counted,
    EpochReport,
    RunIdentity,
    TrainingResult,
)
from sequifier_hpo.training.data.windows import (
    SplitWindows,
    StoredColumn,
    TrainingData,
    leading_zeros,
)
from sequifier_hpo.training.loop import Hooks
from sequifier_hpo.training.run import train

N_CLASSES = {"cat1": 7, "cat2": 4}
COLUMN_TYPES = {"cat1": "Int64", "val1": "Float64", "cat2": "Int64", "val2": "Float64"}


def _config(root: Path, changes: dict[str, Any]) -> TrainConfig:
    """A valid config; `changes` go where their key belongs, at the root or in a section."""
    inputs = changes.pop("input_columns", ["cat1"])
    targets = changes.pop("target_columns", ["cat1"])
    is_ids = {column: kind == "Int64" for column, kind in COLUMN_TYPES.items()}
    ordered = [column for column in COLUMN_TYPES if column in inputs]
    model: dict[str, Any] = {
        "initial_embedding_dim": 8,
        "dim_model": 8,
        "n_head": 2,
        "dim_feedforward": 12,
        "num_layers": 1,
        "n_kv_heads": None,
        "prediction_length": 1,
    }
    training: dict[str, Any] = {
        "device": "cpu",
        "epochs": 2,
        "save_interval_epochs": 1,
        "batch_size": 8,
        "learning_rate": 0.01,
        "log_interval": 2,
        "criterion": {t: "CrossEntropyLoss" if is_ids[t] else "MSELoss" for t in targets},
        "optimizer": {"name": "AdamW"},
        "scheduler": {"name": "StepLR", "step_size": 1, "gamma": 0.9},
        "continue_training": False,
    }
    whole: dict[str, Any] = {
        "project_root": str(root),
        "metadata_config_path": "configs/metadata_configs/small.json",
        "model_name": "small",
        "training_data_path": str(root / "data" / "small-split0.parquet"),
        "validation_data_path": str(root / "data" / "small-split1.parquet"),
        "input_columns": inputs,
        "column_types": COLUMN_TYPES,
        "categorical_columns": [column for column in ordered if is_ids[column]],
        "real_columns": [column for column in ordered if not is_ids[column]],
        "target_columns": targets,
        "target_column_types": {t: "categorical" if is_ids[t] else "real" for t in targets},
        "id_maps": {c: {f"{c}-{i}": i for i in range(1, n)} for c, n in N_CLASSES.items()},
        "seq_length": 5,
        "n_classes": N_CLASSES,
        "inference_batch_size": 4,
        "seed": 3,
        "export_generative_model": False,
        "export_embedding_model": False,
        "export_onnx": False,
        "model_spec": model,
        "training_spec": training,
    }
    for key, value in changes.items():
        section = model if key in _MODEL_KEYS else training if key in _TRAINING_KEYS else whole
        section[key] = value
    return assert_valid(TrainConfig.model_validate(whole))


_MODEL_KEYS = frozenset(TrainConfig.model_fields["model_spec"].annotation.model_fields)  # type: ignore[union-attr]
_TRAINING_KEYS = frozenset(TrainConfig.model_fields["training_spec"].annotation.model_fields)  # type: ignore[union-attr]


@pytest.fixture(scope="session")
def build_config() -> Callable[[Path, dict[str, Any]], TrainConfig]:
    """A function: project root and changed keys of any section -> config of a small model."""
    return _config


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., TrainConfig]:
    """A function: changed keys of any section -> config of a small model in `tmp_path`."""
    return lambda **changes: _config(tmp_path, changes)


def arrays(num_windows: int, window_length: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    """Windows that can be learned: ids count up, and the reals follow them."""
    generator = np.random.default_rng(seed)
    shape = (num_windows, window_length + 1)
    start = generator.integers(0, 6, (num_windows, 1))
    cat1 = (start + np.arange(window_length + 1)) % 6 + 1
    return {
        "cat1": cat1,
        "val1": np.sin(cat1) + generator.normal(0, 0.1, shape),
        "cat2": cat1 % 3 + 1,
        "val2": np.cos(cat1) + generator.normal(0, 0.1, shape),
    }


def pad(values: dict[str, np.ndarray[Any, Any]]) -> None:
    """Put padding in front of the windows, of more or fewer items."""
    for array in values.values():
        for row in range(len(array)):
            array[row, : row % 6] = 0


def _split(values: dict[str, np.ndarray[Any, Any]], path: str) -> SplitWindows:
    columns = {
        name: StoredColumn(
            torch.tensor(array, dtype=torch.int32 if array.dtype.kind == "i" else torch.float32),
            float(array.min()),
            float(array.max()),
        )
        for name, array in values.items()
    }
    num_windows, num_items = values["cat1"].shape
    num_padding = leading_zeros([column.values for column in columns.values()])
    return SplitWindows(path, columns, num_windows, num_items - 1, num_padding)


@pytest.fixture
def make_data() -> Callable[..., TrainingData]:
    """A function: numbers of windows (and what to do to the arrays) -> data in memory."""

    def make(
        num_training: int = 44,
        num_validation: int = 19,
        window_length: int = 5,
        change: Callable[[dict[str, np.ndarray[Any, Any]]], None] = lambda _: None,
    ) -> TrainingData:
        splits = []
        for i, number in enumerate((num_training, num_validation)):
            values = arrays(number, window_length, seed=i)
            change(values)
            splits.append(_split(values, f"split{i}"))
        return TrainingData(*splits)

    return make


@pytest.fixture(scope="session")
def write_table() -> Callable[..., None]:
    """A function that writes windows as the long table of a split, parquet or csv."""

    def write(
        path: Path, values: dict[str, np.ndarray[Any, Any]], starts: Sequence[int] = ()
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        num_windows, num_items = values["cat1"].shape
        frames = []
        for order, (name, array) in enumerate(values.items()):
            frame = pl.DataFrame(
                {
                    "sequenceId": np.arange(num_windows) // 2,
                    "subsequenceId": np.arange(num_windows) % 2,
                    "startItemPosition": np.array(starts or [0] * num_windows, dtype=np.int64),
                    "inputCol": [name] * num_windows,
                    **{
                        str(num_items - 1 - i): array[:, i].astype(np.float64)
                        for i in range(num_items)
                    },
                    "order": [order] * num_windows,
                }
            )
            frames.append(frame)
        table = pl.concat(frames).sort("sequenceId", "subsequenceId", "order").drop("order")
        if path.suffix == ".csv":
            table.write_csv(path)
        else:
            table.write_parquet(path)

    return write


class Recorder:
    """Runs `train` and keeps all it is told."""

    def __init__(self) -> None:
        self.epochs: list[EpochReport] = []
        self.batches: list[BatchReport] = []
        self.messages: list[str] = []

    def __call__(
        self,
        config: TrainConfig,
        data: TrainingData,
        *,
        stop_after: int | None = None,
        dies_after: int | None = None,
        resume: bool = False,
        last_positions: int | None = None,
        identity: RunIdentity | None = None,
        checkpoints: Checkpoints = Checkpoints.OWN,
        max_batches: int | None = None,
    ) -> TrainingResult:
        """Train; `stop_after` = how many times `should_stop` may be asked before it says yes.

        With `dies_after`, the run does not survive the next question.
        """
        asked = 0

        def should_stop() -> bool:
            nonlocal asked
            asked += 1
            if dies_after is not None and asked > dies_after:
                raise KeyboardInterrupt
            return stop_after is not None and asked > stop_after

        return train(
            config,
            data,
            Hooks(
                on_epoch=self.epochs.append,
                on_batch=self.batches.append,
                on_message=self.messages.append,
                should_stop=should_stop,
            ),
            resume=resume,
            counted=Counted(last_positions=last_positions),
            identity=identity,
            checkpoints=checkpoints,
            max_batches=max_batches,
        )

    @property
    def losses(self) -> list[tuple[int, float, float]]:
        """Per epoch told: its number, training loss and validation loss."""
        return [(r.epoch, r.train_loss, r.validation_loss) for r in self.epochs]


@pytest.fixture
def run() -> Recorder:
    """A recorder of one or more runs."""
    return Recorder()


@pytest.fixture(scope="session")
def make_arrays() -> Callable[[int, int, int], dict[str, np.ndarray[Any, Any]]]:
    """The function `arrays`."""
    return arrays
