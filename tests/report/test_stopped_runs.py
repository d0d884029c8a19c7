"""Runs that were stopped early, in every table and figure: there, and never ranked."""

import csv
import json
import re
from typing import Any

from sequifier_hpo.cli.tables import pruned_lines
from sequifier_hpo.records import Run, RunState
from sequifier_hpo.report import series
from sequifier_hpo.report.charts import curves_chart, history_chart, slice_charts
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.leaderboard import leaderboard, progress
from sequifier_hpo.report.page import report_page
from sequifier_hpo.report.page_frame import PageAssets
from sequifier_hpo.report.rungs_chart import rungs_chart
from sequifier_hpo.report.tables import results_csv
from sequifier_hpo.report.timeline_chart import timeline_chart
from sequifier_hpo.study.importance import parameter_importances
from tests.report.conftest import MakeData, MakeRun


def stopped(make_run: MakeRun, number: int, *losses: float) -> Run:
    """A run that was stopped after the epochs with these losses."""
    return make_run(
        number,
        state=RunState.PRUNED,
        losses=dict(enumerate(losses, start=1)),
        stopped_at=len(losses),
        reason="",
        attributes={"epochs_run": len(losses), "best_epoch": 2},
    )


def data_of(make_run: MakeRun, make_data: MakeData) -> ReportData:
    """Four complete runs, one of which was finished in a last round, and three stopped ones."""
    complete = [make_run(k, 1.0 + k / 10) for k in range(3)]
    finished = make_run(3, 1.5, stopped_at=2, num_trials=2)
    # One was better when it was stopped than any that is complete: it is not ranked all the same.
    others = [
        stopped(make_run, 4, 2.0, 1.9),
        stopped(make_run, 5, 2.0, 0.9),
        stopped(make_run, 6, 2.0, 1.8, 1.7, 1.7),
    ]
    return make_data(runs=[*complete, finished, *others], num_runs=7)


def test_they_are_counted_apart_and_never_ranked(make_run: MakeRun, make_data: MakeData) -> None:
    data = data_of(make_run, make_data)

    done = progress(data.runs, 7)

    assert (done.num_complete, done.num_pruned, done.num_failed) == (4, 3, 0)
    assert done.is_over
    assert done.best is not None
    assert done.best.number == 0
    assert [run.number for run in leaderboard(data.runs)] == [0, 1, 2, 3]
    assert pruned_lines(data.runs) == [
        "3 runs stopped early, not ranked; the best of them is run 5, 0.900000 after epoch 2"
    ]


def test_a_loss_of_zero_is_the_best_of_them(make_run: MakeRun) -> None:
    runs = [stopped(make_run, 0, 1.0, 0.5), stopped(make_run, 1, 1.0, 0.0)]

    assert pruned_lines(runs) == [
        "2 runs stopped early, not ranked; the best of them is run 1, 0.000000 after epoch 2"
    ]


def test_the_table_has_their_best_loss_and_where_they_were_stopped(
    make_run: MakeRun, make_data: MakeData
) -> None:
    rows = list(csv.DictReader(results_csv("shop", data_of(make_run, make_data).runs).splitlines()))

    by_run = {row["run"]: row for row in rows}
    assert [by_run["5"][name] for name in ("rank", "state", "validation_loss")] == [
        "",
        "pruned",
        "",
    ]
    assert [by_run["5"][name] for name in ("best_loss", "stopped_at")] == ["0.9", "2"]
    assert [by_run["3"][name] for name in ("state", "stopped_at")] == ["complete", "2"]
    assert by_run["0"]["best_loss"] == by_run["0"]["validation_loss"]


def test_the_history_is_over_epochs_spent_and_counts_those_of_stopped_runs(
    make_run: MakeRun, make_data: MakeData
) -> None:
    data = data_of(make_run, make_data)

    found = series.history(data)
    chart = history_chart(data)

    assert found.num_epochs == 4 * 4 + 2 + 2 + 4
    assert found.places == [4, 8, 12, 16]
    assert found.places_of_stopped == [18, 20, 24]
    assert found.best_so_far == [1.0, 1.0, 1.0, 1.0]
    assert chart is not None
    trace = next(each for each in chart["data"] if each["name"] == "stopped early")
    assert trace["y"] == [1.9, 0.9, 1.7]
    assert "stopped after epoch 2: 0.9" in trace["text"][1]


def test_the_rungs_say_how_many_ended_where(make_run: MakeRun, make_data: MakeData) -> None:
    chart = rungs_chart(data_of(make_run, make_data))

    assert chart is not None
    counts = {
        trace["name"]: dict(zip(trace["y"], trace["x"], strict=True)) for trace in chart["data"]
    }
    assert counts == {
        "stopped early": {"after epoch 2": 2, "after epoch 4": 1},
        "finished in the end": {"after epoch 2": 1, "after epoch 4": 0},
        "never stopped": {"full length": 3},
    }
    assert rungs_chart(make_data(5)) is None


def test_curves_and_slices_show_them_as_what_they_are(
    make_run: MakeRun, make_data: MakeData
) -> None:
    data = data_of(make_run, make_data)

    curves = curves_chart(data)
    slices = dict(slice_charts(data))

    assert curves is not None
    trace = next(each for each in curves["data"] if each["name"] == "stopped early")
    assert {number for number in trace["customdata"] if number is not None} == {4, 5, 6}
    dots = slices["dropout"]["data"][1]
    assert dots["marker"]["symbol"].count("circle-open") == 3
    assert 0.9 in dots["x"]


def test_the_page_says_when_one_was_stopped_above_the_picture(
    make_run: MakeRun, make_data: MakeData
) -> None:
    complete = [make_run(k, 1.0 + k / 100) for k in range(8)]

    pages = [
        report_page(
            make_data(runs=[*complete, stopped(make_run, 8, loss)], baselines=()),
            PageAssets("", "", ""),
        )
        for loss in (1.05, 3.0)
    ]

    assert ["lie outside" in page for page in pages] == [False, True]


def test_the_page_says_where_each_was_stopped(make_run: MakeRun, make_data: MakeData) -> None:
    page = report_page(data_of(make_run, make_data), PageAssets("", "", ""))

    found = re.search(r'id="report-data">(.*?)</script>', page, re.S)
    assert found is not None
    table: dict[str, Any] = json.loads(found[1])["table"]
    remarks = {row[1]: row[-1] for row in table["rows"]}
    assert remarks[5] == "stopped after epoch 2, best loss 0.9"
    assert remarks[3] == "stopped after epoch 2, then given its full length"
    assert "Where runs ended" in page
    assert "3 stopped early" in page


def test_they_count_in_the_importances(make_run: MakeRun) -> None:
    good = [make_run(k, 1.0, labels={"a": "0: x", "b": f"{k % 2}: y"}) for k in range(12)]
    bad = [stopped(make_run, k, 3.0, 2.9) for k in range(12, 24)]
    bad = [
        Run(**{**vars(run), "labels": {"a": "1: z", "b": f"{run.number % 2}: y"}}) for run in bad
    ]

    found = parameter_importances([*good, *bad])

    assert found["a"] > 0.9


def test_the_timeline_has_a_colour_of_its_own_for_them(
    make_run: MakeRun, make_data: MakeData
) -> None:
    chart = timeline_chart(data_of(make_run, make_data))

    assert chart is not None
    assert "stopped early" in {trace["name"] for trace in chart["data"]}
