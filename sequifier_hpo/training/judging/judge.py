"""Runs a model file over a split, and gathers what its predictions are worth.

Axes: B windows, T positions, N events that count, n classes.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import torch
from torch import Tensor

from sequifier_hpo.atomic import StagedFiles
from sequifier_hpo.config.preprocess import ID_COLUMNS
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Counted
from sequifier_hpo.training.baselines import compute_baselines
from sequifier_hpo.training.data.batching import Batch, WindowBatches
from sequifier_hpo.training.data.open import open_training_data
from sequifier_hpo.training.data.windows import TrainingData, reading_all, used_columns
from sequifier_hpo.training.judging.event_file import EventFile, Places, SequenceNames
from sequifier_hpo.training.judging.every_position import NotOursError, answer_everywhere
from sequifier_hpo.training.judging.scores import ClassScores, NumberScores, Scores
from sequifier_hpo.training.losses import TargetLosses, newest, of_one_target

_POSITIONS_AT_ONCE = 2**14
_NUMBERS_AT_ONCE = 2**22
_TOLERANCE = 1e-3
_ERRORS = 3  # of onnxruntime's levels
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Order:
    """What is to be judged, and how."""

    model: Path
    config: TrainConfig
    """The run; its validation data are the split that is judged."""
    counted: Counted
    labels: Mapping[str, Sequence[str]]
    """Label of every class, of the categorical targets."""
    units: Mapping[str, tuple[float, float]]
    """(scale, offset) of the real targets: value = standardised * scale + offset."""
    has_training: bool
    """Whether the training data are there, from which trivial predictors learn."""
    sequence_column: str = ID_COLUMNS[0]
    """What the file of all events calls whose event each is."""
    names: Path | None = None
    """A Parquet table `sequenceId`, `sequence`: the names of sequences; None = they have none."""
    places: Path | None = None
    """A file of numpy: where the windows of the split lie, as `event_file.Places`."""
    events: Path | None = None
    """The CSV file of all events to write."""
    sequences: Path | None = None
    """A file of numpy to write: the losses of each sequence."""


def judge(order: Order) -> dict[str, Any]:
    """Judge a model file.

    Returns:
        JSON values: `loss`, as the search computes it, `loss_all_positions`, `num_events`,
        `baselines` (name -> loss), and `targets`: per target its figures, `loss` and `baselines`.

    Raises:
        InputError: If the data do not fit the model, or hold nothing but padding.
    """
    data = open_training_data(order.config, padding_is_stored=order.counted.padding_is_stored)
    return judge_on(data, order)


def judge_on(data: TrainingData, order: Order) -> dict[str, Any]:
    """The same with data that are open."""
    data.check(order.config)
    found = _Judgement(order, data).result()
    found["baselines"] = _baselines(order, order.config, data)
    for target, figures in found["targets"].items():
        alone = found["baselines"]
        if len(found["targets"]) > 1:
            alone = _baselines(order, of_one_target(order.config, target), data)
        figures["baselines"] = alone
    return found


def _baselines(order: Order, config: TrainConfig, data: TrainingData) -> dict[str, float]:
    if not order.has_training:
        return {}
    found = compute_baselines(config, data, order.counted, lambda: False)
    return {baseline.name: baseline.loss for baseline in found}


class _Judgement:
    """One pass over the split."""

    def __init__(self, order: Order, data: TrainingData) -> None:
        config = order.config
        self._order = order
        self._losses = TargetLosses(config, _CPU)
        self._is_id = used_columns(config)
        # Targets too, as the last value before an event.
        self._batches = WindowBatches(data.validation, reading_all(config), _CPU)
        self._path = data.validation.path
        self._num_counted = order.counted.last_positions or self._batches.window_length
        self._sessions = _sessions(order.model)
        self._scores: dict[str, Scores] = {
            target: ClassScores(order.labels[target])
            if target in order.labels
            else NumberScores(order.units[target][0])
            for target in self._losses.targets
        }
        self._places: Places | None = None if order.places is None else np.load(order.places)
        self._sums = {name: np.zeros(len(self._scores)) for name in ("counted", "everywhere")}
        self._counts = {"counted": 0, "everywhere": 0}
        self._sequences = None if self._places is None else _SequenceLosses(self._places)

    def result(self) -> dict[str, Any]:
        """All figures but those of trivial predictors.

        Raises:
            InputError: If nothing but padding counts.
        """
        with ExitStack() as stack:
            events = self._event_file(stack)
            begin = 0
            for batch in self._batches.in_order(self._at_once):
                self._add(batch, begin, events)
                begin += len(batch.num_padding)
        if not self._counts["counted"]:
            raise InputError(
                f"{self._path} holds nothing but padding",
                "judge the model on another split",
            )
        if self._order.sequences is not None and self._sequences is not None:
            self._sequences.write(self._order.sequences)
        means = self._means("counted")
        return {
            "loss": self._losses.weighted(means),
            "loss_all_positions": self._losses.weighted(self._means("everywhere")),
            "num_events": self._counts["counted"],
            "targets": {
                target: {**scores.result(), "loss": mean}
                for (target, scores), mean in zip(self._scores.items(), means, strict=True)
            },
        }

    def _event_file(self, stack: ExitStack) -> EventFile | None:
        if self._order.events is None or self._places is None:
            return None
        files = stack.enter_context(StagedFiles())
        file = stack.enter_context(files.open(self._order.events))
        names = SequenceNames(self._order.sequence_column, self._order.names)
        return EventFile(file, self._places, names, self._order.labels, self._order.units)

    @property
    def _at_once(self) -> int:
        """Windows of a batch."""
        length = self._batches.window_length
        widest = max(len(self._order.labels.get(target, "1")) for target in self._scores)
        positions = min(_POSITIONS_AT_ONCE, max(length, _NUMBERS_AT_ONCE // widest))
        return max(1, positions // length)

    def _means(self, which: str) -> list[float]:
        means: list[float] = (self._sums[which] / self._counts[which]).tolist()
        return means

    def _add(self, batch: Batch, begin: int, events: EventFile | None) -> None:
        outputs = self._run(batch, checks=begin == 0)
        everywhere = self._losses.mask(batch.num_padding)
        counted = newest(everywhere, self._num_counted)
        losses = self._losses.per_position(outputs, batch.targets)
        for which, mask in (("counted", counted), ("everywhere", everywhere)):
            chosen = mask.reshape(-1).bool()
            self._counts[which] += int(chosen.sum())
            self._sums[which] += [float(loss[chosen].sum(dtype=torch.float64)) for loss in losses]
        windows, positions = counted.nonzero(as_tuple=True)
        if not len(windows):
            return
        actual = {t: values[windows, positions] for t, values in batch.targets.items()}
        chosen_outputs = {t: output[positions, windows] for t, output in outputs.items()}
        of_events = {
            t: loss.view(counted.shape)[windows, positions]
            for t, loss in zip(self._losses.targets, losses, strict=True)
        }
        for target, scores in self._scores.items():
            last = batch.inputs[target][windows, positions]
            scores.add(chosen_outputs[target], actual[target], last)
        numbers = windows.numpy() + begin
        if self._sequences is not None:
            weighted = sum(
                weight * of_events[t].double()
                for weight, t in zip(self._losses.weights, self._losses.targets, strict=True)
            )
            assert isinstance(weighted, Tensor)
            self._sequences.add(numbers, weighted)
        if events is not None:
            # A position predicts the item after it.
            events.add(numbers, positions.numpy() + 1, chosen_outputs, actual, of_events)

    def _run(self, batch: Batch, *, checks: bool) -> dict[str, Tensor]:
        """Per target what the network returns in training, (T, B, n)."""
        everywhere, shipped = self._sessions
        inputs = {
            column: (values.long() if self._is_id[column] else values).contiguous().numpy()
            for column in (node.name for node in shipped.get_inputs())
            for values in [batch.inputs[column]]
        }
        outputs = [torch.from_numpy(output) for output in everywhere.run(None, inputs)]
        targets = list(self._scores)
        if checks:
            for target, own, ours in zip(targets, shipped.run(None, inputs), outputs, strict=True):
                is_class = target in self._order.labels
                newest_ones = (ours.log_softmax(-1) if is_class else ours)[-len(own) :]
                difference = float((newest_ones - torch.from_numpy(own)).abs().max())
                assert difference <= _TOLERANCE * max(1.0, float(newest_ones.abs().max())), (
                    difference
                )
        return dict(zip(targets, outputs, strict=True))


class _SequenceLosses:
    """The sum of the loss and the number of events of each sequence."""

    def __init__(self, places: Places) -> None:
        self._ids, self._of_window = np.unique(places[:, 0], return_inverse=True)
        self._sums, self._counts = (np.zeros(len(self._ids)) for _ in range(2))

    def add(self, windows: Places, losses: Tensor) -> None:
        """Add some events."""
        places = self._of_window[windows]
        self._sums += np.bincount(places, losses.numpy(), minlength=len(self._ids))
        self._counts += np.bincount(places, minlength=len(self._ids))

    def write(self, path: Path) -> None:
        """Write `ids`, `sums` and `counts`, one entry per sequence."""
        np.savez(path, ids=self._ids, sums=self._sums, counts=self._counts)


def _sessions(path: Path) -> tuple[Any, ...]:
    """The model that answers at every position, and the one that is shipped.

    Raises:
        InputError: If it is not one of ours.
    """
    model = onnx.load(path)
    try:
        answer_everywhere(model)
    except NotOursError as error:
        raise InputError(
            f"{path} was not written by sequifier-hpo, and answers at its last positions only: {error}",
            "export the model again",
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS  # what the last positions needed is left over, and named
    return tuple(
        onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        for source in (model.SerializeToString(), path)
    )
