"""What a model predicts, in the values and units of the table that it was trained with."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.model_file import ModelAbout, Outputs
from sequifier_hpo.preprocessing.encode import SMALLEST_DIVISOR


class Decoding:
    """Makes rows of a result from the outputs of a model."""

    def __init__(self, about: ModelAbout, metadata: DataMetadata, top_k: int) -> None:
        """Prepare to decode.

        Args:
            about: What the model says about itself.
            metadata: What preprocessing has learned about its columns.
            top_k: Number of classes of a categorical target, the most probable first.

        Raises:
            InputError: If it is not known what a target was standardised with.
        """
        self._about = about
        self._metadata = metadata
        self._units = units_of(about, metadata)
        self._top_k = top_k
        self._labels = {
            target: pl.Series(labels_of(about, target), dtype=pl.String)
            for target in about.class_labels
        }

    def chosen(self, target: str, output: NDArray[np.float32]) -> NDArray[Any]:
        """What is predicted, as a model reads it: an id, or a standardised number."""
        return output.argmax(1) if self._about.is_categorical(target) else output[:, 0]

    def frame(
        self, sequences: pl.Series, last_places: NDArray[np.int64], step: int, outputs: Outputs
    ) -> pl.DataFrame:
        """One row per row of the outputs.

        Args:
            sequences: Whose events are predicted.
            last_places: What ordered the newest event of each.
            step: How many events lie between that and the predicted one, which counts.
            outputs: Of the model.
        """
        sequence, order = self._metadata.id_columns
        columns: dict[str, Any] = {sequence: sequences}
        if self._metadata.order_column is None:
            columns[order] = last_places + step
        else:  # nobody knows the time of an event that has not come
            columns[f"{order}.step"] = np.full(len(sequences), step, dtype=np.int64)
        for target in self._about.targets:
            if self._about.is_categorical(target):
                columns |= self._classes(target, outputs[target])
            else:
                scale, offset = self._units[target]
                columns[target] = outputs[target][:, 0].astype(np.float64) * scale + offset
        return pl.DataFrame(columns)

    def _classes(self, target: str, scores: NDArray[np.float32]) -> dict[str, Any]:
        labels = self._labels[target]
        columns: dict[str, Any] = {}
        for place, ids in enumerate(_most_probable(scores, self._top_k)):
            name = target if place == 0 else f"{target}.{place + 1}"
            probability = np.exp(np.take_along_axis(scores, ids[:, None], axis=1)[:, 0])
            columns[name] = labels.gather(ids)
            columns[f"{name}.probability"] = probability
        return columns


def _most_probable(scores: NDArray[np.float32], count: int) -> Iterator[NDArray[np.int64]]:
    """The ids of the most probable classes, (rows,) each; the smaller id first where they tie."""
    if count == 1:
        yield scores.argmax(1)
        return
    ranked = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    yield from (ranked[:, i] for i in range(ranked.shape[1]))


def units_of(about: ModelAbout, metadata: DataMetadata) -> dict[str, tuple[float, float]]:
    """Real target -> (scale, offset): value = output * scale + offset.

    Raises:
        InputError: If it is not known what a target was standardised with.
    """
    known = metadata.selected_columns_statistics
    targets = [target for target in about.targets if not about.is_categorical(target)]
    missing = [target for target in targets if target not in known]
    if missing:
        raise InputError(
            f"it is not known what the column `{missing[0]}` was standardised with",
            "name the metadata of the data with --metadata",
        )
    return {
        target: (known[target].std + SMALLEST_DIVISOR, known[target].mean) for target in targets
    }


def labels_of(about: ModelAbout, target: str) -> list[str]:
    """The text of every class id of a categorical target."""
    labels = about.class_labels[target]
    return [f"id {i}" if label is None else label for i, label in enumerate(labels)]
