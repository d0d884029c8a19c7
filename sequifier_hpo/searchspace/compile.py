"""From a validated search file to a search space: pure, without torch or optuna."""

from collections.abc import Iterator, Mapping
from typing import Any

from sequifier_hpo.config.linked import DATA_SCHEMA, MODEL_BACKBONE, TRAINING_SCHEDULE, LinkedGroup
from sequifier_hpo.config.search import SearchConfig
from sequifier_hpo.searchspace.parameters import Choice, Parameter, SearchSpace

DEFAULT_SCHEDULER = {"name": "StepLR", "step_size": 1, "gamma": 0.99}

# Slowest to fastest varying, as Sequifier counts a grid: data, then training, then model.
_INDEPENDENT_DATA = ("seq_length",)
_INDEPENDENT_TRAINING = ("batch_size", "dropout", "optimizer", "accumulation_steps")
_INDEPENDENT_MODEL = (
    "dim_feedforward",
    "num_layers",
    "activation_fn",
    "normalization",
    "positional_encoding",
    "attention_type",
    "norm_first",
    "n_kv_heads",
    "rope_theta",
)
_MAX_LABEL = 80  # characters: what a table of the dashboard can show


def compile_space(config: SearchConfig) -> SearchSpace:
    """Turn the candidate lists into categorical parameters; linked groups become one each."""
    candidates = list(_candidates(config))
    return SearchSpace(
        config=config,
        parameters=tuple(parameter for parameter in candidates if len(parameter.choices) > 1),
        fixed=tuple(parameter for parameter in candidates if len(parameter.choices) == 1),
        column_order=_column_order(config),
    )


def _candidates(config: SearchConfig) -> Iterator[Parameter]:
    model, training = (
        config.model_hyperparameter_sampling,
        config.training_hyperparameter_sampling,
    )
    num_backbones, num_schedules = len(model.dim_model), len(training.learning_rate)
    yield _group(DATA_SCHEMA, {field: getattr(config, field) for field in DATA_SCHEMA.fields})
    yield from (_independent(config, field) for field in _INDEPENDENT_DATA)
    yield _group(
        TRAINING_SCHEDULE,
        {
            "learning_rate": training.learning_rate,
            "epochs": training.epochs,
            "scheduler": training.scheduler or [DEFAULT_SCHEDULER] * num_schedules,
        },
    )
    yield from (_independent(training, field) for field in _INDEPENDENT_TRAINING)
    yield _group(
        MODEL_BACKBONE,
        {field: getattr(model, field) or [None] * num_backbones for field in MODEL_BACKBONE.fields},
    )
    yield from (_independent(model, field) for field in _INDEPENDENT_MODEL)


def _independent(holder: Any, field: str) -> Parameter:
    values = getattr(holder, field)
    choices = (
        Choice(_label(i, value_text(value)), {field: value}) for i, value in enumerate(values)
    )
    return Parameter(field, tuple(choices))


def _group(group: LinkedGroup, lists: Mapping[str, list[Any]]) -> Parameter:
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    varying = [field for field in lists if any(row[field] != rows[0][field] for row in rows)]
    choices = (Choice(_label(i, _row_text(group, row, varying)), row) for i, row in enumerate(rows))
    return Parameter(group.name, tuple(choices))


def _row_text(group: LinkedGroup, row: Mapping[str, Any], varying: list[str]) -> str:
    if group is DATA_SCHEMA:
        return ", ".join(row["input_columns"])
    anchor = row[group.anchor]
    parts = [f"{group.anchor}={value_text(anchor)}"]
    parts += [
        f"{field}={value_text(row[field])}"
        for field in varying
        if field != group.anchor and row[field] is not None and row[field] != anchor
    ]
    return " ".join(parts)


def value_text(value: Any) -> str:
    """A value of the search file, short enough for a table."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict) and "name" in value:
        arguments = [f"{k}={value_text(v)}" for k, v in value.items() if k != "name"]
        return " ".join([str(value["name"]), *arguments])
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {value_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(value_text(item) for item in value) + "]"
    return str(value)


def _label(index: int, text: str) -> str:
    """A unique label that begins with the index; decoding looks at nothing else."""
    label = f"{index}: {text}"
    return label if len(label) <= _MAX_LABEL else label[: _MAX_LABEL - 3] + "..."


def _column_order(config: SearchConfig) -> tuple[str, ...]:
    order: dict[str, None] = {}
    for types in config.column_types or []:
        order.update(dict.fromkeys(types))
    return tuple(order)
