"""How long models take for an event: kept beside the study, and compared on one machine only."""

import json
from pathlib import Path

import pytest

from sequifier_hpo.records import Run
from sequifier_hpo.report.costs import SIZE, TIME, cost_chart, milliseconds, to_take
from sequifier_hpo.report.latencies import (
    Latency,
    keep_latencies,
    read_latencies,
    with_latencies,
)
from sequifier_hpo.report.page import report_page
from sequifier_hpo.report.page_frame import PageAssets
from sequifier_hpo.report.tables import run_records
from tests.report.conftest import MakeData, MakeRun


def latency(loss: float, milliseconds: float = 0.5, machine: str = "one") -> Latency:
    return Latency(validation_loss=loss, milliseconds_per_event=milliseconds, measured_on=machine)


def times(runs: list[Run]) -> list[float | None]:
    return [run.figures.milliseconds_per_event for run in runs]


def test_what_is_kept_becomes_figures_of_the_runs_that_it_was_measured_of(
    tmp_path: Path, make_run: MakeRun
) -> None:
    runs = [make_run(0, 1.0), make_run(1, 2.0), make_run(2, 3.0)]
    keep_latencies(tmp_path, {0: latency(1.0), 1: latency(2.5), 7: latency(1.0)})

    found = list(with_latencies(tmp_path, runs))

    assert times(found) == [0.5, None, None], "run 1 has another loss by now"
    record = run_records("shop", found)[0]
    assert (record["milliseconds_per_event"], record["measured_on"]) == (0.5, "one")


def test_figures_of_another_machine_do_not_stand_beside_those_of_the_first(
    tmp_path: Path, make_run: MakeRun
) -> None:
    runs = [make_run(0, 1.0), make_run(1, 2.0), make_run(2, 3.0)]
    kept = {0: latency(1.0, 0.1, "two"), 1: latency(2.0), 2: latency(3.0)}
    keep_latencies(tmp_path, kept)

    assert times(list(with_latencies(tmp_path, runs))) == [None, 0.5, 0.5]
    assert read_latencies(tmp_path, runs) == kept, "they are measured again where they are"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"0": 3}',
        '{"0": {"validation_loss": 1.0}}',
    ],
)
def test_a_damaged_file_costs_only_its_figures(
    tmp_path: Path, make_run: MakeRun, content: str
) -> None:
    (tmp_path / "latencies.json").write_text(content)

    assert times(list(with_latencies(tmp_path, [make_run(0, 1.0)]))) == [None]


def priced(make_run: MakeRun, number: int, loss: float, size: int, time: float | None) -> Run:
    measured = {} if time is None else {"milliseconds_per_event": time, "measured_on": "<one>"}
    return make_run(number, loss, attributes={"num_parameters": size, **measured})


def test_the_run_to_take_is_the_first_that_the_budgets_allow(make_run: MakeRun) -> None:
    runs = [
        priced(make_run, 0, 1.0, 800, 0.8),
        priced(make_run, 1, 1.1, 900, 0.9),  # run 0 beats it in everything
        priced(make_run, 2, 1.2, 900, 0.2),  # larger, but faster
        priced(make_run, 3, 1.3, 100, 0.4),  # slower, but smaller
        priced(make_run, 4, 1.4, 100, 0.403),  # as fast as run 3, as far as can be measured
        priced(make_run, 5, 1.5, 50, None),
    ]

    assert [run.number for run in to_take(runs)] == [0, 2, 3, 5]


def test_the_page_shows_both_budgets_and_names_the_machine(
    make_data: MakeData, make_run: MakeRun
) -> None:
    data = make_data(
        runs=[
            priced(make_run, 0, 1.0, 800, 0.812),
            priced(make_run, 1, 1.5, 100, 0.0456),
            priced(make_run, 2, 2.0, 50, None),
        ]
    )

    page = report_page(data, PageAssets("", "", ""))

    for text in (
        "from one event to its prediction, the median on &lt;one&gt;.",
        "<td>0</td><td>1</td><td>800</td><td>0.81</td>",
        "<td>1</td><td>1.5</td><td>100</td><td>0.046</td>",
        "<td>2</td><td>2</td><td>50</td><td></td>",
        'id="time"',
        "ms per event",
    ):
        assert text in page
    assert "is measured by" not in page
    chart = cost_chart(data, TIME)
    assert chart is not None
    assert chart["layout"]["xaxis"]["type"] == "log"
    assert "tickformat" not in chart["layout"]["xaxis"]
    json.dumps(chart, allow_nan=False)


def test_the_whole_front_is_inside_the_picture(make_data: MakeData, make_run: MakeRun) -> None:
    runs = [priced(make_run, i, 1.0 + i / 1000, 1000 + i, None) for i in range(20)]
    cheap = priced(make_run, 20, 9.0, 10, None)

    chart = cost_chart(make_data(runs=[*runs, cheap]), SIZE)

    assert chart is not None
    assert chart["layout"]["yaxis"]["range"][1] > 9.0


def test_close_costs_have_an_axis_with_numbers_on_it(
    make_data: MakeData, make_run: MakeRun
) -> None:
    data = make_data(runs=[priced(make_run, i, 1.0 + i, 3000 + i, 0.11) for i in range(3)])

    chart = cost_chart(data, SIZE)

    assert chart is not None
    assert "type" not in chart["layout"]["xaxis"], "there is no round number on one of logarithms"
    assert cost_chart(data, TIME) is None, "all are as fast"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0456, "0.046"),
        (0.04, "0.040"),
        (0.999, "1.0"),
        (1.04, "1.0"),
        (12.3, "12"),
        (123.0, "120"),
    ],
)
def test_times_are_written_as_precisely_as_they_were_measured(value: float, text: str) -> None:
    assert milliseconds(value) == text
