from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.training.model.transformer import SequenceTransformer

MakeConfig = Callable[..., TrainConfig]
MakeState = Callable[..., dict[str, Tensor]]
MakeInputs = Callable[[TrainConfig, int], dict[str, Tensor]]


@pytest.fixture(scope="session")
def make_config() -> MakeConfig:
    """A valid config: inputs `product` and `price`, both predicted, unless told otherwise."""

    def make(
        root: Path | str = ".",
        *,
        spec: dict[str, Any] | None = None,
        training: dict[str, Any] | None = None,
        n_classes: dict[str, int] | None = None,
        reals: tuple[str, ...] = ("price",),
        targets: tuple[str, ...] | None = None,
        **root_fields: Any,
    ) -> TrainConfig:
        n_classes = {"product": 5} if n_classes is None else n_classes
        columns = [*n_classes, *reals]
        targets = tuple(columns) if targets is None else targets
        kinds = {t: "categorical" if t in n_classes else "real" for t in targets}
        model_spec = {
            "initial_embedding_dim": 8,
            "feature_embedding_dims": None,
            "dim_model": 8,
            "n_head": 2,
            "dim_feedforward": 12,
            "num_layers": 2,
            "prediction_length": 1,
            **(spec or {}),
        }
        if model_spec["feature_embedding_dims"] is None and n_classes and reals:
            width = model_spec["initial_embedding_dim"]
            dims = dict.fromkeys(columns, 1)
            dims[columns[0]] += width - len(columns)
            model_spec["feature_embedding_dims"] = dims
        losses = {"categorical": "CrossEntropyLoss", "real": "MSELoss"}
        fields = {
            "project_root": str(root),
            "metadata_config_path": "configs/metadata_configs/shop.json",
            "model_name": "shop-run-0",
            "training_data_path": "data/shop-split0.parquet",
            "validation_data_path": "data/shop-split1.parquet",
            "input_columns": columns,
            "column_types": {c: "Int64" if c in n_classes else "Float64" for c in columns},
            "categorical_columns": list(n_classes),
            "real_columns": list(reals),
            "target_columns": list(targets),
            "target_column_types": kinds,
            "id_maps": {c: {f"{c}{i}": i for i in range(1, n)} for c, n in n_classes.items()},
            "seq_length": 5,
            "n_classes": n_classes,
            "inference_batch_size": 4,
            "export_generative_model": True,
            "export_embedding_model": False,
            "model_spec": model_spec,
            "training_spec": {
                "device": "cpu",
                "epochs": 3,
                "save_interval_epochs": 1,
                "batch_size": 4,
                "learning_rate": 0.001,
                "criterion": {t: losses[kind] for t, kind in kinds.items()},
                "optimizer": {"name": "AdamW"},
                "scheduler": {"name": "StepLR", "step_size": 1},
                **(training or {}),
            },
            **root_fields,
        }
        return assert_valid(TrainConfig.model_validate(fields))

    return make


@pytest.fixture(scope="session")
def make_state() -> MakeState:
    """A state whose every parameter, biases and norms too, differs from its initial value."""

    def make(config: TrainConfig, seed: int = 0, noise: float = 0.2) -> dict[str, Tensor]:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            model = SequenceTransformer(config)
            for parameter in model.parameters():
                parameter.add_(noise * torch.randn(parameter.shape))
        return dict(model.state_dict())

    return make


@pytest.fixture(scope="session")
def make_inputs() -> MakeInputs:
    """Random rows for a model, in the order of its inputs."""

    def make(config: TrainConfig, num_rows: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(num_rows)
        shape = (num_rows, config.seq_length)
        ids = {
            column: torch.randint(0, config.n_classes[column], shape, generator=generator)
            for column in config.categorical_columns
        }
        reals = {c: torch.randn(shape, generator=generator) for c in config.real_columns}
        return {**ids, **reals}

    return make
