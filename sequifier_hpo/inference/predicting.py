"""Predictions of what comes after the events of a table, decoded into its own values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.decoding import Decoding
from sequifier_hpo.inference.model_file import Model, Outputs
from sequifier_hpo.inference.new_table import BYTES_IN_MEMORY, whole_sequences
from sequifier_hpo.preprocessing.new_data import NewEvents, encode_events
from sequifier_hpo.preprocessing.remarks import Remarks

# Larger batches fall out of the cache: of the tutorial's model, 1,024 windows are fastest.
_ITEMS_AT_ONCE = 16_384
_MOST_AT_ONCE = 4096


@dataclass(frozen=True)
class Request:
    """What is to be predicted."""

    table: Path
    """Parquet if its name ends so, else CSV."""
    sequence_ids: Sequence[str] | None = None
    """The only sequences that are wanted; None = all."""
    steps: int = 1
    """Number of events; from the second on, predictions are taken for events that were seen."""
    top_k: int = 1
    """Number of classes of a categorical target, the most probable first."""
    allows_empty: bool = False
    """Whether to predict the first event of a sequence that has none."""
    bytes_in_memory: int = BYTES_IN_MEMORY
    """How much of the table is in memory at a time."""


def predict_table(
    model: Model, metadata: DataMetadata, request: Request, remarks: Remarks
) -> Iterator[pl.DataFrame]:
    """Predict the next events of the sequences of a table.

    Args:
        model: The model.
        metadata: What preprocessing has learned about its columns.
        request: What is to be predicted.
        remarks: Takes what is to be said of the table's values.

    Yields:
        Rows of the result, ascending by sequence and step: the sequence; the position of the
        predicted event, or, where another column orders them, the step as `ORDER.step`; and per target `TARGET`, of classes also `TARGET.probability`, and of those
        that come next `TARGET.2`, `TARGET.2.probability` and so on.

    Raises:
        InputError: If the table cannot be encoded, or the model cannot go on from what it predicts.
    """
    about = model.about
    if request.steps > 1:
        _require_all_predicted(about.inputs, about.targets)
    decoding = Decoding(about, metadata, request.top_k)
    parts = whole_sequences(
        request.table,
        about.inputs,
        metadata,
        sequence_ids=request.sequence_ids,
        bytes_in_memory=request.bytes_in_memory,
    )
    for table in parts:
        events = encode_events(
            table,
            about.length,
            metadata,
            sequence_ids=request.sequence_ids,
            allows_empty=request.allows_empty,
        )
        remarks.add(events.remarks)
        yield from _predictions(model, decoding, events, request.steps)


def _predictions(
    model: Model, decoding: Decoding, events: NewEvents, steps: int
) -> Iterator[pl.DataFrame]:
    at_once = max(1, min(_MOST_AT_ONCE, _ITEMS_AT_ONCE // model.about.length))
    for begin in range(0, len(events), at_once):
        end = min(begin + at_once, len(events))
        inputs = events.inputs(begin, end)
        frames = []
        for step in range(steps):
            outputs = model.predict(inputs)
            whose, last = events.sequences[begin:end], events.last_places[begin:end]
            frames.append(decoding.frame(whose, last, step + 1, outputs))
            if step + 1 < steps:
                inputs = _fed_back(inputs, outputs, decoding)
        yield frames[0] if steps == 1 else pl.concat(frames).sort(pl.nth(0), maintain_order=True)


def _fed_back(
    inputs: Mapping[str, NDArray[Any]], outputs: Outputs, decoding: Decoding
) -> dict[str, NDArray[Any]]:
    """The inputs with the prediction as the newest event, without the oldest one."""
    newest = {
        column: decoding.chosen(column, outputs[column]).astype(values.dtype)
        for column, values in inputs.items()
    }
    return {
        column: np.concatenate([values[:, 1:], newest[column][:, None]], axis=1)
        for column, values in inputs.items()
    }


def _require_all_predicted(inputs: Sequence[str], targets: Sequence[str]) -> None:
    others = [column for column in inputs if column not in targets]
    if others:
        raise InputError(
            f"the model reads {', '.join(f'`{name}`' for name in others)}, but does not predict "
            f"{'it' if len(others) == 1 else 'them'}: after the first event it has nothing to go on from",
            "leave out --steps, or train a model whose `target_columns` are all its input columns",
        )
