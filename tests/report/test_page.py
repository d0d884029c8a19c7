"""The report: one file, sound at every size, safe with any text, the same for the same study."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]
import pytest
from pydantic import ValidationError

from sequifier_hpo.records import Baseline, RunState
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.page import report_page
from sequifier_hpo.report.page_frame import PageAssets, read_assets
from tests.browser import DARK, LIGHT, load_page, needs_chromium
from tests.report.conftest import MakeData, MakeRun

ASSETS = PageAssets(css="/* css */", js="/* js */", plotly_js="/* plotly */")
EVIL = "</script><img src=x onerror=alert(1)>\"'&<b>"


class Reader(HTMLParser):
    """What a browser makes of the tags: their attributes, and whether they are closed in order."""

    VOID = frozenset({"meta", "input", "link", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: dict[str, str] = {}
        self._id: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._id = dict(attrs).get("id")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._id = None

    def handle_data(self, data: str) -> None:
        if self._id:
            self.text[self._id] = self.text.get(self._id, "") + data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


@contextmanager
def served(pages: list[str]) -> Iterator[str]:
    """The address of a page that is another one at each request; the last one stays."""
    left = list(pages)

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(HTTPStatus.OK if self.path == "/" else HTTPStatus.NO_CONTENT)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            if self.path == "/":
                self.wfile.write((left.pop(0) if len(left) > 1 else left[0]).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def payload(data: ReportData) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(read(report_page(data, ASSETS)).text["report-data"])
    return content


def in_colours(value: Any) -> Any:
    """A figure as the page's script completes it: tokens replaced by colours."""
    if isinstance(value, str):
        return "#123456" if re.fullmatch(r"@\w+", value) else value
    if isinstance(value, list):
        return [in_colours(part) for part in value]
    if isinstance(value, dict):
        return {key: in_colours(part) for key, part in value.items()}
    return value


@pytest.mark.parametrize("num_runs", [0, 1, 2, 8, 2000])
def test_every_figure_is_one_that_plotly_accepts(make_data: MakeData, num_runs: int) -> None:
    data = make_data(num_runs, importances={"dropout": 0.7} if num_runs > 20 else {})

    figures = in_colours(payload(data)["charts"])

    for figure in figures.values():
        go.Figure(data=figure["data"], layout=figure["layout"])
    assert ("history" in figures) == (num_runs > 0)
    assert ("importance" in figures) == (num_runs > 20)
    assert ("parallel" in figures) == (num_runs > 1)


def test_every_chart_has_its_place_in_the_page(make_data: MakeData) -> None:
    page = report_page(make_data(30, importances={"dropout": 1.0}), ASSETS)
    reader = read(page)

    ids = [attributes.get("id") for _, attributes in reader.tags]

    assert set(json.loads(reader.text["report-data"])["charts"]) <= set(ids)
    assert len([i for i in ids if i]) == len({i for i in ids if i})


def test_the_page_needs_no_network(make_data: MakeData) -> None:
    reader = read(report_page(make_data(), read_assets()))

    for tag, attributes in reader.tags:
        assert not {"src", "href", "srcset"} & set(attributes), tag
    policy = next(a["content"] for _, a in reader.tags if "http-equiv" in a)
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "form-action 'none'" in policy
    assert "http" not in policy


def test_text_of_the_user_stays_text(make_data: MakeData, make_run: MakeRun) -> None:
    runs = [
        make_run(i, 1.0 + i, labels={EVIL: f"{i}: {EVIL}"}, attributes={"explanation": EVIL})
        for i in range(3)
    ]
    data = make_data(runs=[*runs, make_run(3, reason=EVIL)], study_name=EVIL, best_yaml=EVIL)

    reader = read(report_page(data, ASSETS))

    assert not any(tag in {"img", "b"} for tag, _ in reader.tags)
    assert reader.text["best-yaml"] == EVIL
    content = json.loads(reader.text["report-data"])
    assert content["table"]["columns"][4] == EVIL
    drawn = json.dumps(content["charts"])
    assert "<img" not in drawn


def test_the_page_shows_what_was_won_over_a_trivial_predictor(make_data: MakeData) -> None:
    page = report_page(make_data(), ASSETS)

    assert "trivial: class frequencies" in page
    assert "60.0% lower" in page  # 1.0 against 2.5


def test_the_page_warns_when_no_run_is_better_than_a_trivial_predictor(
    make_data: MakeData,
) -> None:
    better = (Baseline(name="class frequencies", loss=2.5), Baseline(name="last value", loss=0.9))

    assert "No run beats" not in report_page(make_data(), ASSETS)
    assert "No run beats the trivial predictor (last value)" in report_page(
        make_data(baselines=better), ASSETS
    )


def test_importances_are_not_shown_for_a_handful_of_runs(make_data: MakeData) -> None:
    page = report_page(make_data(8), ASSETS)

    assert "from 20 runs on" in page


