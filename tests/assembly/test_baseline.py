"""Trivial predictors: the losses that the trainer itself would give them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from sequifier_hpo.assembly import baseline
from sequifier_hpo.assembly.baseline import baselines, cached_baselines, compute_baselines
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.losses import TargetLosses
from tests.training.conftest import N_CLASSES, _config, arrays

Windows = dict[str, np.ndarray[Any, Any]]


def padded(values: Windows, seed: int) -> Windows:
    """The same windows, each with zeros in front of a random place."""
    generator = np.random.default_rng(seed)
    num_windows, num_items = values["cat1"].shape
    starts = generator.integers(0, num_items - 1, (num_windows, 1))
    keep = np.arange(num_items)[None, :] >= starts
    return {name: np.where(keep, array, 0) for name, array in values.items()}


def write(path: Path, values: Windows) -> None:
    """A long table as preprocess writes it."""
    num_windows, num_items = values["cat1"].shape
    rows = [
        {"sequenceId": i, "subsequenceId": 0, "startItemPosition": 0, "inputCol": name}
        | {str(num_items - 1 - k): float(values[name][i, k]) for k in range(num_items)}
        for i in range(num_windows)
        for name in values
    ]
    path.parent.mkdir(exist_ok=True)
    if path.suffix == ".pt":
        write_shards(path, values)
        return
    table = pl.DataFrame(rows)
    table.write_csv(path) if path.suffix == ".csv" else table.write_parquet(path)


def write_shards(folder: Path, values: Windows) -> None:
    """Two shards as preprocess writes them: inputs and targets are views of the same windows."""
    folder.mkdir()
    num_windows = len(values["cat1"])
    listing = []
    for i, rows in enumerate((slice(0, 7), slice(7, num_windows))):
        windows = {
            name: torch.tensor(
                array[rows], dtype=torch.int64 if name.startswith("cat") else torch.float32
            )
            for name, array in values.items()
        }
        inputs = {name: tensor[:, :-1] for name, tensor in windows.items()}
        targets = {name: tensor[:, 1:] for name, tensor in windows.items()}
        numbers = torch.arange(len(windows["cat1"]))
        torch.save((inputs, targets, numbers, numbers, numbers), folder / f"shard-{i}.pt")
        listing.append({"path": f"shard-{i}.pt", "samples": len(numbers)})
    content = {"total_samples": num_windows, "batch_files": listing}
    (folder / "metadata.json").write_text(json.dumps(content))


def prepared(root: Path, suffix: str = "parquet", **changes: Any) -> tuple[TrainConfig, Windows]:
    """A config whose splits lie on disk; their windows are longer than its seq_length."""
    training, validation = (padded(arrays(n, 9, n), n) for n in (60, 23))
    changes["read_format"] = suffix
    for i, values in enumerate((training, validation)):
        path = root / "data" / f"small-split{i}.{suffix}"
        write(path, values)
        changes[("training_data_path", "validation_data_path")[i]] = str(path)
    return _config(root, changes), validation


def trained_on(config: TrainConfig) -> Windows:
    return padded(arrays(60, 9, 60), 60)


def loss_of(config: TrainConfig, windows: Windows, outputs: dict[str, torch.Tensor]) -> float:
    """The trainer's own validation loss of given outputs."""
    t = config.seq_length
    targets = {
        name: torch.tensor(
            windows[name][:, -t:],
            dtype=torch.int64 if name.startswith("cat") else torch.float32,
        )
        for name in config.target_columns
    }
    losses = TargetLosses(config, torch.device("cpu"))
    mask = losses.mask(targets)
    sums = losses.sums(outputs, targets, mask, torch.float64)
    return losses.weighted([s / float(mask.sum()) for s in sums.tolist()])


