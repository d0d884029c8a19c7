"""Compares models on the same events: differences of their losses, with intervals."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sequifier_hpo.config.description import Influence, description_of
from sequifier_hpo.config.metadata import metadata_of
from sequifier_hpo.config.train import TEST, TrainConfig, split_for_test, validation_split
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.chosen_model import ChosenModel
from sequifier_hpo.inference.evaluating import Judged, OutputFiles, evaluate
from sequifier_hpo.preprocessing.digest import data_digest
from sequifier_hpo.records import SplitDigest, field_values

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
        `study`, `run`, `data`, `loss`, `difference` from the best, and `loss_interval` and
        `interval`, in which they lie in 95 of 100 draws of sequences; None with fewer than 10
        sequences. `configurations`: field -> its value in each of the models, of the fields that
        matter to a training and differ; of lists, what is not in all of them.

    Raises:
        InputError: If they have no events in common, or different losses, or one is named twice.
    """
    _require_distinct(models)
    _require_same_loss(models)
    _require_same_events(models, split)
    last_positions = min(model.last_positions for model in models)
    found: list[_Judgement] = []
    with tempfile.TemporaryDirectory(prefix="sequifier-hpo-") as folder:
        for i, chosen in enumerate(models):
            on_message(f"judging {chosen.name}")
            path = Path(folder) / f"{i}.npz"
            judged = Judged(split, last_positions=last_positions)
            figures = evaluate(chosen, judged, OutputFiles(sequences=path))
            with np.load(path) as arrays:
                found.append(_Judgement(chosen, figures, SequenceLosses(**arrays)))
    found.sort(key=lambda judgement: float(judgement.losses.sums.sum()))
    best = found[0].losses
    return {
        "split": split,
        "num_events": int(best.counts.sum()),
        "num_sequences": int((best.counts > 0).sum()),
        "models": [_row(judgement, best) for judgement in found],
        "configurations": _differing([judgement.chosen.config for judgement in found]),
    }


@dataclass(frozen=True)
class _Judgement:
    chosen: ChosenModel
    figures: Mapping[str, Any]
    losses: SequenceLosses


def _row(judgement: _Judgement, best: SequenceLosses) -> dict[str, Any]:
    losses, total = judgement.losses, float(best.counts.sum())
    return {
        "model": judgement.chosen.name,
        **{name: judgement.figures[name] for name in ("study", "run", "data")},
        "loss": float(losses.sums.sum()) / total,
        "loss_interval": mean_interval(losses.sums, best.counts),
        "difference": float((losses.sums - best.sums).sum()) / total,
        "interval": None if losses is best else difference_interval(losses, best),
    }


def _differing(configs: Sequence[TrainConfig | None]) -> dict[str, list[Any]]:
    """Field -> its value in each run, of those fields that matter and are not the same in all."""
    described = description_of(TrainConfig)
    matters = [
        name
        for name in described.influencing(Influence.WEIGHTS, Influence.SELECTION)
        if not described.fields[name].is_from_metadata
    ]
    runs = [described.flat(config) for config in configs if config is not None]
    columns = {name: _apart([run[name] for run in runs]) for name in matters}
    rows = [
        field_values({"run": dict(zip(columns, values, strict=True))})
        for values in zip(*columns.values(), strict=True)
    ]
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: [row.get(name) for row in rows] for name in names}
    return {name: values for name, values in found.items() if values[1:] != values[:-1]}


def _apart(values: list[Any]) -> list[Any]:
    """Values of a field; of lists, what is not in all of them, unless their order alone differs."""
    if not all(isinstance(value, list) for value in values):
        return values
    apart = [[e for e in value if not all(e in other for other in values)] for value in values]
    return apart if any(apart) else values


def difference_interval(losses: SequenceLosses, other: SequenceLosses) -> list[float] | None:
    """The interval of the difference of two mean losses: each sequence has the events of both."""
    return mean_interval(losses.sums - other.sums, other.counts)


def mean_interval(sums: Floats, counts: Floats) -> list[float] | None:
    """The 2.5 and 97.5 per cent points of a mean per event over drawn sequences.

    Sequences are drawn with replacement, since events of one sequence resemble each other.

    Args:
        sums: Of the events of every sequence.
        counts: Number of events of every sequence.

    Returns:
        Both points; None with fewer than 10 sequences that have events.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, section 13.3.
    """
    present = counts > 0
    sums, counts = sums[present], counts[present]
    n = len(counts)
    if n < _LEAST_SEQUENCES:
        return None
    generator = np.random.default_rng(_SEED)
    means = []
    for _ in range(_RESAMPLES):
        times = np.bincount(generator.integers(0, n, n), minlength=n)
        means.append(float(times @ sums) / float(times @ counts))
    low, high = np.quantile(means, [0.025, 0.975])
    return [float(low), float(high)]


def _require_distinct(models: Sequence[ChosenModel]) -> None:
    names = [chosen.name for chosen in models]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} is named twice", "name it once, or another run")


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
