"""What is drawn: order, caps, ranges and lanes."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequifier_hpo.records import RunState
from sequifier_hpo.report import series
from tests.report.conftest import START, MakeData, MakeRun


def test_history_is_in_the_order_in_which_runs_ended(
    make_data: MakeData, make_run: MakeRun
) -> None:
    late = make_run(0, 1.0, ended=START + timedelta(minutes=9))
    early = make_run(1, 2.0)

    found = series.history(make_data(runs=[late, early]))

    assert [run.number for run in found.runs] == [1, 0]
    assert found.best_so_far == [2.0, 1.0]


def test_runs_that_failed_and_duplicates_have_no_place_in_the_history(
    make_data: MakeData, make_run: MakeRun
) -> None:
    runs = [make_run(0, 1.0), make_run(1), make_run(2, 1.0, duplicate_of=0)]

    found = series.history(make_data(runs=runs))

    assert [run.number for run in found.runs] == [0]


def test_the_best_runs_survive_every_cap(make_data: MakeData) -> None:
    data = make_data(series.MAX_CURVES + 500)

    drawn = {curve.run.number for curve in series.curves(data)}

    ranked = sorted(data.runs, key=lambda run: (series.loss_of(run), run.number))
    assert {run.number for run in ranked[:50]} <= drawn
    assert len(drawn) == series.MAX_CURVES


def test_a_long_curve_keeps_its_best_and_its_last_epoch(
    make_data: MakeData, make_run: MakeRun
) -> None:
    losses = {epoch: 2.0 - (epoch == 777) for epoch in range(1, 1001)}
    (curve,) = series.curves(make_data(runs=[make_run(0, 1.0, losses=losses)]))

    assert len(curve.epochs) <= series.MAX_EPOCHS
    assert {777, 1000} <= set(curve.epochs)


def test_the_curves_of_many_long_runs_are_all_drawn_with_fewer_points(
    make_data: MakeData, make_run: MakeRun
) -> None:
    losses = {epoch: 1.0 + 1 / epoch for epoch in range(1, 101)}
    runs = [make_run(number, 1.01, losses=losses) for number in range(2000)]

    drawn = series.curves(make_data(runs=runs))

    assert len(drawn) == len(runs)
    assert sum(len(curve.epochs) for curve in drawn[1:]) <= series.MAX_CURVE_POINTS
    assert len(drawn[0].epochs) == 100
    assert all(curve.epochs[-1] == 100 for curve in drawn)


def test_slices_list_values_in_the_order_of_the_search_file(
    make_data: MakeData, make_run: MakeRun
) -> None:
    labels = [f"{i}: {value}" for i, value in enumerate(["z", "y", "x", *"abcdefgh"])]
    runs = [make_run(i, 1.0 + i, labels={"name": label}) for i, label in enumerate(labels)]

    (found,) = series.slices(make_data(runs=runs[::-1]))

    assert isinstance(found, series.Slice)
    assert [choice.text for choice in found.choices] == ["z", "y", "x", *"abcdefgh"]


def test_the_most_important_parameter_comes_first(make_data: MakeData) -> None:
    data = make_data(importances={"dropout": 0.9, "model_backbone": 0.1})

    assert [found.parameter for found in series.slices(data)] == ["dropout", "model_backbone"]


def test_a_parameter_that_never_varied_is_not_drawn(make_data: MakeData, make_run: MakeRun) -> None:
    runs = [make_run(i, 1.0, labels={"fixed": "0: a", "free": f"{i}: b"}) for i in range(2)]

    assert [axis.parameter for axis in series.parallel(make_data(runs=runs)).axes] == ["free"]


def test_runs_at_the_same_time_lie_on_different_lanes(make_data: MakeData) -> None:
    bars = series.timeline(make_data(8))

    assert sorted({bar.lane for bar in bars}) == [0, 1]
    for one in bars:
        for other in bars:
            if one is not other and one.lane == other.lane:
                assert one.end <= other.start or other.end <= one.start


def test_a_running_run_lasts_until_now(make_data: MakeData, make_run: MakeRun) -> None:
    run = make_run(0, state=RunState.RUNNING, ended=None)

    (bar,) = series.timeline(make_data(runs=[run]))

    assert bar.end == 3600


def test_a_hopeless_run_does_not_stretch_the_axis() -> None:
    losses = [1.0 + i / 100 for i in range(50)]

    found = series.loss_range([*losses, 1000.0])

    assert found is not None
    assert found[0] < 1.0
    assert 1.4 < found[1] < 3


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40))
def test_an_axis_always_shows_the_best_loss(losses: list[float]) -> None:
    found = series.loss_range(losses)

    assert found is not None
    assert found[0] < found[1]
    assert found[0] <= min(losses) <= found[1]


@pytest.mark.parametrize("values", [[2.0], [1.0, 3.0], [5.0, 1.0, 3.0, 2.0, 4.0]])
def test_five_numbers_are_in_order_and_end_at_the_extremes(values: list[float]) -> None:
    found = series.five_numbers(values)

    assert list(found) == sorted(found)
    assert (found[0], found[4]) == (min(values), max(values))


def test_an_even_sample_of_few_is_all_of_them(make_data: MakeData) -> None:
    runs = list(make_data(5).runs)

    assert series.sample(runs, 10) == runs


def test_the_losses_of_an_unfinished_run_are_drawn(make_data: MakeData, make_run: MakeRun) -> None:
    run = replace(make_run(0), state=RunState.RUNNING, losses={1: 2.0, 2: float("nan")})

    (curve,) = series.curves(make_data(runs=[run]))

    assert (curve.epochs, curve.losses) == ([1], [2.0])
