"""What the charts say at a glance: baselines in sight, failures and interruptions as such."""

import itertools
import json
import math
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sequifier_hpo.records import Baseline, DataDigest, RunState, SplitDigest
from sequifier_hpo.report.charts import curves_chart, history_chart, slice_charts
from sequifier_hpo.report.costs import SIZE, cost_chart, pareto_front
from sequifier_hpo.report.page import report_page
from sequifier_hpo.report.page_frame import PageAssets, read_assets
from sequifier_hpo.report.parallel_chart import parallel_chart
from sequifier_hpo.report.study_facts import facts_of_study
from sequifier_hpo.report.timeline_chart import timeline_chart
from sequifier_hpo.report.training_losses import training_losses
from tests.report.conftest import START, MakeData, MakeRun

COLOURS_SEEN: dict[str, list[list[float]]] = {
    # Linear RGB -> what is seen of it: Machado, Oliveira and Fernandes (2009), severity 1.
    "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
TO_XYZ = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
WHITE = [0.9505, 1.0, 1.089]


def lab(colour: str, seen: list[list[float]]) -> list[float]:
    """A colour in CIELAB, in which equal distances look about equal."""
    rgb = np.array([int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)])
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    x, y, z = np.cbrt(np.array(TO_XYZ) @ np.clip(np.array(seen) @ linear, 0, 1) / WHITE)
    return [float(116 * y - 16), float(500 * (x - y)), float(200 * (y - z))]


def trace(chart: Any, name: str) -> dict[str, Any]:
    """The trace whose name begins so."""
    (found,) = [each for each in chart["data"] if each["name"].startswith(name)]
    return dict(found)


@pytest.mark.parametrize("loss", [0.9, 1.5, 2.5])
def test_a_baseline_close_by_widens_the_axis(make_data: MakeData, loss: float) -> None:
    chart = history_chart(make_data(8, baselines=(Baseline(name="mean", loss=loss),)))

    assert chart is not None
    low, high = chart["layout"]["yaxis"]["range"]
    assert low < loss < high
    assert trace(chart, "trivial: mean")["y"] == [loss, loss]


@pytest.mark.parametrize(("loss", "where"), [(99.0, "above"), (-99.0, "below")])
def test_a_distant_baseline_is_at_the_edge_and_says_its_loss(
    make_data: MakeData, loss: float, where: str
) -> None:
    chart = history_chart(make_data(8, baselines=(Baseline(name="mean", loss=loss),)))

    assert chart is not None
    low, high = chart["layout"]["yaxis"]["range"]
    found = trace(chart, "trivial: mean")
    assert found["name"] == f"trivial: mean, {loss:g}: {where} the picture"
    assert low < found["y"][0] < high
    assert high - low < 3, "the runs are not flattened"


def test_a_value_at_which_all_runs_failed_is_there_and_says_so(
    make_data: MakeData, make_run: MakeRun
) -> None:
    rates = [{"rate": f"{i}: {rate}"} for i, rate in enumerate(("0.1", "1e+30"))]
    good = [make_run(i, 1.0 + i, labels=rates[0]) for i in range(7)]
    bad = [make_run(7 + i, labels=rates[1]) for i in range(8)]

    figure = dict(slice_charts(make_data(runs=[*good, *bad])))["rate"]

    usual, all_failed = figure["layout"]["yaxis"]["ticktext"]
    assert "failed" not in usual
    assert "<b>✕ 8 of 8 failed</b>: diverged" in all_failed
    failed, star = trace(figure, "failed"), trace(figure, "best")
    assert failed["text"][0] == "run 7 failed: diverged"
    _, high = figure["layout"]["xaxis"]["range"]
    assert max(trace(figure, "run")["x"]) < failed["x"][0] < high
    assert failed["marker"]["symbol"] != star["marker"]["symbol"]
    assert failed["marker"]["color"] != star["marker"]["color"]
    assert trace(figure, "middle half")["y"] == [0]


