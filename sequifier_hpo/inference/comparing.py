"""Compares models on the same events: differences of their losses, with intervals."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sequifier_hpo.config.metadata import metadata_of
from sequifier_hpo.config.train import TEST, split_for_test, validation_split
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.chosen_model import ChosenModel
from sequifier_hpo.inference.evaluating import Judged, OutputFiles, evaluate
from sequifier_hpo.preprocessing.digest import data_digest
from sequifier_hpo.records import SplitDigest

_RESAMPLES = 2000
_SEED = 0
_LEAST_SEQUENCES = 10  # fewer say nothing about how much sequences differ

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SequenceLosses:
    """The losses of a model, by sequence."""

    ids: NDArray[np.int64]
    sums: Floats
    counts: Floats
    """Events."""


def compare(
    models: Sequence[ChosenModel], split: str, on_message: Callable[[str], None]
) -> dict[str, Any]:
    """Judge models on the same events of the same split.

    Args:
        models: Two or more; the others are compared with the best of them.
        split: `VALIDATION` or `TEST`.
        on_message: Told which is judged.

    Returns:
        JSON values: `split`, `num_events`, `num_sequences`, and `models`, the best first: `model`,
        `loss`, `difference` from the best, and `interval`, in which the difference lies in 95 of 100
        draws of sequences; None with fewer than 10 sequences.

    Raises:
        InputError: If they have no events in common, or different losses.
    """
    _require_same_loss(models)
    _require_same_events(models, split)
    last_positions = min(
        model.model.about.counted_last or model.model.about.length for model in models
    )
    found: list[tuple[str, SequenceLosses]] = []
    with tempfile.TemporaryDirectory(prefix="sequifier-hpo-") as folder:
        for i, chosen in enumerate(models):
            on_message(f"judging {chosen.name}")
            path = Path(folder) / f"{i}.npz"
            judged = Judged(split, last_positions=last_positions)
            evaluate(chosen, judged, OutputFiles(sequences=path))
            with np.load(path) as arrays:
                found.append((chosen.name, SequenceLosses(**arrays)))
    ranked = sorted(found, key=lambda item: float(item[1].sums.sum()))
    best = ranked[0][1]
    return {
        "split": split,
        "num_events": int(best.counts.sum()),
        "num_sequences": int((best.counts > 0).sum()),
        "models": [_row(name, losses, best) for name, losses in ranked],
    }


def _row(name: str, losses: SequenceLosses, best: SequenceLosses) -> dict[str, Any]:
    total = float(best.counts.sum())
    interval = None if losses is best else difference_interval(losses, best)
    return {
        "model": name,
        "loss": float(losses.sums.sum()) / total,
        "difference": float((losses.sums - best.sums).sum()) / total,
        "interval": interval,
    }


def difference_interval(losses: SequenceLosses, other: SequenceLosses) -> list[float] | None:
    """The 2.5 and 97.5 per cent points of the difference of two mean losses over drawn sequences.

    Sequences are drawn with replacement, each with the events of both models, since events of one
    sequence resemble each other.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    present = other.counts > 0
    differences, counts = (losses.sums - other.sums)[present], other.counts[present]
    n = len(counts)
    if n < _LEAST_SEQUENCES:
        return None
    generator = np.random.default_rng(_SEED)
    means = []
    for _ in range(_RESAMPLES):
        times = np.bincount(generator.integers(0, n, n), minlength=n)
        means.append(float(times @ differences) / float(times @ counts))
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(low), float(high)]


def _require_same_loss(models: Sequence[ChosenModel]) -> None:
    first = models[0]
    for chosen in models:
        if chosen.config is None or first.config is None:
            continue  # `evaluate` says what is missing
        if chosen.config.loss_definition != first.config.loss_definition:
            raise InputError(
                f"the losses of {first.name} and {chosen.name} are different things: their targets, "
                "criteria or weights differ",
                "compare runs with the same `target_columns`, `criterion` and weights",
            )


def _require_same_events(models: Sequence[ChosenModel], split: str) -> None:
    first, *others = [(chosen.name, _digest(chosen, split)) for chosen in models]
    for name, digest in others:
        if digest != first[1]:
            raise InputError(
                f"{first[0]} and {name} were not judged on the same events: their {split} splits "
                "hold other windows or values",
                "compare runs on the same preprocessed data",
            )


def _digest(chosen: ChosenModel, split: str) -> SplitDigest | None:
    """What the targets of the split are, and how its windows lie."""
    config = chosen.config
    if config is None:
        return None
    stored = metadata_of(config)
    files = validation_split(config)
    if split == TEST and stored is not None:
        files = split_for_test(config, stored) or files
    types = chosen.metadata.types_of(chosen.model.about.targets)
    found = data_digest(files.path, files.path, files.form, stored, types, keeps=False)
    return found.validation
