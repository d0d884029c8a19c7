"""Trivial predictors: their losses, computed again in another way, and how good they are."""

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import Counted
from sequifier_hpo.training import baselines, class_frequencies
from sequifier_hpo.training.baselines import compute_baselines
from sequifier_hpo.training.class_frequencies import frequencies, frequencies_after
from sequifier_hpo.training.data.windows import SplitWindows, TrainingData
from tests.training.conftest import N_CLASSES, pad

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]
Floats = NDArray[np.float64]

AFTER = "class frequencies after the last value"


def losses(
    config: TrainConfig, data: TrainingData, last_positions: int | None = None
) -> dict[str, float]:
    found = compute_baselines(
        config, data, Counted(last_positions=last_positions), should_stop=lambda: False
    )
    return {baseline.name: baseline.loss for baseline in found}


def events(
    split: SplitWindows,
    column: str,
    config: TrainConfig,
    last_positions: int | None = None,
    rows: range | None = None,
) -> tuple[Any, Any]:
    """The values before, and at, the positions that count, one position after the other."""
    values = split.columns[column].values.numpy()
    everything = [stored.values.numpy() for stored in split.columns.values()]
    num_items = split.window_length + 1
    before, at = [], []
    for row in range(split.num_windows) if rows is None else rows:
        for item in range(num_items - (last_positions or config.seq_length), num_items):
            if any(array[row, : item + 1].any() for array in everything):
                before.append(values[row, item - 1])
                at.append(values[row, item])
    return np.array(before), np.array(at)


def unigram(ids: Any, num_classes: int) -> Floats:
    counts = np.bincount(ids, minlength=num_classes) + 1.0
    return np.asarray(counts / counts.sum())


@pytest.mark.parametrize("last_positions", [None, 2])
def test_class_frequencies_are_those_of_training_at_the_positions_that_count(
    make_config: Config, make_data: Data, last_positions: int | None
) -> None:
    config, data = make_config(seq_length=4), make_data(window_length=7, change=pad)
    _, seen = events(data.training, "cat1", config, data.training.window_length)
    _, asked = events(data.validation, "cat1", config, last_positions)

    found = losses(config, data, last_positions)

    expected = -np.log(unigram(seen, N_CLASSES["cat1"])[asked]).mean()
    assert found["class frequencies"] == pytest.approx(expected, rel=1e-5)


def test_runs_with_other_window_lengths_have_the_same_baselines(
    make_config: Config, make_data: Data
) -> None:
    data = make_data(window_length=7, change=pad)

    short, long = (losses(make_config(seq_length=n), data, last_positions=3) for n in (3, 7))

    assert short == long


@pytest.mark.parametrize("criterion", ["CrossEntropyLoss", "NLLLoss"])
def test_class_weights_weigh_the_loss_and_the_frequencies_that_make_it_smallest(
    make_config: Config, make_data: Data, criterion: str
) -> None:
    weights = [0.0, 2.0, 1.0, 0.5, 0.0, 1.0, 3.0]
    config = make_config(class_weights={"cat1": weights}, criterion={"cat1": criterion})
    data = make_data(change=pad)
    _, seen = events(data.training, "cat1", config)
    _, asked = events(data.validation, "cat1", config)

    found = losses(config, data)

    best = unigram(seen, N_CLASSES["cat1"]) * weights
    best /= best.sum()
    chosen = np.array(weights)[asked] > 0
    logs = np.log(best[asked[chosen]])
    expected = -(np.array(weights)[asked[chosen]] * logs).sum() / len(asked)
    assert found["class frequencies"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("num_windows", "num_learned"), [(50, 40), (49, 40), (6, 4), (1, 1)])