def test_numbers_of_a_range_at_which_runs_failed_are_there(
    make_data: MakeData, make_run: MakeRun
) -> None:
    good = [make_run(i, 1.0 + i, labels={"rate": 0.1 + i}) for i in range(3)]
    bad = [make_run(3, labels={"rate": 99.0})]

    figure = dict(slice_charts(make_data(runs=[*good, *bad])))["rate"]

    assert trace(figure, "failed")["y"] == [99.0]


def test_the_page_says_why_and_at_which_values_runs_failed(
    make_data: MakeData, make_run: MakeRun
) -> None:
    good = [make_run(i, 1.0 + i, labels={"r": "0: 1"}, point={"r": 1}) for i in range(7)]
    bad = [make_run(7 + i, labels={"r": "1: 2"}, point={"r": 2}) for i in range(8)]

    page = report_page(make_data(runs=[*good, *bad]), PageAssets("", "", ""))

    assert "8 runs failed: diverged<br>8 of 8 failed at r=2 (0 of 7 elsewhere)" in page
    assert 'class="failures"' not in report_page(make_data(runs=good), PageAssets("", "", ""))


def test_bars_of_failed_and_interrupted_runs_have_patterns_of_their_own(
    make_data: MakeData, make_run: MakeRun
) -> None:
    interrupted = make_run(2, state=RunState.INTERRUPTED, reason="interrupted")
    chart = timeline_chart(make_data(runs=[make_run(0, 1.0), make_run(1), interrupted]))

    assert chart is not None
    shapes = {each["name"]: each["marker"]["pattern"]["shape"] for each in chart["data"]}
    assert shapes == {"failed": ["x"], "interrupted": ["."], "best": [""]}


@pytest.mark.parametrize("blindness", COLOURS_SEEN)
@pytest.mark.parametrize("theme", [0, 1])
def test_best_failed_and_usual_runs_differ_in_colour_for_everybody(
    theme: int, blindness: str
) -> None:
    colours = {
        name: lab(found[theme], COLOURS_SEEN[blindness])
        for name in ("accent", "bad", "point")
        if (found := re.findall(rf"--{name}: #(\w{{6}})", read_assets().css))
    }

    assert len(colours) == 3
    for one, other in itertools.combinations(colours, 2):
        assert math.dist(colours[one], colours[other]) > 20, (one, other)


def test_training_losses_of_the_best_run_are_beside_its_validation_losses(
    make_data: MakeData, make_run: MakeRun, tmp_path: Path
) -> None:
    run, log = make_run(0, 1.0), tmp_path / "metrics.jsonl"
    events: list[dict[str, Any]] = [
        {"event": "batch", "epoch": 1, "train_loss": 7.0},
        {"event": "epoch", "epoch": 1, "train_loss": 1.4, "validation_loss": 1.5},
        {"event": "epoch", "epoch": 2, "train_loss": 0.4, "validation_loss": 9.9},
        {"event": "epoch", "epoch": 3, "train_loss": 0.8, "validation_loss": 1.0},
    ]
    log.write_text("\n".join([*map(json.dumps, events), '{"event": "epoch", "epo']))

    known = training_losses(log, run)
    chart = curves_chart(make_data(runs=[run], best_training_losses=known))

    assert known == {1: 1.4, 3: 0.8}, "the second is another run's"
    assert chart is not None
    assert trace(chart, "training of run 0")["y"] == [1.4, 0.8]
    assert chart["layout"]["yaxis"]["range"][0] < 0.8
    assert training_losses(tmp_path / "missing", run) == {}


def test_the_page_says_if_the_best_run_was_at_its_best_when_it_ended(
    make_data: MakeData, make_run: MakeRun
) -> None:
    pages = [
        report_page(
            make_data(runs=[make_run(0, 1.0, attributes={"best_epoch": 3, "epochs_run": last})]),
            PageAssets("", "", ""),
        )
        for last in (3, 4)
    ]

    said = "The best epoch of run 0 is its last, 3: train longer"
    assert [said in page for page in pages] == [True, False]


