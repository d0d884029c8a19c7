"""What the predictions of one target are worth, over the events of a split.

Axes: N events, n classes.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassConfusionMatrix, MulticlassF1Score
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

_NUM_BINS = 10
_MOST_SHOWN_CLASSES = 12
_MOST_CLASSES_OF_F1 = 4096  # the library counts pairs of classes
_TOP = (3, 5, 10)


class Scores(Protocol):
    """What is gathered of one target."""

    def add(self, outputs: Tensor, actual: Tensor, last: Tensor) -> None:
        """Add some events.

        Args:
            outputs: The model's, (N, n), before any softmax; of a real target (N, 1).
            actual: What came, (N,).
            last: What was the last value before, (N,).
        """

    def result(self) -> dict[str, Any]:
        """The figures, as JSON values."""


class ClassScores:
    """Figures of a categorical target."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        n = len(labels)
        self._ranks = torch.zeros(n + 1, dtype=torch.int64)
        """How often so many classes were more probable than the actual one."""
        self._actual = torch.zeros(n, dtype=torch.int64)
        self._pairs: list[Tensor] = []
        self._f1 = MulticlassF1Score(n, average="macro") if 1 < n <= _MOST_CLASSES_OF_F1 else None
        self._log_loss = torch.zeros((), dtype=torch.float64)
        self._num_stayed = 0
        # Per bin of the highest probability: events, sum of it, hits.
        self._bins = torch.zeros((3, _NUM_BINS), dtype=torch.float64)

    def add(self, outputs: Tensor, actual: Tensor, last: Tensor) -> None:
        """As of `Scores`."""
        scores = outputs.double().log_softmax(-1)
        of_actual = scores.gather(1, actual[:, None])
        self._log_loss -= of_actual.sum()
        ranks = (scores > of_actual).sum(1)
        self._ranks += torch.bincount(ranks, minlength=len(self._ranks))
        self._actual += torch.bincount(actual, minlength=len(self._actual))
        chosen = scores.argmax(1)
        if self._f1 is not None:
            self._f1.update(chosen, actual)
        self._pairs.append(torch.stack([actual, chosen]).to(torch.int32))
        self._num_stayed += int((last == actual).sum())
        highest = scores.max(1).values.exp()
        bins = (highest * _NUM_BINS).long().clamp(max=_NUM_BINS - 1)
        hits = (chosen == actual).double()
        for row, weights in enumerate((torch.ones_like(highest), highest, hits)):
            self._bins[row] += torch.bincount(bins, weights, minlength=_NUM_BINS)

    def result(self) -> dict[str, Any]:
        """As of `Scores`; the calibration error is the mean difference, weighted by events.

        Source: Guo et al. 2017, arXiv:1706.04599, section 2, for the calibration error.
        """
        num_events = max(1, int(self._actual.sum()))
        pairs = torch.cat(self._pairs, 1).long()
        return {
            "kind": "categorical",
            "num_events": int(self._actual.sum()),
            "log_loss": float(self._log_loss) / num_events,
            "accuracy": float((pairs[0] == pairs[1]).double().mean()),
            "top_k_accuracy": {
                str(k): float(self._ranks[:k].sum()) / num_events
                for k in _TOP
                if k < len(self._labels)
            },
            "macro_f1": None if self._f1 is None else float(self._f1.compute()),
            "accuracy_of_last_value": self._num_stayed / num_events,
            "accuracy_of_most_frequent": float(self._actual.max()) / num_events,
            "calibration": self._calibration(num_events),
            "confusion": self._confusion(pairs),
        }

    def _calibration(self, num_events: int) -> dict[str, Any]:
        counts, probabilities, hits = self._bins
        error = float((probabilities - hits).abs().sum()) / num_events
        bins = [
            {
                "from": i / _NUM_BINS,
                "num_events": int(counts[i]),
                "mean_probability": float(probabilities[i] / counts[i]),
                "accuracy": float(hits[i] / counts[i]),
            }
            for i in range(_NUM_BINS)
            if counts[i]
        ]
        return {"error": error, "bins": bins}

    def _confusion(self, pairs: Tensor) -> dict[str, Any]:
        """Rows: what came; columns: what was predicted; the most frequent classes, and all others."""
        order = self._actual.argsort(descending=True, stable=True)
        shown = order[: min(_MOST_SHOWN_CLASSES, int((self._actual > 0).sum()))]
        places = torch.full((len(self._labels),), len(shown))
        places[shown] = torch.arange(len(shown))
        matrix = MulticlassConfusionMatrix(len(shown) + 1)
        matrix.update(places[pairs[1]], places[pairs[0]])
        counts: list[list[int]] = matrix.compute().tolist()
        labels = [*(self._labels[i] for i in shown.tolist()), "others"]
        if not any(counts[-1]) and not any(row[-1] for row in counts):
            counts, labels = [row[:-1] for row in counts[:-1]], labels[:-1]
        return {"labels": labels, "counts": counts}


class NumberScores:
    """Figures of a real target in its own units: of the model, the last value, and the mean."""

    def __init__(self, scale: float) -> None:
        """Begin.

        Args:
            scale: What a standardised 1 is in the column's own unit.
        """
        self._scale = scale
        self._figures = {
            name: {
                "mae": MeanAbsoluteError().set_dtype(torch.float64),
                "rmse": MeanSquaredError(squared=False).set_dtype(torch.float64),
                "r2": R2Score().set_dtype(torch.float64),
            }
            for name in ("model", "last value", "mean")
        }
        self._num_events = 0

    def add(self, outputs: Tensor, actual: Tensor, last: Tensor) -> None:
        """As of `Scores`."""
        self._num_events += len(actual)
        predictions = {
            "model": outputs[:, 0].double(),
            "last value": last.double(),
            "mean": torch.zeros(len(actual), dtype=torch.float64),
        }
        for name, figures in self._figures.items():
            for figure in figures.values():
                figure.update(predictions[name], actual.double())

    def result(self) -> dict[str, Any]:
        """As of `Scores`; R² is None where all events are the same."""
        found = {
            name: {
                "mae": float(figures["mae"].compute()) * self._scale,
                "rmse": float(figures["rmse"].compute()) * self._scale,
                "r2": self._r2(figures["r2"]),
            }
            for name, figures in self._figures.items()
        }
        own = found.pop("model")
        return {"kind": "real", "num_events": self._num_events, **own, "trivial": found}

    def _r2(self, figure: Metric) -> float | None:
        if self._num_events < 2:
            return None
        value = float(figure.compute())
        return value if math.isfinite(value) else None
