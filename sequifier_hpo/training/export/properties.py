"""What an ONNX file says about itself: its origin and how to read its numbers."""

import json
from dataclasses import dataclass
from typing import Literal

from sequifier_hpo import __version__
from sequifier_hpo.config.metadata import unknown_id
from sequifier_hpo.config.train import TrainConfig

Kind = Literal["best", "last"]

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


def model_properties(
    config: TrainConfig, facts: RunFacts, kind: Kind, *, is_embedding_model: bool
) -> dict[str, str]:
    """The metadata of one file, all values text; lists and maps are JSON.

    `class_labels` holds one list per categorical target, indexed by the class id. Labels are texts;
    an id without a label has null. `validation_positions` is how many positions at the end of each
    window `best_validation_loss` is over.
    """
    everywhere = facts.best_validation_loss_all_positions
    return {
        "run_name": config.model_name,
        "train_yaml_sha256": facts.train_yaml_sha256,
        "sequifier_hpo_version": __version__,
        "kind": kind,
        "model_type": "embedding" if is_embedding_model else "generative",
        "epoch": str(facts.best_epoch if kind == "best" else facts.last_epoch),
        "last_epoch": str(facts.last_epoch),
        "best_epoch": str(facts.best_epoch),
        "best_validation_loss": repr(facts.best_validation_loss),
        "best_validation_loss_all_positions": repr(
            facts.best_validation_loss if everywhere is None else everywhere
        ),
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