def test_the_frequencies_after_the_last_value_are_smoothed_on_the_last_fifth_of_the_windows(
    make_config: Config, make_data: Data, num_windows: int, num_learned: int
) -> None:
    config, data = make_config(), make_data(num_training=num_windows)
    tables = torch.zeros(2, N_CLASSES["cat1"], N_CLASSES["cat1"], dtype=torch.int64)
    for row in range(num_windows):
        pair = events(data.training, "cat1", config, rows=range(row, row + 1))
        for last, value in zip(*pair, strict=True):
            tables[int(row >= num_learned), last, value] += 1
    expected = frequencies_after(*tables, most_often=5).numpy()
    before, asked = events(data.validation, "cat1", config)

    found = losses(config, data)

    assert found[AFTER] == pytest.approx(-np.log(expected[before, asked]).mean(), rel=1e-5)


def test_the_last_value_of_classes_stays_or_is_as_good_as_forgotten(
    make_config: Config, make_data: Data
) -> None:
    def stay(values: dict[str, Any]) -> None:
        values["cat1"][:, 1::2] = values["cat1"][:, :-1:2]
        pad(values)

    config, data = make_config(), make_data(change=stay)
    last, seen = events(data.training, "cat1", config)
    before, asked = events(data.validation, "cat1", config)
    staying = (np.count_nonzero(last == seen) + 1) / (len(seen) + 2)
    often = unigram(seen, N_CLASSES["cat1"])

    found = losses(config, data)

    elsewhere = (1 - staying) * often[asked] / (1 - often[before])
    expected = -np.log(np.where(before == asked, staying, elsewhere)).mean()
    assert list(found) == ["class frequencies", AFTER, "last value"]
    assert found["last value"] == pytest.approx(expected, rel=1e-5)


def test_classes_that_do_not_stay_have_no_predictor_that_says_so(
    make_config: Config, make_data: Data
) -> None:
    assert list(losses(make_config(), make_data())) == ["class frequencies", AFTER]


@pytest.mark.parametrize("last_positions", [None, 1])
@pytest.mark.parametrize(
    ("criterion", "loss"),
    [
        ("MSELoss", lambda error: error**2),
        ("L1Loss", np.abs),
        ("HuberLoss", lambda e: np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5)),
        ("SmoothL1Loss", lambda e: np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5)),
    ],
)
def test_numbers_have_their_mean_and_their_last_value(
    make_config: Config,
    make_data: Data,
    criterion: str,
    loss: Callable[[Floats], Floats],
    last_positions: int | None,
) -> None:
    config = make_config(
        input_columns=["cat1"], target_columns=["val1"], criterion={"val1": criterion}
    )
    data = make_data(change=pad)
    _, seen = events(data.training, "val1", config)
    before, asked = events(data.validation, "val1", config, last_positions)

    found = losses(config, data, last_positions)

    assert list(found) == ["mean", "last value"]
    assert found["mean"] == pytest.approx(loss(asked - seen.mean()).mean(), rel=1e-5)
    assert found["last value"] == pytest.approx(loss(asked - before).mean(), rel=1e-5)


def test_targets_are_added_up_as_the_loss_does(make_config: Config, make_data: Data) -> None:
    data, weights = make_data(change=pad), {"val1": 2.0, "cat1": 0.5}
    apart = {
        target: losses(make_config(target_columns=[target]), data) for target in ("cat1", "val1")
    }

    found = losses(make_config(target_columns=["val1", "cat1"], loss_weights=weights), data)

    assert found == pytest.approx(
        {
            "class frequencies and mean": 0.5 * apart["cat1"]["class frequencies"]
            + 2 * apart["val1"]["mean"],
            f"{AFTER} and last value": 0.5 * apart["cat1"][AFTER] + 2 * apart["val1"]["last value"],
        }
    )


@pytest.mark.parametrize(
    ("target", "criterion"),
    [("cat1", "MultiMarginLoss"), ("val1", "PoissonNLLLoss"), ("val1", "BCEWithLogitsLoss")],
)
def test_a_criterion_that_no_such_predictor_serves_has_none(
    make_config: Config, make_data: Data, target: str, criterion: str
) -> None:
    config = make_config(target_columns=[target], criterion={target: criterion})

    assert losses(config, make_data()) == {}