def test_the_page_says_when_a_run_lies_outside_its_chart(
    make_data: MakeData, make_run: MakeRun
) -> None:
    usual = [make_run(i, 1.0 + i / 100) for i in range(20)]

    assert "lie outside" not in report_page(make_data(runs=usual), ASSETS)
    assert "lie outside" in report_page(make_data(runs=[*usual, make_run(20, 99.0)]), ASSETS)
    # A baseline beside it widens the axis: the run is in the picture.
    close = (Baseline(name="mean", loss=1.5),)
    seen = make_data(runs=[*usual, make_run(20, 1.49)], baselines=close)
    assert "lie outside" not in report_page(seen, ASSETS)


def test_a_handful_of_runs_is_shown_whole_and_counted_in_whole_numbers(
    make_data: MakeData, make_run: MakeRun
) -> None:
    steep = {1: 9.0, 2: 1.2, 3: 1.1, 4: 1.0, 5: 0.99, 6: 0.98}
    data = make_data(runs=[make_run(0, 0.98, losses=steep)])

    charts = payload(data)["charts"]

    low, high = charts["curves"]["layout"]["yaxis"]["range"]
    assert low < 0.98
    assert high > 9.0
    assert charts["history"]["layout"]["xaxis"]["dtick"] == 1
    assert charts["curves"]["layout"]["xaxis"]["dtick"] == 1


def test_the_page_says_that_first_epochs_of_many_curves_may_be_outside(
    make_data: MakeData,
) -> None:
    hint = "The first epochs may lie above the picture"

    assert hint not in report_page(make_data(3), ASSETS)
    assert hint in report_page(make_data(4), ASSETS)


def test_equal_studies_give_equal_pages(make_data: MakeData) -> None:
    assert report_page(make_data(300), ASSETS) == report_page(make_data(300), ASSETS)


def test_a_long_value_is_broken_where_its_name_ends(make_data: MakeData, make_run: MakeRun) -> None:
    labels = [f"{i}: epochs={i} scheduler=CosineAnnealingLR" for i in range(2)]
    runs = [make_run(i, 1.0 + i, labels={"x": labels[i], "y": f"{i}: {i}"}) for i in range(2)]

    annotations = payload(make_data(runs=runs))["charts"]["parallel"]["layout"]["annotations"]

    assert "epochs=0<br>scheduler=<br>CosineAnnealingLR" in [a["text"] for a in annotations]


def test_a_single_curve_is_named_too(make_data: MakeData) -> None:
    charts = payload(make_data(1))["charts"]

    assert charts["curves"]["layout"]["showlegend"]
    assert charts["timeline"]["layout"]["showlegend"]


def test_a_run_of_one_epoch_is_seen_among_longer_ones(
    make_data: MakeData, make_run: MakeRun
) -> None:
    runs = [make_run(0, 1.0), make_run(1, 1.5), make_run(2, 1.6, losses={1: 1.6})]

    traces = payload(make_data(runs=runs))["charts"]["curves"]["data"]

    (worse,) = [trace for trace in traces if trace["name"] == "worse half"]
    sizes = dict(zip(worse["customdata"], worse["marker"]["size"], strict=True))
    assert sizes[1] == 0
    assert sizes[2] > 0


def test_the_bar_of_a_run_that_was_continued_is_hatched_and_explained(
    make_data: MakeData, make_run: MakeRun
) -> None:
    plain = make_data(runs=[make_run(0, 1.0), make_run(1, 1.5)])
    continued = make_data(runs=[make_run(0, 1.0), make_run(1, 1.5, num_trials=2)])

    (complete,) = [
        trace
        for trace in payload(continued)["charts"]["timeline"]["data"]
        if trace["name"] == "complete"
    ]

    assert complete["marker"]["pattern"]["shape"] == ["/"]
    assert "Hatched" in report_page(continued, ASSETS)
    assert "Hatched" not in report_page(plain, ASSETS)


def test_the_best_run_is_a_star_and_not_a_point_beside_it(make_data: MakeData) -> None:
    _, dots, star = payload(make_data(8))["charts"]["slice-0"]["data"]

    assert star["name"] == "best: run 0"
    assert not any(text.startswith("run 0:") for text in dots["text"])


def test_parameters_are_called_as_in_the_search_file(make_data: MakeData) -> None:
    page = report_page(make_data(4), ASSETS)

    assert "<dt>model_backbone</dt>" in page
    assert "<figcaption>model_backbone</figcaption>" in page
    assert "model_backbone" in payload(make_data(4))["table"]["columns"]


def test_the_table_holds_every_run_in_full_precision(
    make_data: MakeData, make_run: MakeRun
) -> None:
    runs = [make_run(0, 1 / 3), make_run(1), make_run(2, 0.1), make_run(3, 1 / 3, duplicate_of=0)]

    table = payload(make_data(runs=runs))["table"]

    assert [row[1] for row in table["rows"]] == [2, 0, 3, 1]
    assert table["rows"][1][3] == 1 / 3
    assert [row[-1] for row in table["rows"]] == ["", "", "same as run 0", "diverged"]


