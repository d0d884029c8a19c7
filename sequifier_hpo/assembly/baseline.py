"""The loss of trivial predictors on the validation rows, so that a model's loss means something.

Two predictors, for every kind of target: a constant (class frequencies, or the mean, of the
training rows), and one that knows only the last value (class frequencies after it; for a real
target the value itself). Same positions, mask, criterion and weights as the validation loss.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.preprocessing.shard_file import shard_windows
from sequifier_hpo.preprocessing.stored_split import StoredSplit, describe_split
from sequifier_hpo.report.data import Baseline

_MAX_VALUES = 200_000_000
_MAX_TRANSITIONS = 4_000_000
_VALUES_AT_ONCE = 4_000_000

_WORDS: tuple[dict[str, str], ...] = (
    {"categorical": "class frequencies", "real": "mean"},
    {"categorical": "class frequencies after the last value", "real": "last value"},
)

Values = NDArray[np.float64]
Chunk = Mapping[str, Values]
"""Target -> windows, (windows, T + 1), oldest item first."""


def baselines(config: TrainConfig, cache: Path) -> tuple[Baseline, ...]:
    """Losses of the trivial predictors for a run; computed once per data and window length.

    Args:
        config: The run whose loss is to be compared.
        cache: JSON file in which results are kept.

    Returns:
        Nothing if a criterion is one that these predictors do not serve, or the data are too large
        to read in passing.
    """
    known = _read_cache(cache)
    try:
        key = _key(config)
        if key not in known:
            known[key] = compute_baselines(config)
            write_atomically(cache, json.dumps(known, indent=1) + "\n")
    except (InputError, EnvironmentFaultError, OSError, pl.exceptions.PolarsError):
        return ()  # a comparison that cannot be made must not cost a report
    return tuple(Baseline(name, loss) for name, loss in known[key].items())


def cached_baselines(config: TrainConfig, cache: Path) -> tuple[Baseline, ...]:
    """What `baselines` has found before for this run's data and window length."""
    try:
        found = _read_cache(cache).get(_key(config), {})
    except OSError:
        return ()
    return tuple(Baseline(name, loss) for name, loss in found.items())


def compute_baselines(config: TrainConfig) -> dict[str, float]:
    """Name of predictor -> its loss on the validation rows; empty where there is none.

    Raises:
        InputError: If a split cannot be read.
    """
    spec = config.training_spec
    if any(spec.criterion[target] not in _SERVED for target in config.target_columns):
        return {}
    training = _Split(config, config.training_data_path)
    validation = _Split(config, config.validation_data_path)
    if training.num_values + validation.num_values > _MAX_VALUES:
        return {}
    learned = {target: _learner(config, target) for target in config.target_columns}
    for chunk in training.chunks():
        mask = _mask(config, chunk)
        for target, learner in learned.items():
            learner.learn(chunk[target][:, :-1][mask], chunk[target][:, 1:][mask])
    return _losses(config, validation, learned)


def _losses(
    config: TrainConfig, validation: "_Split", learned: "Mapping[str, _Classes | _Reals]"
) -> dict[str, float]:
    spec = config.training_spec
    sums = np.zeros(2)
    count = 0
    for chunk in validation.chunks():
        mask = _mask(config, chunk)
        count += int(mask.sum())
        for target, learner in learned.items():
            weight = 1.0 if spec.loss_weights is None else spec.loss_weights[target]
            before, values = chunk[target][:, :-1][mask], chunk[target][:, 1:][mask]
            sums += weight * np.array(learner.summed_losses(before, values))
    if count == 0:
        return {}
    kinds = sorted(set(config.target_column_types.values()))
    names = (" and ".join(words[kind] for kind in kinds) for words in _WORDS)
    return dict(zip(names, (sums / count).tolist(), strict=True))


def _mask(config: TrainConfig, chunk: Chunk) -> NDArray[np.bool_]:
    """Which positions count, (windows, T): those of the validation loss."""
    kinds = config.target_column_types
    categorical = [target for target in config.target_columns if kinds[target] == "categorical"]
    values = chunk[categorical[0] if categorical else config.target_columns[0]][:, 1:]
    if categorical:
        return np.not_equal(values, 0)
    return np.cumsum(values != 0, axis=1) > 0


@dataclass
class _Classes:
    """Class frequencies, overall and after each class."""

    num_classes: int
    weights: Values
    counts: Values
    transitions: Values | None
    """None if there are too many classes for a table of pairs."""

    def learn(self, before: Values, values: Values) -> None:
        """Count the classes at some positions, and the class before each."""
        n, ids = self.num_classes, values.astype(np.int64)
        self.counts += np.bincount(ids, minlength=n)
        if self.transitions is not None:
            pairs = before.astype(np.int64) * n + ids
            self.transitions += np.bincount(pairs, minlength=n * n).reshape(n, n)

    def summed_losses(self, before: Values, values: Values) -> tuple[float, float]:
        """Summed cross-entropy of both predictors.

        No class has probability 0: one count is added to each; after a last value, the overall
        frequencies count as one more observation.
        """
        ids, last = values.astype(np.int64), before.astype(np.int64)
        overall = (self.counts + 1) / (self.counts.sum() + self.num_classes)
        weights = self.weights[ids]
        constant = -(weights * np.log(overall[ids])).sum()
        if self.transitions is None:
            return float(constant), float(constant)
        seen = self.transitions.sum(axis=1, keepdims=True)
        after = (self.transitions + overall) / (seen + 1)
        return float(constant), float(-(weights * np.log(after[last, ids])).sum())