def test_with_too_many_classes_for_a_table_of_pairs_the_others_remain(
    make_config: Config, make_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = make_config(), make_data(change=pad)
    usual = losses(config, data)
    monkeypatch.setattr(baselines, "_MOST_PAIRS", 48)

    assert losses(config, data) == {"class frequencies": usual["class frequencies"]}


def test_what_would_take_minutes_is_left_out(
    make_config: Config, make_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "_MOST_SCORES", 100)

    assert losses(make_config(), make_data()) == {}


def test_judging_in_small_pieces_changes_nothing(
    make_config: Config, make_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = make_config(target_columns=["cat1", "val1"]), make_data(50, change=pad)
    at_once = losses(config, data)
    monkeypatch.setattr(baselines, "_POSITIONS_AT_ONCE", 10)
    monkeypatch.setattr(baselines, "_SCORES_AT_ONCE", 15)

    assert losses(config, data) == pytest.approx(at_once, rel=1e-6)


def test_a_sample_of_a_large_split_is_enough_to_learn_from(
    make_config: Config, make_data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, data = make_config(), make_data(num_training=44)
    _, seen = events(data.training, "cat1", config)
    monkeypatch.setattr(baselines, "_LEARNED_POSITIONS", 80)  # of 220: every third window

    found = losses(config, data)

    seen = seen.reshape(44, 5)[::3].reshape(-1)
    _, asked = events(data.validation, "cat1", config)
    expected = -np.log(unigram(seen, N_CLASSES["cat1"])[asked]).mean()
    assert found["class frequencies"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("answers", [0, 3, 5])
def test_a_stop_leaves_none(make_config: Config, make_data: Data, answers: int) -> None:
    asked = iter(range(100))

    found = compute_baselines(
        make_config(), make_data(), Counted(), should_stop=lambda: next(asked) >= answers
    )

    assert found == []


def test_a_single_training_window_is_enough(make_config: Config, make_data: Data) -> None:
    found = losses(make_config(), make_data(num_training=1))

    assert list(found) == ["class frequencies", AFTER]
    assert all(np.isfinite(loss) for loss in found.values())


def test_nothing_but_padding_has_none(make_config: Config, make_data: Data) -> None:
    data = make_data()
    data.validation.num_padding.fill_(6)

    assert losses(make_config(), data) == {}


# How good the frequencies are


def flights(num_classes: int, num_sequences: int, length: int, seed: int) -> NDArray[np.int64]:
    """Ids from 1: journeys among airports, each of which is connected to few, the large to more."""
    generator = np.random.default_rng(seed)
    size = np.arange(1, num_classes + 1) ** -0.9
    table = np.zeros((num_classes, num_classes))
    for here in range(num_classes):
        others = np.where(np.arange(num_classes) == here, 0, size)
        others /= others.sum()
        number = int(np.clip(3 + 60 * size[here], 3, num_classes - 1))
        chosen = generator.choice(num_classes, number, replace=False, p=others)
        table[here, chosen] = 0.97 * generator.dirichlet(np.full(number, 0.9))
        table[here] += 0.03 * others
    up_to = table.cumsum(1) / table.sum(1, keepdims=True)
    journeys = np.zeros((num_sequences, length), dtype=np.int64)
    journeys[:, 0] = generator.choice(num_classes, num_sequences, p=size / size.sum())
    for i in range(1, length):
        drawn = generator.random((num_sequences, 1))
        journeys[:, i] = np.minimum((up_to[journeys[:, i - 1]] < drawn).sum(1), num_classes - 1)
    return journeys + 1


def pairs(sequences: NDArray[np.int64], num_ids: int) -> Floats:
    table = np.zeros((num_ids, num_ids))
    np.add.at(table, (sequences[:, :-1].ravel(), sequences[:, 1:].ravel()), 1)
    return table


def in_two(sequences: NDArray[np.int64], num_ids: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs of the first four fifths, and of the last."""
    bound = len(sequences) * 4 // 5
    first, last = (torch.tensor(pairs(part, num_ids)) for part in np.split(sequences, [bound]))
    return first, last


def windows(sequences: NDArray[np.int64], length: int, stride: int) -> NDArray[np.int64]:
    laid = np.lib.stride_tricks.sliding_window_view(sequences, length + 1, axis=1)
    return laid[:, ::stride].reshape(-1, length + 1)


def loss_of(table: Floats, asked: Floats) -> float:
    found = asked > 0
    return float(-(asked[found] * np.log(table[found])).sum() / asked.sum())


@pytest.mark.parametrize("stride", [1, 16])
@pytest.mark.parametrize("num_sequences", [60, 200, 1000])
def test_frequencies_after_the_last_airport_beat_plain_counts(
    num_sequences: int, stride: int
) -> None:
    n = 106
    journeys = flights(105, num_sequences, 60, seed=0)
    learned, asked = windows(journeys[:, :44], 16, stride), pairs(journeys[:, 43:], n)
    counts = pairs(learned, n)
    events_once = pairs(journeys[:, :44], n)

    found = loss_of(frequencies_after(*in_two(learned, n), most_often=16).numpy(), asked)

    plain = [(c + 1) / (c.sum(1, keepdims=True) + n) for c in (counts, events_once)]
    overall = np.tile(frequencies(torch.tensor(counts.sum(0))).numpy(), (n, 1))
    of_old = (counts + overall) / (counts.sum(1, keepdims=True) + 1)
    others = [loss_of(table, asked) for table in (*plain, of_old, overall)]
    assert found < min(others)


def test_the_rows_of_the_table_are_probabilities() -> None:
    generator = torch.Generator().manual_seed(1)
    seen, held_out = torch.poisson(torch.full((2, 9, 9), 0.7), generator)
    seen[3] = held_out[3] = 0

    table = frequencies_after(seen, held_out, most_often=5)

    assert bool((table > 0).all())
    torch.testing.assert_close(table.sum(1), torch.ones(9, dtype=torch.float64))


@pytest.mark.parametrize("most_often", [0, 3])
def test_the_smoothing_is_that_under_which_the_held_out_events_are_most_probable(
    most_often: int,
) -> None:
    seen, held_out = in_two(flights(12, 25, 20, seed=2), 13)
    chosen = frequencies_after(seen, held_out, most_often=most_often)
    tried = {}

    for discount, strength, base_of in product(
        [d for d in class_frequencies._DISCOUNTS if d <= most_often],
        class_frequencies._STRENGTHS,
        (class_frequencies._of_all, class_frequencies._of_different_ones),
    ):
        found = smoothed(seen, discount, strength, base_of).numpy()
        tried[loss_of(found, held_out.numpy())] = smoothed(
            seen + held_out, discount, strength, base_of
        )

    torch.testing.assert_close(chosen, tried[min(tried)])


def smoothed(
    counts: torch.Tensor,
    discount: float,
    strength: float,
    base_of: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """One row after the other."""
    rows = []
    for row in counts:
        freed = strength + sum(min(float(count), discount) for count in row)
        kept = torch.tensor([max(float(count) - discount, 0.0) for count in row])
        rows.append((kept.double() + freed * base_of(counts)) / (row.sum() + strength))
    return torch.stack(rows)


def test_where_the_last_value_tells_nothing_the_frequencies_are_those_of_all_events() -> None:
    generator = np.random.default_rng(3)
    often = np.arange(1, 61) ** -1.2
    ids = generator.choice(60, (100, 41), p=often / often.sum())
    asked = pairs(generator.choice(60, (100, 41), p=often / often.sum()), 60)
    overall = np.tile(frequencies(torch.tensor(pairs(ids, 60)).sum(0)).numpy(), (60, 1))

    found = frequencies_after(*in_two(ids, 60), most_often=40).numpy()

    assert loss_of(found, asked) == pytest.approx(loss_of(overall, asked), rel=0.002)
