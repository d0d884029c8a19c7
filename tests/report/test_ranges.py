"""Numbers of ranges in tables and figures: numbers, and axes of numbers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sequifier_hpo.report import charts, series
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.failures import what_failures_share
from sequifier_hpo.report.page import report_page
from sequifier_hpo.report.page_frame import PageAssets
from sequifier_hpo.report.parallel_chart import parallel_chart
from sequifier_hpo.report.tables import results_csv, run_records
from sequifier_hpo.study.importance import parameter_importances
from tests.report.conftest import MakeData, MakeRun
from tests.report.test_page import read

RATES = [10 ** -(1 + i * 0.3) for i in range(10)]


@pytest.fixture
def data(make_data: MakeData, make_run: MakeRun) -> ReportData:
    """Runs with a learning rate each; one in two has a weight decay, and losses go by the rate."""
    runs = []
    for i, rate in enumerate(RATES):
        labels: dict[str, Any] = {"rate": rate, "optimizer": f"{i % 2}: {'AB'[i % 2]}"}
        point: dict[str, Any] = {"rate": rate, "optimizer": {"name": "AB"[i % 2]}}
        if i % 2:
            labels["optimizer[1].weight_decay"] = i / 100
            point["optimizer"]["weight_decay"] = i / 100
        runs.append(
            make_run(i, 1.0 + i, labels=labels, point=point, logarithmic=frozenset({"rate"}))
        )
    return make_data(runs=runs, importances=parameter_importances(runs))


def test_each_is_a_column_of_numbers(data: ReportData) -> None:
    records = run_records("shop", data.runs)

    assert [record["rate"] for record in records] == RATES
    assert [record["optimizer[1].weight_decay"] for record in records[:2]] == ["", 0.01]
    assert [record["optimizer.weight_decay"] for record in records[:2]] == [None, 0.01]
    header, first, *_ = results_csv("shop", data.runs).splitlines()
    assert repr(RATES[0]) == first.split(",")[header.split(",").index("rate")]


def test_the_table_of_the_page_sorts_by_numbers(data: ReportData) -> None:
    text = read(report_page(data, PageAssets("", "", ""))).text["report-data"]
    table = json.loads(text)["table"]

    column = [row[table["columns"].index("rate")] for row in table["rows"]]
    assert column == [float(f"{rate:.6g}") for rate in RATES]


def test_a_slice_has_an_axis_of_numbers(data: ReportData) -> None:
    figures = dict(charts.slice_charts(data))

    rate, decay = figures["rate"], figures["optimizer[1].weight_decay"]
    assert rate["layout"]["yaxis"]["type"] == "log"
    assert decay["layout"]["yaxis"]["type"] == "linear"
    points, star = rate["data"]
    assert star["y"] == [0.1]
    assert points["y"] == [float(f"{rate:.6g}") for rate in RATES[1:]]
    assert len(decay["data"][0]["y"]) == 5, "the others have none"
    assert [trace["name"] for trace in decay["data"]] == ["run"], "nor has the best"


def test_parallel_axes_of_numbers_are_to_scale(data: ReportData) -> None:
    (rate,) = [axis for axis in series.parallel(data).axes if axis.parameter == "rate"]
    figure = parallel_chart(data)

    assert rate.span is not None
    assert rate.span.is_log
    assert [round(rate.span.share(r), 6) for r in RATES] == [round(1 - i / 9, 6) for i in range(10)]
    assert figure is not None
    texts = {a["text"]: a["y"] for a in figure["layout"]["annotations"]}
    assert texts["0.1"] > texts["0.00447"] > texts["0.0002"]
    json.dumps(figure, allow_nan=False)


def test_a_number_that_decides_is_important(data: ReportData) -> None:
    importances = data.importances

    assert set(importances) == {"rate", "optimizer"}, "not every run has a weight decay"
    assert importances["rate"] > 0.5
    twenty = [replace(run, number=10 * k + run.number) for k in range(2) for run in data.runs]
    page = report_page(replace(data, runs=twenty), PageAssets("", "", ""))
    assert "since only some runs have it: optimizer[1].weight_decay." in page


def test_failures_beyond_a_number_are_put_so(data: ReportData, make_run: MakeRun) -> None:
    failed = [
        make_run(20 + i, None, labels={"rate": rate, "optimizer": "0: A"}, point={"rate": rate})
        for i, rate in enumerate((0.5, 0.7))
    ]

    (line,) = what_failures_share([*data.runs, *failed], {20, 21}, {"rate"})

    assert line == "2 of 2 failed at rate>=0.5 (0 of 10 elsewhere)"
