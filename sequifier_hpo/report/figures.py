"""The report's charts one by one, in the colours of its light theme."""

import re
from functools import cache
from importlib import resources
from typing import Any

from sequifier_hpo.report import charts
from sequifier_hpo.report.costs import SIZE, TIME, cost_chart
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.figure_parts import Figure
from sequifier_hpo.report.parallel_chart import parallel_chart
from sequifier_hpo.report.rungs_chart import rungs_chart
from sequifier_hpo.report.timeline_chart import timeline_chart

_TEXTS = frozenset({"text", "ticktext"})  # of the user: no token is meant


def light_figures(data: ReportData) -> dict[str, Figure]:
    """The charts that there is something to draw in.

    Returns:
        Name -> `data` and `layout` as plotly has them: `history`, `rungs`, `curves`, `importance`,
        `size`, `time`, `parallel`, `timeline`, and `losses by PARAMETER`.
    """
    drawn = {
        "history": charts.history_chart(data),
        "rungs": rungs_chart(data),
        "curves": charts.curves_chart(data),
        "importance": charts.importance_chart(data),
        **{f"losses by {parameter}": figure for parameter, figure in charts.slice_charts(data)},
        "size": cost_chart(data, SIZE),
        "time": cost_chart(data, TIME),
        "parallel": parallel_chart(data),
        "timeline": timeline_chart(data),
    }
    return {name: _alone(figure) for name, figure in drawn.items() if figure is not None}


def _alone(figure: Figure) -> Figure:
    """The chart without the page, whose background and size it had."""
    layout = {
        **figure["layout"],
        "paper_bgcolor": "@surface",
        "height": max(260, figure["height"]),
        **({"width": max(700, figure["width"])} if "width" in figure else {}),
    }
    layout["font"] = {**layout["font"], "family": "system-ui, sans-serif"}
    lit: Figure = _lit({"data": figure["data"], "layout": layout}, light_colours())
    return lit


@cache
def light_colours() -> dict[str, str]:
    """Token -> colour, as the page's style has them: `@accent`, ..."""
    style = (resources.files("sequifier_hpo.report") / "page.css").read_text(encoding="utf-8")
    light = style.partition("}")[0]
    return {f"@{name}": value for name, value in re.findall(r"--([\w-]+): ([^;]+);", light)}


def _lit(value: Any, colours: dict[str, str]) -> Any:
    """A part of a chart with colours in place of tokens, as `page.js` does it."""
    if isinstance(value, str):
        return colours.get(value, value)
    if isinstance(value, dict):
        return {
            key: part if key in _TEXTS and not isinstance(part, dict) else _lit(part, colours)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [_lit(part, colours) for part in value]
    return value
