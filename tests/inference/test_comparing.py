"""Models are compared on the same events, or it is said why they cannot be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sequifier_hpo.cli.compare import compare as command
from sequifier_hpo.cli.compare import named
from sequifier_hpo.cli.comparison_text import comparison_text
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.chosen_model import ChosenModel, model_of_file
from sequifier_hpo.inference.comparing import (
    SequenceLosses,
    compare,
    difference_interval,
)
from tests.inference.conftest import ALL, export, small_config, write_metadata
from tests.training.conftest import arrays, write_table

__all__ = ["write_table"]

MakeChosen = Callable[..., ChosenModel]


@pytest.fixture
def make_chosen(tmp_path: Path, write_table: Callable[..., None]) -> MakeChosen:
    """A function: a seed and changed fields -> a model of random weights, with its data."""
    for i in range(2):
        write_table(tmp_path / f"data/small-split{i}.parquet", arrays(40, 7, seed=i))
    write_table(tmp_path / "data/other.parquet", arrays(40, 7, seed=9))

    def make(seed: int, **changes: object) -> ChosenModel:
        config = small_config(tmp_path, ALL, ["cat1"], model_name=f"model-{seed}", **changes)
        write_metadata(tmp_path, config, padding=None)
        return model_of_file(export(config, tmp_path, seed), None)

    return make


@pytest.mark.slow
def test_models_of_different_lengths_are_judged_at_the_positions_that_both_predict(
    make_chosen: MakeChosen,
) -> None:
    models = [make_chosen(1), make_chosen(2, seq_length=3), make_chosen(3, dropout=0.25)]

    found = compare(models, "validation", lambda _: None)

    assert found["num_events"] == 40 * 3
    assert found["num_sequences"] == 20
    best, *others = found["models"]
    assert (best["difference"], best["interval"]) == (0, None)
    for row in others:
        assert row["difference"] == pytest.approx(row["loss"] - best["loss"])
        low, high = row["interval"]
        assert low < row["difference"] < high
    for row in found["models"]:
        assert row["loss_interval"][0] < row["loss"] < row["loss_interval"][1]
        assert row["data"].endswith("small-split1.parquet")
    by_model = {
        row["model"]: (length, dropout)
        for row, length, dropout in zip(
            found["models"], *found["configurations"].values(), strict=True
        )
    }
    assert list(found["configurations"]) == ["seq_length", "dropout"]
    assert set(by_model.values()) == {(5, 0.0), (3, 0.0), (5, 0.25)}
    assert len(comparison_text(found).splitlines()) == 6 + 2


def test_models_with_different_losses_are_not_compared(make_chosen: MakeChosen) -> None:
    weighted = make_chosen(2, class_weights={"cat1": [1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0]})

    with pytest.raises(InputError, match="are different things"):
        compare([make_chosen(1), weighted], "validation", lambda _: None)


def test_models_that_were_judged_on_other_events_are_not_compared(
    make_chosen: MakeChosen, tmp_path: Path
) -> None:
    other = make_chosen(2, validation_data_path=str(tmp_path / "data/other.parquet"))

    with pytest.raises(InputError, match="were not judged on the same events"):
        compare([make_chosen(1), other], "validation", lambda _: None)


def test_a_model_is_not_compared_with_itself(make_chosen: MakeChosen) -> None:
    model = make_chosen(1)

    with pytest.raises(InputError, match="is named twice"):
        compare([model, model], "validation", lambda _: None)


def test_the_interval_is_as_wide_as_sequences_differ() -> None:
    draw = np.random.default_rng(1)
    counts = np.full(400, 5.0)
    sums = draw.normal(0, 1, 400)
    other = SequenceLosses(np.arange(400), sums, counts)
    losses = SequenceLosses(np.arange(400), sums + draw.normal(0.5, 2, 400), counts)

    interval = difference_interval(losses, other)

    assert interval is not None
    # Of the mean of 400 differences with a deviation of 2, per event of which each has 5.
    width = 2 * 1.96 * 2 / np.sqrt(400) / 5
    assert interval[1] - interval[0] == pytest.approx(width, rel=0.15)
    assert difference_interval(other, other) == [0, 0]


def test_a_comparison_says_what_may_be_chance() -> None:
    rows = [
        {"model": "run 3 of shop", "loss": 1.25, "difference": 0.0, "interval": None},
        {"model": "run 1 of shop", "loss": 1.5, "difference": 0.25, "interval": [0.125, 0.375]},
        {"model": "run 2 of shop", "loss": 1.5, "difference": 0.25, "interval": [-0.125, 0.5]},
    ]
    found = {
        "split": "test",
        "num_events": 60,
        "num_sequences": 12,
        "models": rows,
        "configurations": {"dim_model": [32, 8, None]},
    }
    few = {**found, "num_sequences": 9, "models": [{**row, "interval": None} for row in rows]}

    head, _, best, sure, chance, _, differs = comparison_text(found).splitlines()

    assert head == "on the test split: 60 events of 12 sequences"
    assert best.split() == ["run", "3", "of", "shop", "1.250000"]
    assert sure.endswith("+0.250000  +0.125000 to +0.375000")
    assert chance.endswith("-0.125000 to +0.500000   may be chance")
    assert differs == "  dim_model: 32 | 8 | -"
    assert "cannot be said how far the differences are chance" in comparison_text(few)


def test_a_split_that_does_not_exist_is_refused_before_models_are_read() -> None:
    with pytest.raises(InputError, match="there is no split `tset`"):
        command(["a.onnx", "b.onnx"], "tset")


def test_a_few_sequences_have_no_interval() -> None:
    few = SequenceLosses(np.arange(9), np.arange(9.0), np.ones(9))

    assert difference_interval(few, few) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", (Path("configs/hyperparameter_search.yaml"), 5, None)),
        ("configs/a.yaml", (Path("configs/a.yaml"), None, None)),
        ("configs/a.yaml:12", (Path("configs/a.yaml"), 12, None)),
        ("models/a-best-3.onnx", (None, None, Path("models/a-best-3.onnx"))),
    ],
)
def test_a_model_is_named_by_study_run_or_file(text: str, expected: tuple[object, ...]) -> None:
    assert named(text) == expected
