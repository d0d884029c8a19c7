"""A project with small models that nobody trained, and what recomputes their predictions."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
import polars as pl
import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.export import export_models
from sequifier_hpo.training.model.transformer import SequenceTransformer
from tests.training.conftest import COLUMN_TYPES, N_CLASSES, _config

STATISTICS = {"val1": {"mean": 10.0, "std": 4.0}, "val2": {"mean": -3.0, "std": 0.5}}
ALL = ["cat1", "val1", "val2"]
_WIDTHS = {"cat1": 4, "cat2": 4, "val1": 2, "val2": 2}

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


def small_config(root: Path, inputs: list[str], targets: list[str], **changes: Any) -> TrainConfig:
    """A run in which every column has a part of the embedding."""
    dims = {c: _WIDTHS[c] for c in inputs}
    width = sum(dims.values())
    mixed = len({COLUMN_TYPES[c] for c in inputs}) > 1
    spec = {
        "initial_embedding_dim": width,
        "joint_embedding_dim": 8,
        "feature_embedding_dims": dims if mixed or "cat1" not in inputs else None,
        "export_generative_model": True,
        "export_onnx": True,
    }
    return _config(root, {"input_columns": inputs, "target_columns": targets, **spec, **changes})


def write_metadata(root: Path, config: TrainConfig, **changes: Any) -> Path:
    """The metadata that the run names."""
    path = root / config.metadata_config_path
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "n_classes": N_CLASSES,
        "id_maps": config.id_maps,
        "split_paths": [],
        "column_types": COLUMN_TYPES,
        "selected_columns_statistics": STATISTICS,
        "padding": "startItemPosition",
    }
    path.write_text(json.dumps(content | changes))
    return path


def export(config: TrainConfig, root: Path, seed: int = 0) -> Path:
    """The `best` model of random weights that differ from the initial ones."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network = SequenceTransformer(config)
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    state = network.state_dict()
    best, _ = export_models(
        config,
        best_state=state,
        last_state=state,
        last_epoch=1,
        best_epoch=1,
        best_validation_loss=1.0,
    )
    return root / best


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """A function: inputs, targets, keys of the metadata and other fields -> path of a model file."""

    def make(
        inputs: list[str], targets: list[str], metadata: Mapping[str, Any] = {}, **changes: Any
    ) -> Path:
        config = small_config(tmp_path, inputs, targets, **changes)
        write_metadata(tmp_path, config, **metadata)
        return export(config, tmp_path)

    return make


@dataclass
class Events:
    """Sequences of events, of any lengths, as Python values."""

    rows: list[dict[str, Any]]

    @classmethod
    def random(cls, lengths: Mapping[int, int], seed: int = 0) -> "Events":
        """Sequence -> its number of events; values of all columns, in no order."""
        draw = np.random.default_rng(seed)
        rows = [
            {
                "sequenceId": sequence,
                "itemPosition": 10 + place,
                "cat1": f"cat1-{draw.integers(1, 7)}",
                "val1": float(draw.normal(10, 4)),
                "cat2": f"cat2-{draw.integers(1, 4)}",
                "val2": float(draw.normal(-3, 0.5)),
            }
            for sequence, length in lengths.items()
            for place in range(length)
        ]
        draw.shuffle(rows)
        return cls(rows)

    def write(self, path: Path) -> Path:
        frame = pl.DataFrame(self.rows)
        if path.suffix == ".parquet":
            frame.write_parquet(path)
        else:
            frame.write_csv(path)
        return path

    def encoded(self, sequence: int, columns: list[str]) -> dict[str, Any]:
        """Column -> its numbers in the order of events: nothing of ours is used."""
        rows = sorted(
            (row for row in self.rows if row["sequenceId"] == sequence),
            key=lambda row: row["itemPosition"],
        )
        return {
            column: np.array([int(row[column].rpartition("-")[2]) for row in rows], dtype=np.int64)
            if COLUMN_TYPES[column] == "Int64"
            else np.array(
                [
                    (row[column] - STATISTICS[column]["mean"]) / STATISTICS[column]["std"]
                    for row in rows
                ],
                dtype=np.float32,
            )
            for column in columns
        }


def window(values: Any, length: int) -> Any:
    """The newest items, with zeros in front: (1, length)."""
    newest = values[-length:] if length else values
    return np.concatenate([np.zeros(length - len(newest), dtype=values.dtype), newest])[None]


def run_model(path: Path, inputs: Mapping[str, Any]) -> list[Floats]:
    """Per output, the numbers after the last event."""
    session = onnxruntime.InferenceSession(path)
    return [output[-1, 0] for output in session.run(None, dict(inputs))]
