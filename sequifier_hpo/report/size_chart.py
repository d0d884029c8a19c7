"""The chart of size against loss: which run to take where a model must not be larger."""

from collections.abc import Sequence
from typing import Any

from sequifier_hpo.records import Run
from sequifier_hpo.report import series
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.figure_parts import (
    Figure,
    hover,
    layout_of,
    rounded,
    rounded_value,
    star,
)
from sequifier_hpo.report.leaderboard import leaderboard


def size_of(run: Run) -> int:
    """Parameters of the run's model; 0 if they were not counted."""
    return run.figures.num_parameters or 0


def pareto_front(runs: Sequence[Run]) -> list[Run]:
    """The runs that no run of the same size or smaller beats, the smallest first."""
    front: list[Run] = []
    for run in sorted(runs, key=lambda run: (size_of(run), series.loss_of(run), run.number)):
        if not front or series.loss_of(run) < series.loss_of(front[-1]):
            front.append(run)
    return front


def runs_with_sizes(data: ReportData) -> list[Run]:
    """The complete runs whose parameters were counted, best first; none if all have as many."""
    runs = [run for run in leaderboard(data.own_runs) if size_of(run)]
    return runs if len({size_of(run) for run in runs}) > 1 else []


def size_chart(data: ReportData) -> Figure | None:
    """Every complete run by its parameters and its loss, and the front of the best."""
    runs = runs_with_sizes(data)
    if not runs:
        return None
    front, drawn = pareto_front(runs), series.sample(runs, series.MAX_POINTS)
    traces: list[dict[str, Any]] = [
        {
            **_trace("run", drawn),
            "mode": "markers",
            "marker": {"color": "@point", "size": 6, "opacity": 0.6},
        },
        {
            **_trace("best at its size", front),
            "mode": "lines+markers",
            "line": {"color": "@accent", "width": 2, "shape": "hv"},
            "marker": {"color": "@accent", "size": 8, "symbol": "diamond"},
        },
        star(size_of(front[-1]), series.loss_of(front[-1]), front[-1]),
    ]
    shown = series.loss_range([series.loss_of(run) for run in runs])
    layout = layout_of("parameters of the model", "validation loss", y_range=shown)
    ticks = _ticks([size_of(run) for run in runs])
    layout["xaxis"] |= {"type": "log", "tickformat": "~s", "tickvals": ticks}
    return {"data": traces, "layout": layout, "height": 340}


def _trace(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Runs by size and loss, however they are drawn."""
    return {
        "type": "scatter",
        "name": name,
        "x": [size_of(run) for run in runs],
        "y": rounded([series.loss_of(run) for run in runs]),
        "text": [_hover(run) for run in runs],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _ticks(sizes: Sequence[int]) -> list[int]:
    """Round numbers around some sizes, three per power of ten; plotly would write nine."""
    digits = range(len(str(max(sizes))) + 1)
    ticks = [lead * 10**power for power in digits for lead in (1, 2, 5)]
    return [tick for tick in ticks if min(sizes) / 2 <= tick <= 2 * max(sizes)]


def _hover(run: Run) -> str:
    speed = run.figures.tokens_per_second
    trained = "" if speed is None else f", trained at {rounded_value(speed):,.0f} tokens/s"
    return f"{hover(run)}<br>{size_of(run):,} parameters{trained}"
