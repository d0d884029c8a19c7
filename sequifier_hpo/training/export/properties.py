"""What an ONNX file says about itself: its origin and how to read its numbers."""

import json
from dataclasses import dataclass
from typing import Literal

from sequifier_hpo import __version__
from sequifier_hpo.config.metadata import TABLE_KEYS, DataMetadata, metadata_of, unknown_id
from sequifier_hpo.config.preprocess import ID_COLUMNS
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import ConfigError

Kind = Literal["best", "last"]

PROPERTIES_VERSION = 2
"""Raised when a reader has to know more; files of 0.1.0 do not have it."""

_ID_KEYS = ("sequence_column", "order_column")
_REAL_OUTPUTS = (
    "Real outputs are standardised, as the inputs are: value = output * std + mean, with std and "
    "mean of the column in the metadata file."
)


@dataclass(frozen=True)
class RunFacts:
    """How a run ended, as far as its model files tell."""

    train_yaml_sha256: str
    """Digest of the text of the run's `train.yaml` without the comments at its head."""
    last_epoch: int
    """The last epoch that was run; the number in the file names, of the best model too."""
    best_epoch: int
    best_validation_loss: float
    """Over the positions that count."""
    best_validation_loss_all_positions: float | None
    """None = those are the ones that count."""
    num_counted: int | None
    """How many positions at the end of each window count; None = all."""


def metadata_to_export(config: TrainConfig) -> DataMetadata | None:
    """The metadata of a run's data, for its model files; None if they are not those it began with.

    A run that has trained for hours is not to fail for a file that was changed since.
    """
    try:
        metadata = metadata_of(config)
    except ConfigError:
        return None
    is_same = metadata is not None and metadata.id_maps == config.id_maps
    return metadata if is_same else None


def model_properties(
    config: TrainConfig,
    facts: RunFacts,
    kind: Kind,
    metadata: DataMetadata | None = None,
    *,
    is_embedding_model: bool,
) -> dict[str, str]:
    """The metadata of one file, all values text; lists and maps are JSON.

    `class_labels` holds one list per categorical target, indexed by the class id. Labels are texts;
    an id without a label has null. `validation_positions` is how many positions at the end of each
    window `best_validation_loss` is over. `train_config` is the whole run with the ids of all
    columns, `statistics` what its real columns were standardised with, and `raw_table` what the
    metadata say of the raw table, where they do: together they are all that is needed to predict
    and to judge.

    Args:
        config: The run.
        facts: How it ended.
        kind: Which of its models.
        metadata: Of its data; None = not known, then there are no statistics.
        is_embedding_model: Whether it returns embeddings.
    """
    return {
        "run_name": config.model_name,
        "sequifier_hpo_version": __version__,
        "properties_version": str(PROPERTIES_VERSION),
        "kind": kind,
        "model_type": "embedding" if is_embedding_model else "generative",
        "epoch": str(facts.best_epoch if kind == "best" else facts.last_epoch),
        **_of_run(facts),
        "validation_positions": str(facts.num_counted or config.seq_length),
        "seq_length": str(config.seq_length),
        "prediction_length": str(config.model_spec.prediction_length),
        "export_with_dropout": json.dumps(config.export_with_dropout),
        "input_columns": _json([*config.categorical_columns, *config.real_columns]),
        "target_columns": _json(config.target_columns),
        "class_labels": _json(
            {
                target: class_labels(config, target)
                for target, kind in config.target_column_types.items()
                if kind == "categorical"
            }
        ),
        "real_outputs": _REAL_OUTPUTS,
        **dict(zip(_ID_KEYS, ID_COLUMNS if metadata is None else metadata.id_columns, strict=True)),
        "train_config": _json(config.model_dump(mode="json")),
        **({} if metadata is None else _of_data(config, metadata)),
    }


def _of_run(facts: RunFacts) -> dict[str, str]:
    everywhere = facts.best_validation_loss_all_positions
    return {
        "train_yaml_sha256": facts.train_yaml_sha256,
        "last_epoch": str(facts.last_epoch),
        "best_epoch": str(facts.best_epoch),
        "best_validation_loss": repr(facts.best_validation_loss),
        "best_validation_loss_all_positions": repr(
            facts.best_validation_loss if everywhere is None else everywhere
        ),
    }


def _of_data(config: TrainConfig, metadata: DataMetadata) -> dict[str, str]:
    statistics = metadata.selected_columns_statistics
    # Rows are left out for gaps in columns that the model does not read.
    needed = sorted({*config.columns_read, *metadata.missing})
    return {
        "statistics": _json({c: statistics[c].model_dump() for c in needed if c in statistics}),
        "padding": metadata.padding or "",
        "raw_table": _json(metadata.model_dump(include=set(TABLE_KEYS), exclude_defaults=True)),
    }


def class_labels(config: TrainConfig, target: str) -> list[str | None]:
    """Label of every class id of a categorical target; id 0 is "unknown", and 1 may be as well."""
    labels: list[str | None] = [None] * config.n_classes[target]
    ids = config.id_maps.get(target, {})
    for label, class_id in [("unknown", unknown_id(ids)), *ids.items()]:
        if 0 <= class_id < len(labels):  # a train.yaml may state fewer classes than the data has
            labels[class_id] = label
    labels[0] = "unknown"
    return labels


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
