"""What a model costs beside what it is worth: the run to take at each budget of size and time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sequifier_hpo.records import Run
from sequifier_hpo.report import series
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.figure_parts import Figure, hover, layout_of, rounded, star
from sequifier_hpo.report.leaderboard import leaderboard

_WIDE = 3  # times as large: on an axis of logarithms there are round numbers to write


@dataclass(frozen=True)
class Cost:
    """What there may be a budget of."""

    of: Callable[[Run], float | None]
    """None = it is not known of the run."""
    title: str
    best: str
    """What the runs of the front are called."""


def _size(run: Run) -> float | None:
    return run.figures.num_parameters or None


def _time(run: Run) -> float | None:
    """To two digits: what differs less may be chance."""
    found = run.figures.milliseconds_per_event
    return None if found is None else float(f"{found:.2g}")


SIZE = Cost(_size, "parameters of the model", "best at its size")
TIME = Cost(_time, "milliseconds per event", "best at its speed")


def milliseconds(value: float | None) -> str:
    """As precise as it was measured; "" if it was not."""
    if value is None:
        return ""
    value = float(f"{value:.2g}")
    return f"{value:.{max(0, 1 - math.floor(math.log10(value)))}f}"


def to_take(runs: Sequence[Run]) -> list[Run]:
    """The runs that no other beats in loss, size and time at once, the smallest loss first.

    The first of them that the budgets allow is the run to take. What is not known of a run is taken
    to be beyond all budgets.
    """
    found: list[tuple[tuple[float, float], Run]] = []
    for run in sorted(runs, key=lambda run: (series.loss_of(run), *_costs(run), run.number)):
        costs = _costs(run)
        if not any(all(map(float.__le__, other, costs)) for other, _ in found):
            found.append((costs, run))
    return [run for _, run in found]


def _costs(run: Run) -> tuple[float, float]:
    size, time = _size(run), _time(run)
    return float(size or math.inf), time or math.inf


def pareto_front(runs: Sequence[Run], cost: Cost) -> list[Run]:
    """The runs that no run of the same cost or less beats, the cheapest first."""
    known = [(price, run) for run in runs if (price := cost.of(run)) is not None]
    front: list[Run] = []
    for _, run in sorted(
        known, key=lambda item: (item[0], series.loss_of(item[1]), item[1].number)
    ):
        if not front or series.loss_of(run) < series.loss_of(front[-1]):
            front.append(run)
    return front


def runs_with(cost: Cost, data: ReportData) -> list[Run]:
    """The complete runs whose cost is known, best first; none if it is the same for all."""
    runs = [run for run in leaderboard(data.own_runs) if cost.of(run) is not None]
    return runs if len({cost.of(run) for run in runs}) > 1 else []


def cost_chart(data: ReportData, cost: Cost) -> Figure | None:
    """Every complete run by its cost and its loss, and the front of the best."""
    runs = runs_with(cost, data)
    if not runs:
        return None
    front, drawn = pareto_front(runs, cost), series.sample(runs, series.MAX_POINTS)
    traces: list[dict[str, Any]] = [
        {
            **_trace("run", drawn, cost),
            "mode": "markers",
            "marker": {"color": "@point", "size": 6, "opacity": 0.6},
        },
        {
            **_trace(cost.best, front, cost),
            "mode": "lines+markers",
            "line": {"color": "@accent", "width": 2, "shape": "hv"},
            "marker": {"color": "@accent", "size": 8, "symbol": "diamond"},
        },
        star(_price(front[-1], cost), series.loss_of(front[-1]), front[-1]),
    ]
    low, high = series.loss_range([series.loss_of(run) for run in runs]) or (0.0, 1.0)
    shown = (low, max(high, series.loss_of(front[0]) + (high - low) * 0.05))  # the whole front
    layout = layout_of(cost.title, "validation loss", y_range=shown)
    layout["xaxis"] |= _axis([_price(run, cost) for run in runs])
    return {"data": traces, "layout": layout, "height": 340, "is_small": True}


def _price(run: Run, cost: Cost) -> float:
    price = cost.of(run)
    assert price is not None, "only runs with a known cost are drawn"
    return price


def _trace(name: str, runs: Sequence[Run], cost: Cost) -> dict[str, Any]:
    """Runs by cost and loss, however they are drawn."""
    return {
        "type": "scatter",
        "name": name,
        "x": [_price(run, cost) for run in runs],
        "y": rounded([series.loss_of(run) for run in runs]),
        "text": [_hover(run) for run in runs],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _axis(prices: Sequence[float]) -> dict[str, Any]:
    """Of logarithms if there are round numbers on it, three per power of ten; plotly writes nine."""
    low, high = min(prices), max(prices)
    form = {"tickformat": "~s"} if low >= 1 else {}  # of 0.05 it would make 50m
    if high < _WIDE * low:
        return form
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{lead}e{power}") for power in powers for lead in (1, 2, 5)]
    near = [tick for tick in ticks if low / 2 <= tick <= 2 * high]
    return {"type": "log", "tickvals": near, **form}


def _hover(run: Run) -> str:
    speed, time = run.figures.tokens_per_second, milliseconds(run.figures.milliseconds_per_event)
    parts = [
        f"{size:,} parameters" if (size := run.figures.num_parameters) else "",
        f"{time} ms per event" if time else "",
        "" if speed is None else f"trained at {float(f'{speed:.6g}'):,.0f} tokens/s",
    ]
    return f"{hover(run)}<br>{', '.join(filter(None, parts))}"