@dataclass
class _Reals:
    """The mean."""

    criterion: str
    total: float = 0.0
    count: int = 0

    def learn(self, before: Values, values: Values) -> None:  # noqa: ARG002 - as _Classes
        """Add some positions to the mean."""
        self.total += float(values.sum())
        self.count += len(values)

    def summed_losses(self, before: Values, values: Values) -> tuple[float, float]:
        """Summed criterion of both predictors."""
        mean = self.total / max(1, self.count)
        loss = _REAL_CRITERIA[self.criterion]
        return float(loss(values - mean).sum()), float(loss(values - before).sum())


def _square(error: Values) -> Values:
    return error**2


def _absolute(error: Values) -> Values:
    return np.abs(error)


def _huber(error: Values) -> Values:
    """With a threshold of 1, the default of torch, where SmoothL1Loss is the same."""
    size = np.abs(error)
    return np.where(size < 1, size**2 / 2, size - 0.5)


_REAL_CRITERIA = {
    "MSELoss": _square,
    "L1Loss": _absolute,
    "SmoothL1Loss": _huber,
    "HuberLoss": _huber,
}
_SERVED = {"CrossEntropyLoss", *_REAL_CRITERIA}


def _learner(config: TrainConfig, target: str) -> "_Classes | _Reals":
    spec = config.training_spec
    if config.target_column_types[target] != "categorical":
        return _Reals(spec.criterion[target])
    n = config.n_classes[target]
    weights = (spec.class_weights or {}).get(target)
    return _Classes(
        num_classes=n,
        weights=np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64),
        counts=np.zeros(n),
        transitions=np.zeros((n, n)) if n * n <= _MAX_TRANSITIONS else None,
    )


class _Split:
    """The targets' windows of one stored split, read piece by piece."""

    def __init__(self, config: TrainConfig, path: str) -> None:
        self._config = config
        self._path = Path(path)
        self._described: StoredSplit = describe_split(self._path, config.read_format)
        self._items = [str(i) for i in range(config.seq_length, -1, -1)]
        if config.seq_length > self._described.window_length:
            raise InputError(f"{path} holds shorter windows than {config.seq_length}")
        if missing := set(config.target_columns) - set(self._described.columns):
            raise InputError(f"{path} has no column {', '.join(sorted(missing))}")

    @property
    def num_values(self) -> int:
        """Values of one target."""
        return self._described.num_windows * len(self._items)

    def chunks(self) -> Iterator[Chunk]:
        """All windows in order, some at a time."""
        targets = self._config.target_columns
        if self._config.read_format == "pt":
            for windows in shard_windows(self._path, targets):
                yield {target: windows[target][:, -len(self._items) :] for target in targets}
            return
        num_columns = len(self._described.columns)
        num_windows = max(1, _VALUES_AT_ONCE // (len(self._items) * len(targets)))
        table = self._scan()
        for first in range(0, self._described.num_windows, num_windows):
            rows = (
                table.slice(first * num_columns, num_windows * num_columns)
                .filter(pl.col("inputCol").cast(pl.String).is_in(targets))
                .select(pl.col("inputCol").cast(pl.String), *self._items)
                .collect()
            )
            yield {
                target: rows.filter(pl.col("inputCol") == target)
                .select(self._items)
                .to_numpy()
                .astype(np.float64)
                for target in targets
            }

    def _scan(self) -> pl.LazyFrame:
        if self._config.read_format == "parquet":
            return pl.scan_parquet(self._path, glob=False, hive_partitioning=False)
        # Types are given: a column that starts with whole numbers may go on with reals.
        types: dict[str, Any] = {name: pl.Float64() for name in self._items}
        return pl.read_csv(
            self._path, schema_overrides={**types, "inputCol": pl.String()}, glob=False
        ).lazy()


def _key(config: TrainConfig) -> str:
    """Equal for runs that have the same baselines."""
    spec = config.training_spec
    files = []
    for path in (config.training_data_path, config.validation_data_path):
        # A folder of shards is replaced as a whole; its listing stands for it.
        listing = Path(path) / "metadata.json"
        stat = (listing if Path(path).is_dir() else Path(path)).stat()
        files.append([path, stat.st_mtime_ns, stat.st_size])
    content = [
        files,
        config.seq_length,
        config.target_column_types,
        {target: config.n_classes.get(target) for target in config.target_columns},
        spec.criterion,
        spec.class_weights,
        spec.loss_weights,
    ]
    digest = hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]
    return f"seq_length {config.seq_length}, {digest}"


def _read_cache(path: Path) -> dict[str, dict[str, float]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
