"""The report's charts one by one: plotly takes them, and their colours are colours."""

from dataclasses import replace

import plotly.graph_objects as go  # type: ignore[import-untyped]

from sequifier_hpo.report.figures import light_colours, light_figures
from tests.report.conftest import MakeData, MakeRun
from tests.report.test_stopped_runs import data_of


def test_plotly_takes_every_chart(make_run: MakeRun, make_data: MakeData) -> None:
    few = data_of(make_run, make_data)
    many = replace(make_data(40), importances={"dropout": 0.7, "model_backbone": 0.3})

    sized = [make_run(i, 1.0 + i, attributes={"num_parameters": 9 + i}) for i in range(2)]

    parts = map(light_figures, (few, many, make_data(runs=sized)))
    drawn = {name: figure for part in parts for name, figure in part.items()}
    figures = {name: go.Figure(figure) for name, figure in drawn.items()}

    assert set(figures) == {
        *("history", "rungs", "curves", "importance", "size", "parallel", "timeline"),
        *("losses by dropout", "losses by model_backbone"),
    }
    assert '"@' not in "".join(figure.to_json() for figure in figures.values())


def test_a_text_of_the_user_that_looks_like_a_colour_stays(
    make_run: MakeRun, make_data: MakeData
) -> None:
    runs = [make_run(i, 1.0 + i, labels={"dropout": f"{i}: @accent"}) for i in range(3)]

    (history,) = (f for name, f in light_figures(make_data(runs=runs)).items() if name == "history")

    assert "@accent" in history["data"][0]["text"][0]
    assert light_colours()["@accent"] == "#d9480f"
    assert history["data"][1]["line"]["color"] == "#d9480f"