def test_curves_of_runs_without_a_result_are_told_apart(
    make_data: MakeData, make_run: MakeRun
) -> None:
    states = (RunState.FAILED, RunState.INTERRUPTED, RunState.RUNNING)
    runs = [make_run(i, state=state, losses={1: 1.0, 2: 2.0}) for i, state in enumerate(states)]

    chart = curves_chart(make_data(runs=runs))

    assert chart is not None
    lines = [trace(chart, state.value)["line"] for state in states]
    assert len({line["color"] for line in lines}) == len({line["dash"] for line in lines}) == 3


def test_the_time_of_a_search_leaves_out_its_rests(make_data: MakeData, make_run: MakeRun) -> None:
    begins = [START, START + timedelta(seconds=5), START + timedelta(days=1)]
    runs = [
        make_run(i, 1.0, started=begin, ended=begin + timedelta(seconds=10))
        for i, begin in enumerate(begins)
    ]

    assert "25 s" in report_page(make_data(runs=runs), PageAssets("", "", ""))


def test_trivial_predictors_are_told_apart_without_colours(make_data: MakeData) -> None:
    near = [Baseline(name=f"near {i}", loss=1.2 + i / 10) for i in range(2)]
    far = [Baseline(name=f"far {i}", loss=90.0 + i) for i in range(2)]

    chart = history_chart(make_data(baselines=[*near, *far]))

    assert chart is not None
    lines = [trace(chart, f"trivial: near {i}") for i in range(2)]
    assert len({line["line"]["dash"] for line in lines}) == 2
    marks = [trace(chart, f"trivial: far {i}") for i in range(2)]
    assert all(mark["mode"] == "markers" for mark in marks), "no line where the loss is not"
    assert len({mark["marker"]["symbol"] for mark in marks}) == 2
    assert len({mark["x"][0] for mark in marks}) == 2


def test_twelve_parallel_axes_fit_the_page(make_data: MakeData, make_run: MakeRun) -> None:
    runs = [make_run(i, 1.0, labels={f"p{k}": f"{i}: {i}" for k in range(12)}) for i in range(3)]

    chart = parallel_chart(make_data(runs=runs))

    assert chart is not None
    assert chart["width"] <= 1140


def test_the_front_of_sizes_holds_the_runs_to_take(make_data: MakeData, make_run: MakeRun) -> None:
    found = [(100, 2.0), (100, 1.9), (200, 1.95), (400, 1.0), (800, 1.5)]
    runs = [
        make_run(i, loss, attributes={"num_parameters": size})
        for i, (size, loss) in enumerate(found)
    ]
    data = make_data(runs=runs)

    chart = cost_chart(data, SIZE)
    page = report_page(data, PageAssets("", "", ""))

    assert [run.number for run in pareto_front(runs, SIZE)] == [1, 3]
    assert chart is not None
    assert trace(chart, "best at its size")["x"] == [100, 400]
    assert "run to take" in page
    assert "is measured by" in page
    assert cost_chart(make_data(runs=runs[:2]), SIZE) is None, "all have the same size"


def test_the_page_says_what_is_predicted_from_which_data(make_data: MakeData) -> None:
    split = SplitDigest(num_windows=1234, window_length=32, columns={})
    run_file = "model_name: x\ntraining_data_path: ./data/shop-split0.parquet\n"
    facts = facts_of_study(
        {"target_column_types": {"product": "categorical"}},
        DataDigest(training=split, validation=split),
        run_file,
    )

    page = report_page(make_data(facts=facts), PageAssets("", "", ""))

    assert "<dt>predicts</dt><dd>product (categorical)</dd>" in page
    assert "<dd>./data/shop-split0.parquet, 1,234 windows of 33 events</dd>" in page
    assert "<dt>validation</dt><dd>1,234 windows of 33 events</dd>" in page
    assert list(facts_of_study({}, None, None).splits()) == []