@pytest.mark.parametrize("suffix", ["parquet", "csv", "pt"])
def test_class_frequencies_have_the_loss_that_the_trainer_gives_them(
    tmp_path: Path, suffix: str
) -> None:
    weights = [1.0, 2.0, 1.0, 0.5, 1.0, 1.0, 3.0]
    config, validation = prepared(tmp_path, suffix, class_weights={"cat1": weights})
    values = trained_on(config)["cat1"][:, -config.seq_length :]
    counts = np.bincount(values[values != 0], minlength=N_CLASSES["cat1"]) + 1.0
    logits = torch.tensor(np.log(counts / counts.sum()), dtype=torch.float32)
    outputs = {"cat1": logits.expand(config.seq_length, len(validation["cat1"]), -1)}

    found = compute_baselines(config)

    assert found["class frequencies"] == pytest.approx(
        loss_of(config, validation, outputs), rel=1e-6
    )


def test_the_last_value_of_a_real_target_has_the_loss_that_the_trainer_gives_it(
    tmp_path: Path,
) -> None:
    config, validation = prepared(
        tmp_path, input_columns=["val1"], target_columns=["val1", "val2"],
        criterion={"val1": "HuberLoss", "val2": "L1Loss"}, loss_weights={"val1": 2.0, "val2": 0.5},
    )  # fmt: skip
    t = config.seq_length
    outputs = {
        name: torch.tensor(validation[name][:, -t - 1 : -1].T[..., None], dtype=torch.float32)
        for name in config.target_columns
    }

    found = compute_baselines(config)

    assert found["last value"] == pytest.approx(loss_of(config, validation, outputs), rel=1e-6)


def test_the_mean_has_the_loss_that_the_trainer_gives_it(tmp_path: Path) -> None:
    config, validation = prepared(tmp_path, input_columns=["val1"], target_columns=["val1"])
    values = trained_on(config)["val1"][:, -config.seq_length :]
    mean = values[np.cumsum(values != 0, axis=1) > 0].mean()
    shape = (config.seq_length, len(validation["val1"]), 1)
    outputs = {"val1": torch.full(shape, mean, dtype=torch.float32)}

    found = compute_baselines(config)

    assert found["mean"] == pytest.approx(loss_of(config, validation, outputs), rel=1e-6)


def test_the_last_value_tells_much_where_values_follow_each_other(tmp_path: Path) -> None:
    config, _ = prepared(tmp_path)  # cat1 counts up: the last value decides the next

    found = compute_baselines(config)

    assert found["class frequencies after the last value"] < 0.3 < found["class frequencies"]


def test_mixed_targets_have_one_sum(tmp_path: Path) -> None:
    config, _ = prepared(tmp_path, target_columns=["cat1", "val1"])

    found = compute_baselines(config)

    assert list(found) == [
        "class frequencies and mean",
        "class frequencies after the last value and last value",
    ]


def test_reading_piece_by_piece_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, _ = prepared(tmp_path)
    at_once = compute_baselines(config)
    monkeypatch.setattr(baseline, "_VALUES_AT_ONCE", 50)

    assert compute_baselines(config) == pytest.approx(at_once, rel=1e-12)


def test_results_are_kept_until_the_data_change(tmp_path: Path) -> None:
    config, validation = prepared(tmp_path)
    cache = tmp_path / "studies" / "baselines.json"
    first = baselines(config, cache)

    kept = cached_baselines(config, cache)
    write(Path(config.validation_data_path), {k: v[:9] for k, v in validation.items()})

    assert kept == first != ()
    assert cached_baselines(config, cache) == ()


def test_a_criterion_without_a_trivial_predictor_gives_none(tmp_path: Path) -> None:
    config, _ = prepared(tmp_path, criterion={"cat1": "MultiMarginLoss"})

    assert compute_baselines(config) == {}


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_shard_costs_no_report(tmp_path: Path, damage: bytes | None) -> None:
    config, _ = prepared(tmp_path, "pt")
    shard = Path(config.training_data_path) / "shard-1.pt"
    if damage is None:
        torch.save((Path("x"), {}, 1, 2, 3), shard)  # a class that has no place in a shard
    else:
        shard.write_bytes(damage)

    assert baselines(config, tmp_path / "baselines.json") == ()


def test_missing_data_cost_no_report(tmp_path: Path) -> None:
    config, _ = prepared(tmp_path)
    Path(config.training_data_path).unlink()

    assert baselines(config, tmp_path / "baselines.json") == ()