def test_bookkeeping_and_owners_stay_out_of_the_page(
    make_data: MakeData, make_run: MakeRun
) -> None:
    run = make_run(0, 1.0, attributes={"owner": '{"host": "my-machine"}', "seconds": 1.0})

    assert "my-machine" not in report_page(make_data(runs=[run]), ASSETS)


def test_a_loss_that_is_no_number_does_not_break_the_data(
    make_data: MakeData, make_run: MakeRun
) -> None:
    run = make_run(0, 1.0, attributes={"validation_loss_all_positions": float("nan")})

    found = payload(make_data(runs=[run]))

    assert any("all positions" in str(name) for name in found["table"]["columns"])
    json.dumps(found, allow_nan=False)  # a browser knows no NaN


def test_a_study_of_2000_runs_adds_less_than_four_megabytes(make_data: MakeData) -> None:
    assert len(report_page(make_data(2000), ASSETS)) < 4_000_000


def test_the_head_says_why_runs_failed(make_data: MakeData, make_run: MakeRun) -> None:
    one_reason = [make_run(0, 1.0), make_run(1), make_run(2)]
    several = [*one_reason, make_run(3, reason="out_of_memory")]

    assert "2 failed (diverged)" in report_page(make_data(runs=one_reason), ASSETS)
    assert "3 failed (diverged: 2, out of memory: 1)" in report_page(
        make_data(runs=several), ASSETS
    )


def test_a_running_study_says_so(make_data: MakeData, make_run: MakeRun) -> None:
    running = replace(make_run(0), state=RunState.RUNNING, ended=None)

    assert "still running" in report_page(make_data(runs=[running]), ASSETS)


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize(
    ("theme", "colour_of_text"), [(LIGHT, "rgb(28, 32, 36)"), (DARK, "rgb(232, 234, 237)")]
)
def test_a_browser_draws_all_charts_and_the_table_without_a_complaint(
    make_data: MakeData, tmp_path: Path, theme: str, colour_of_text: str
) -> None:
    page = tmp_path / "report.html"
    page.write_text(report_page(make_data(30, importances={"dropout": 1.0}), read_assets()))

    loaded = load_page(page.as_uri(), tmp_path, theme)

    assert loaded.complaints == []
    assert 'data-ready="yes"' in loaded.document
    assert loaded.document.count('class="main-svg"') >= 5
    assert f"fill: {colour_of_text}" in loaded.document
    assert loaded.document.count("<tr") == 31
    # Of plotly's buttons, none that sends anything anywhere.
    assert 'data-title="Download plot as a PNG"' in loaded.document
    assert 'data-title="Share' not in loaded.document


@pytest.mark.slow
@needs_chromium
def test_the_page_of_a_search_that_runs_reloads_itself(make_data: MakeData, tmp_path: Path) -> None:
    pages = [make_data(8, is_rewritten=True), make_data(9)]
    with served([report_page(data, read_assets()) for data in pages]) as address:
        loaded = load_page(address, tmp_path, "--virtual-time-budget=60000")

    assert "9 of 9" in loaded.document
    assert loaded.complaints == []


def test_the_loss_over_all_positions_is_a_column_where_a_study_has_it(
    make_data: MakeData, make_run: MakeRun
) -> None:
    measured = {"validation_loss_all_positions": 1.5, "best_epoch": 3}
    usual = make_data(4)
    counted = make_data(runs=[*usual.runs, make_run(4, 0.25, attributes=measured)])

    columns = payload(usual)["table"]["columns"]
    table = payload(counted)["table"]

    heading = "validation loss over all positions"
    assert heading not in columns
    place = table["columns"].index(heading)
    assert [row[place] for row in table["rows"]] == [1.5, None, None, None, None]


def test_no_text_of_a_study_is_markup_in_a_figure(make_run: MakeRun, make_data: MakeData) -> None:
    link = "<a href='https://example.org'>x</a>"
    runs = [
        make_run(
            number,
            1.0 + number / 100,
            labels={
                f"p {link}": f"{number % 2}: {number % 2} {link}",
                "q": f"{number % 3}: {link}",
            },
            attributes={"explanation": link, "oom_retries": 1, "effective_batch_size": 8},
            num_trials=2,
        )
        for number in range(24)
    ]
    runs.append(make_run(24, reason=link, attributes={"explanation": link}))
    data = make_data(runs=runs, baselines=(Baseline(name=link, loss=1.1),), importances={link: 1.0})

    charts = payload(data)["charts"]

    assert {"history", "curves", "parallel", "timeline", "importance", "slice-0"} <= charts.keys()
    assert "<a" not in json.dumps(charts)
    assert "&lt;a" in json.dumps(charts)


def test_a_figure_that_is_no_number_is_refused_before_it_is_drawn(make_run: MakeRun) -> None:
    with pytest.raises(ValidationError):
        _ = make_run(0, 1.0, attributes={"effective_batch_size": "<a href='x'>8</a>"}).figures
