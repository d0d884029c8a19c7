"""The validation losses of trivial predictors, so that a model's loss means something.

They are judged as the model is: by the criteria of `TargetLosses`, with its weights, at the
positions of the validation split that count. They learn from all positions of the stored training
windows that are not padding, so that they are the same for all window lengths of a search.

Axes: P positions, n classes of a target.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property

import torch
from torch import Tensor, nn

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import Baseline, Counted
from sequifier_hpo.training.class_frequencies import frequencies, frequencies_after
from sequifier_hpo.training.data.batching import Batch, WindowBatches
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.losses import TargetLosses, newest, weights_of_classes

_CONSTANT, _AFTER_LAST, _LAST = "constant", "after the last value", "the last value"
_WORDS: Mapping[str, Mapping[str, str]] = {
    _CONSTANT: {"categorical": "class frequencies", "real": "mean"},
    _AFTER_LAST: {"categorical": "class frequencies after the last value", "real": "last value"},
    _LAST: {"categorical": "last value", "real": "last value"},
}
# Those for which log-probabilities are outputs like any others, or a number is its own prediction.
_SERVED = frozenset(
    ["CrossEntropyLoss", "NLLLoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss"]
)
_MOST_PAIRS = 4_000_000
_POSITIONS_AT_ONCE = 2**18
_LEARNED_POSITIONS = 200_000_000
_SCORES_AT_ONCE = 1_000_000
_LEAST_WEIGHT = 1e-30
_MOST_SCORES = 2_000_000_000
# A fifth of the training windows, the last, is held out to choose the smoothing.
_HELD_OUT = 5


def compute_baselines(
    config: TrainConfig,
    data: TrainingData,
    counted: Counted,
    should_stop: Callable[[], bool],
) -> list[Baseline]:
    """The losses of the trivial predictors of a run; takes less time than one of its epochs.

    One predicts the same always: the class frequencies, or the mean. One knows the last value: the
    class frequencies after it, or for numbers the value itself. For classes that are likelier to
    stay than chance has it, there is a third: with the probability of staying the last value, else
    one of the others by its frequency. Frequencies are weighted by `class_weights`, which is what
    makes the weighted loss smallest. Everything is computed on the CPU.

    Args:
        config: The run.
        data: Its data, opened as `counted` says.
        counted: Which positions the validation loss is over.
        should_stop: Asked at every batch.

    Returns:
        An empty list if no such predictor suits a criterion, if there are so many classes and
        positions that it would take minutes, or after a stop.

    Raises:
        InputError: If the data do not fit the configuration.
    """
    if not set(config.training_spec.criterion.values()) <= _SERVED:
        return []
    data.check(config)
    task = _Task(config, data, counted)
    if task.num_scores > _MOST_SCORES:
        return []
    for batch, is_held_out in task.lessons():
        if should_stop():
            return []
        task.learn(batch, is_held_out=is_held_out)
    for batch in task.questions():
        if should_stop():
            return []
        task.judge(batch)
    return task.baselines()


class _Task:
    """What one run's predictors learn from and are judged on."""

    def __init__(self, config: TrainConfig, data: TrainingData, counted: Counted) -> None:
        cpu = torch.device("cpu")
        self._kinds = config.target_column_types
        self._losses = TargetLosses(config, cpu)
        self._num_counted = counted.last_positions or config.seq_length
        self._predictors = {
            target: _Classes(config, target, criterion)
            if self._kinds[target] == "categorical"
            else _Numbers(criterion)
            for target, criterion in self._losses.criteria.items()
        }
        # A predictor reads the targets, be they inputs of the run or not, and without threads:
        # a process that has had some may still be forked into several.
        alone = config.training_spec.model_copy(update={"num_workers": 0})
        columns = {
            f"{kind}_columns": [t for t, k in self._kinds.items() if k == kind]
            for kind in ("categorical", "real")
        }
        reading = config.model_copy(update={**columns, "training_spec": alone})
        # All that is stored, however much of it this run sees: runs of one study share these losses.
        whole = reading.model_copy(update={"seq_length": data.training.window_length})
        self._training = WindowBatches(data.training, whole, cpu)
        self._learned = TargetLosses(whole, cpu)
        self._validation = WindowBatches(data.validation, reading, cpu)
        self._at_once = max(1, _POSITIONS_AT_ONCE // config.seq_length)
        self._sums: dict[str, list[float]] = {}
        self._count = 0

    @property
    def num_scores(self) -> int:
        """How many logits have to be looked at for one predictor, at most."""
        positions = self._validation.num_windows * self._num_counted
        num_batches = self._validation.num_batches(self._at_once)
        return sum(
            min(positions, num_batches * predictor.num_classes**2) * predictor.num_classes
            for predictor in self._predictors.values()
            if isinstance(predictor, _Classes)
        )

    def lessons(self) -> Iterator[tuple[Batch, bool]]:
        """The training split (of a large one every n-th window), and what of it is held out."""
        batches = self._training
        step = -(-batches.num_windows * batches.window_length // _LEARNED_POSITIONS)
        num_windows = -(-batches.num_windows // step)
        at_once = max(1, _POSITIONS_AT_ONCE // batches.window_length)
        at_once = min(at_once, -(-num_windows // _HELD_OUT))
        num_batches = -(-num_windows // at_once)
        num_learned = max(1, num_batches - -(-num_batches // _HELD_OUT))
        for i, batch in enumerate(batches.in_order(at_once, step=step)):
            yield batch, i >= num_learned

    def questions(self) -> Iterator[Batch]:
        """The validation split."""
        return self._validation.in_order(self._at_once)

    def learn(self, batch: Batch, *, is_held_out: bool) -> None:
        """Count what is in a batch."""
        chosen = self._learned.mask(batch.num_padding).bool()
        for target, predictor in self._predictors.items():
            last, values = batch.inputs[target][chosen], batch.targets[target][chosen]
            predictor.learn(last, values, is_held_out=is_held_out)

    def judge(self, batch: Batch) -> None:
        """Add a batch to the losses."""
        chosen = newest(self._losses.mask(batch.num_padding), self._num_counted).bool()
        self._count += int(chosen.sum())
        for i, (target, predictor) in enumerate(self._predictors.items()):
            last, values = batch.inputs[target][chosen], batch.targets[target][chosen]
            for name, loss in predictor.summed_losses(last, values).items():
                sums = self._sums.setdefault(name, [0.0] * len(self._predictors))
                sums[i] += loss

    def baselines(self) -> list[Baseline]:
        """One for all targets together of each sort that every target has."""
        if self._count == 0:
            return []
        found: dict[str, Baseline] = {}
        for sort, words in _WORDS.items():
            name = " and ".join(dict.fromkeys(words[k] for k in sorted(self._kinds.values())))
            if name in found or not self._is_of_use(sort):
                continue
            means = [value / self._count for value in self._sums[sort]]
            found[name] = Baseline(name=name, loss=self._losses.weighted(means))
        return list(found.values())

    def _is_of_use(self, sort: str) -> bool:
        classes = [p for p in self._predictors.values() if isinstance(p, _Classes)]
        if sort == _AFTER_LAST:
            return all(predictor.has_pairs for predictor in classes)
        return sort == _CONSTANT or not classes or any(p.stays_often for p in classes)


class _Numbers:
    """The mean of a real target, and its last value."""

    def __init__(self, criterion: nn.Module) -> None:
        self._criterion = criterion
        self._total = 0.0
        self._number = 0

    def learn(self, last_P: Tensor, values_P: Tensor, *, is_held_out: bool) -> None:  # noqa: ARG002 - as _Classes
        """Add some positions to the mean."""
        self._total += float(values_P.sum(dtype=torch.float64))
        self._number += len(values_P)

    def summed_losses(self, last_P: Tensor, values_P: Tensor) -> dict[str, float]:
        """The criterion of each predictor, summed over some positions."""
        mean = torch.full_like(values_P, self._total / max(1, self._number))
        sums = {
            sort: float(self._criterion(outputs, values_P).sum(dtype=torch.float64))
            for sort, outputs in ((_CONSTANT, mean), (_LAST, last_P))
        }
        return {**sums, _AFTER_LAST: sums[_LAST]}


class _Classes:
    """The frequencies of a categorical target's classes: of all, after each, and with staying."""

    def __init__(self, config: TrainConfig, target: str, criterion: nn.Module) -> None:
        self.num_classes = n = config.n_classes[target]
        self.has_pairs = n * n <= _MOST_PAIRS
        """Whether there are few enough classes for a table of pairs."""
        self._criterion = criterion
        weights = weights_of_classes(config, target)
        # A class of weight 0 adds 0 to the loss, but 0 times infinity would not.
        self._log_weights = None if weights is None else weights.clamp(min=_LEAST_WEIGHT).log()
        self._counts = torch.zeros(n, dtype=torch.int64)
        self._num_stayed = 0
        # Of the events that are learned from, and of those that are held out.
        self._pairs = torch.zeros((2, n, n) if self.has_pairs else 0, dtype=torch.int32)
        self._most_often = config.seq_length

    def learn(self, last_P: Tensor, values_P: Tensor, *, is_held_out: bool) -> None:
        """Count the classes at some positions, and the class before each."""
        n = self.num_classes
        self._counts += torch.bincount(values_P, minlength=n)
        self._num_stayed += int((last_P == values_P).sum())
        if self.has_pairs:
            found = torch.bincount(last_P.long() * n + values_P, minlength=n * n)
            self._pairs[int(is_held_out)] += found.view(n, n)

    @property
    def stays_often(self) -> bool:
        """Whether a value is followed by itself more often than chance has it."""
        return self._staying > float(self._frequencies.square().sum())

    def summed_losses(self, last_P: Tensor, values_P: Tensor) -> dict[str, float]:
        """The criterion of each predictor, summed over some positions."""
        n = self.num_classes
        pairs, numbers = torch.unique(last_P.long() * n + values_P, return_counts=True)
        sums = dict.fromkeys(self._scores, 0.0)
        rows = max(1, _SCORES_AT_ONCE // n)
        for some, number in zip(pairs.split(rows), numbers.split(rows), strict=True):
            last, values = some // n, some % n
            for sort, scores_of in self._scores.items():
                losses = self._criterion(scores_of(last), values)
                sums[sort] += float((losses.double() * number).sum())
        return sums

    @cached_property
    def _scores(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """Predictor -> last values (P,) -> log-probabilities (P, n)."""
        constant = self._weighed(self._frequencies.log().float())
        scores = {_CONSTANT: lambda last: constant.expand(len(last), -1), _LAST: self._stay}
        if self.has_pairs:
            table = frequencies_after(*self._pairs, most_often=self._most_often).log().float()
            scores[_AFTER_LAST] = self._weighed(table).__getitem__
        return scores

    def _stay(self, last_P: Tensor) -> Tensor:
        """Log-probabilities (P, n) if the last value stays, or else is as good as forgotten."""
        forgotten = (1 - self._staying) / (1 - self._frequencies[last_P])
        scores = self._frequencies.log().float() + forgotten.log().float()[:, None]
        return self._weighed(scores.scatter_(1, last_P[:, None], math.log(self._staying)))

    @cached_property
    def _frequencies(self) -> Tensor:
        return frequencies(self._counts)

    @cached_property
    def _staying(self) -> float:
        return (self._num_stayed + 1) / (int(self._counts.sum()) + 2)

    def _weighed(self, scores: Tensor) -> Tensor:
        """Log-probabilities, (..., n), that make the weighted loss smallest."""
        if self._log_weights is None:
            return scores
        return (scores + self._log_weights).log_softmax(-1)
