"""A model file: what it says about itself, and how it is run.

Everything that is needed stands in the file. Models of 0.1.0 lack the ids of their input columns and
what numbers were standardised with: these come from the metadata of the data.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from numpy.typing import NDArray
from pydantic import ValidationError

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.plain_files import parse_json, require_file
from sequifier_hpo.words import first_line

_NEWEST_VERSION = 2
_OF_OURS = ("seq_length", "input_columns", "target_columns", "class_labels", "model_type")
_EXPORT_AGAIN = "export it again with this version, or upgrade sequifier-hpo"

Outputs = Mapping[str, NDArray[np.float32]]
"""Target -> (rows, n): log-probabilities of its classes, or one standardised number."""


@dataclass(frozen=True)
class ModelAbout:
    """What a model file says about itself."""

    path: Path
    inputs: list[str]
    """Input columns, in order."""
    targets: list[str]
    """Target columns, in order."""
    class_labels: Mapping[str, list[str | None]]
    """Categorical target -> label of every class id."""
    length: int
    """Number of events that it sees."""
    metadata: DataMetadata | None
    """Of the data that it was trained with; None = it does not say, as those of 0.1.0."""
    config: TrainConfig | None
    """The run; None = it does not say."""
    best_validation_loss: float | None
    """Of the run, in its best epoch; None = it does not say."""
    counted_last: int | None
    """How many positions at the end of a window its validation loss is over; None = all."""

    def is_categorical(self, target: str) -> bool:
        """Whether a target is predicted as classes; else as a number."""
        return target in self.class_labels


class Model:
    """A model file, ready to predict."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            InputError: If it is no ONNX file, or not one of ours that predicts.
        """
        try:
            require_file(path)
            if not path.exists():
                raise InputError(f"there is no model {path}", "name one of the folder models/")
            self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        except Exception as error:  # onnxruntime's own, which share no base but this
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is not an ONNX model: {first_line(error)}") from error
        self.about = _about(path, self._session.get_modelmeta().custom_metadata_map)

    def predict(self, inputs: Mapping[str, NDArray[Any]]) -> Outputs:
        """What comes after the last event of each row.

        Args:
            inputs: Column -> (rows, seq_length), ids as int64 and numbers as float32.
        """
        outputs = self._session.run(None, dict(inputs))
        return {
            target: output[-1] for target, output in zip(self.about.targets, outputs, strict=True)
        }


def _about(path: Path, properties: Mapping[str, str]) -> ModelAbout:
    missing = [name for name in _OF_OURS if name not in properties]
    if missing:
        raise InputError(
            f"{path} is not a model that sequifier-hpo wrote: it does not say its `{missing[0]}`",
            "name a file of the folder models/, or export the model again",
        )
    if properties["model_type"] != "generative":
        raise InputError(
            f"{path} returns embeddings, and predicts nothing",
            "name the model without `embedding` in its name",
        )
    try:
        version = int(properties.get("properties_version", "1"))
        if version > _NEWEST_VERSION:
            raise EnvironmentFaultError(
                f"{path} was written by a later version of sequifier-hpo", "upgrade sequifier-hpo"
            )
        config = _config(properties)
        length = int(properties["seq_length"])
        counted = int(properties.get("validation_positions", length))
        return ModelAbout(
            path=path,
            inputs=json.loads(properties["input_columns"]),
            targets=json.loads(properties["target_columns"]),
            class_labels=json.loads(properties["class_labels"]),
            length=length,
            metadata=None if config is None else _metadata(config, properties),
            config=config,
            best_validation_loss=_number(properties.get("best_validation_loss")),
            counted_last=None if counted == length else counted,
        )
    except (ValueError, ValidationError) as error:
        problem = f"{path} says about itself what cannot be read: {first_line(error)}"
        raise InputError(problem, _EXPORT_AGAIN) from error


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _config(properties: Mapping[str, str]) -> TrainConfig | None:
    text = properties.get("train_config")
    return None if text is None else TrainConfig.model_validate(parse_json(text))


def _metadata(config: TrainConfig, properties: Mapping[str, str]) -> DataMetadata:
    """The metadata of the data, but for the splits; no statistics if the run did not find them."""
    return DataMetadata.model_validate(
        {
            **config.model_dump(),
            "split_paths": [],
            "selected_columns_statistics": parse_json(properties.get("statistics", "{}")),
            "padding": properties.get("padding") or None,
            **parse_json(properties.get("raw_table", "{}")),
        }
    )
