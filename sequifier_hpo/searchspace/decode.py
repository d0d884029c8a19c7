"""From a cell to the train config of a run: the only place where a chosen value is applied."""

from typing import Any

from sequifier_hpo.config.paths import run_name
from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.searchspace.parameters import Cell, SearchSpace
from sequifier_hpo.searchspace.resolve import Adjustment, resolve


def decode(
    space: SearchSpace, cell: Cell, run_number: int, *, device: str
) -> tuple[TrainConfig, list[Adjustment]]:
    """The complete train config of one run, and what was adjusted to make it valid.

    Args:
        space: The compiled search file.
        cell: One choice index per parameter.
        run_number: k of the run's name `{search}-run-{k}`.
        device: Torch device the run trains on, when the search file leaves it open.
    """
    values, adjustments = resolve(space.values(cell), space.column_order)
    config = TrainConfig.model_validate(_train_fields(space, values, run_number, device))
    return assert_valid(config), adjustments


def values_at(space: SearchSpace, cell: Cell) -> tuple[dict[str, Any], list[Adjustment]]:
    """Field values as they are trained at a cell, and what was adjusted, without a train config."""
    return resolve(space.values(cell), space.column_order)


def _train_fields(
    space: SearchSpace, values: dict[str, Any], run_number: int, device: str
) -> dict[str, Any]:
    search = space.config
    model, training = (
        search.model_hyperparameter_sampling,
        search.training_hyperparameter_sampling,
    )
    model_spec = {
        field: values.get(field, getattr(model, field, None)) for field in type(model).model_fields
    }
    training_spec = {
        field: values.get(field, getattr(training, field, None))
        for field in type(training).model_fields
    }
    training_spec["device"] = training.device or device
    training_spec["criterion"] = training.criterion or {
        column: "MSELoss" if kind == "real" else "CrossEntropyLoss"
        for column, kind in search.target_column_types.items()
    }
    root = {
        field: values.get(field, getattr(search, field, None))
        for field in TrainConfig.model_fields
        if field not in {"model_name", "model_spec", "training_spec"}
    }
    return {
        **root,
        "model_name": run_name(search.hp_search_name, run_number),
        "model_spec": model_spec,
        "training_spec": training_spec,
    }
