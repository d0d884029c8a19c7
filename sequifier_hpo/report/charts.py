"""From series to figures: plain dictionaries as plotly.js reads them.

Colours are tokens such as `@accent`, which the page replaces by those of the reader's light or
dark theme. Text of the user is escaped: plotly.js reads a little HTML in labels.
"""

import html
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.report import series
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.leaderboard import shortened, value_of

Figure = dict[str, Any]

_STATE_COLOURS = {
    RunState.COMPLETE: "@point",
    RunState.FAILED: "@bad",
    RunState.INTERRUPTED: "@warn",
    RunState.RUNNING: "@good",
}
_WRAP = 30
_WRAP_AXIS = 18  # longer ones would reach the next parallel axis
_MAX_TEXT = 90
_LONG_NAME = 14
_MAX_SINGLE_TICKS = 12  # whole numbers that are all written at an axis; beyond, plotly chooses
_FEW_EPOCHS = 2  # a curve of so few epochs shows them as points
_POINT = 6
MIN_CURVES_TO_CUT = 4
"""With this many curves or more, the first epochs may lie above the picture."""


def history_chart(data: ReportData) -> Figure | None:
    """Every complete run, and the best so far."""
    found = series.history(data)
    if not found.runs:
        return None
    losses = [series.loss_of(run) for run in found.runs]
    places = list(range(1, len(losses) + 1))
    best = min(range(len(losses)), key=losses.__getitem__)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "run",
            "x": places,
            "y": _rounded(losses),
            "text": [_hover(run) for run in found.runs],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"color": "@point", "size": 7 if len(losses) < 300 else 4, "opacity": 0.75},
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": places,
            "y": _rounded(found.best_so_far),
            "line": {"color": "@accent", "width": 2, "shape": "hv"},
            "hoverinfo": "skip",
        },
        _star(places[best], losses[best], found.runs[best]),
    ]
    shown = series.loss_range(losses)
    layout = _layout("complete runs, in the order they ended", "validation loss", y_range=shown)
    layout["xaxis"] |= {"range": [0.5, len(places) + 0.5], **_whole(len(places))}
    near = [b for b in data.baselines if shown and b.loss <= shown[1] + (shown[1] - shown[0])]
    if near and shown:
        # A baseline close by belongs in the picture; a distant one would flatten it.
        top = max(shown[1], *(b.loss + (shown[1] - shown[0]) * 0.05 for b in near))
        layout["yaxis"]["range"] = [_round(shown[0]), _round(top)]
    for baseline in near:
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"trivial: {baseline.name}",
                "x": [0.5, len(places) + 0.5],
                "y": [_round(baseline.loss)] * 2,
                "line": {"color": "@muted", "width": 1.5, "dash": "dash"},
                "hovertemplate": f"{html.escape(baseline.name)}: %{{y}}<extra></extra>",
            }
        )
    return {"data": traces, "layout": layout, "height": 380}


def curves_chart(data: ReportData) -> Figure | None:
    """Validation loss per epoch; the best run stands out, the others respond to the pointer."""
    found = [curve for curve in series.curves(data) if curve.epochs]
    if not found:
        return None
    complete = [curve for curve in found if curve.run.validation_loss is not None]
    others = [curve for curve in found if curve.run.validation_loss is None]
    tenth, half = max(1, len(complete) // 10), max(1, len(complete) // 2)
    groups = (
        ("not complete", others, "@warn"),
        ("worse half", complete[half:], "@rank3"),
        ("better half", complete[tenth:half], "@rank2"),
        ("best tenth", complete[1:tenth], "@rank1"),
    )
    traces = [_curves(name, chosen, colour) for name, chosen, colour in groups if chosen]
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "under the pointer",
            "meta": "pointer",
            "x": [],
            "y": [],
            "line": {"color": "@text", "width": 2.5},
            "hoverinfo": "skip",
            "showlegend": False,
        }
    )
    if complete:
        best = complete[0]
        traces.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": f"best: run {best.run.number}",
                "x": best.epochs,
                "y": _rounded(best.losses),
                "line": {"color": "@accent", "width": 3},
                "marker": {"color": "@accent", "size": 5},
                "hovertemplate": f"run {best.run.number}, epoch %{{x}}: %{{y}}<extra></extra>",
            }
        )
    losses = [loss for curve in found for loss in curve.losses]
    # Of many runs, the first epochs are far above the rest and of little interest.
    usual = 0.7 if len(found) >= MIN_CURVES_TO_CUT else 1.0
    layout = _layout("epoch", "validation loss", y_range=series.loss_range(losses, usual=usual))
    layout["xaxis"] |= _whole(max(curve.epochs[-1] for curve in found))
    return {"data": traces, "layout": layout, "height": 420}


def _curves(name: str, curves: Sequence[series.Curve], colour: str) -> dict[str, Any]:
    """Several curves as one trace, with gaps between them; short ones have points too."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    sizes: list[int] = []
    for curve in curves:
        num_epochs = len(curve.epochs)
        x += [*curve.epochs, None]
        y += [*_rounded(curve.losses), None]
        numbers += [*([curve.run.number] * num_epochs), None]
        # A line of one epoch has no length: without a point the run would not be seen.
        sizes += [_POINT if num_epochs <= _FEW_EPOCHS else 0] * (num_epochs + 1)
    # Sizes of their own make plotly draw points as bubbles, pale and with a rim.
    marker = {"color": colour, "size": sizes, "opacity": 1, "line": {"width": 0}}
    points: dict[str, Any] = {"marker": marker} if any(sizes) else {}
    return {
        "type": "scatter",
        "mode": "lines+markers" if points else "lines",
        **points,
        "name": name,
        "x": x,
        "y": y,
        "customdata": numbers,
        "line": {"color": colour, "width": 1.2 if len(curves) < 30 else 0.8},
        "hovertemplate": "run %{customdata}, epoch %{x}: %{y}<extra></extra>",
    }


def importance_chart(data: ReportData) -> Figure | None:
    """The share of each parameter in the importance of all."""
    if not data.importances:
        return None
    ranked = sorted(data.importances.items(), key=lambda item: (item[1], item[0]))
    figure_layout = _layout("share of the importance of all parameters", "")
    figure_layout["showlegend"] = False
    figure_layout["yaxis"] |= {"automargin": True, "showgrid": False, "ticksuffix": " "}
    figure_layout["xaxis"] |= {"tickformat": ".0%", "rangemode": "tozero"}
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [_escaped(name) for name, _ in ranked],
        "x": _rounded([share for _, share in ranked]),
        "marker": {"color": "@point"},
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
        "name": "importance",
    }
    return {"data": [trace], "layout": figure_layout, "height": 90 + 26 * len(ranked)}


def slice_charts(data: ReportData) -> list[tuple[str, Figure]]:
    """Per parameter and linked group: the losses under each of its values."""
    return [(found.parameter, _slice(data, found)) for found in series.slices(data)]


def _slice(data: ReportData, found: series.Slice) -> Figure:
    places = range(len(found.choices))
    numbers = [series.five_numbers(choice.losses) for choice in found.choices]
    box = {
        "type": "box",
        "orientation": "h",
        "name": "middle half",
        "y": list(places),
        "lowerfence": _rounded([n[0] for n in numbers]),
        "q1": _rounded([n[1] for n in numbers]),
        "median": _rounded([n[2] for n in numbers]),
        "q3": _rounded([n[3] for n in numbers]),
        "upperfence": _rounded([n[4] for n in numbers]),
        "boxpoints": False,
        "width": 0.66,
        "whiskerwidth": 0.3,
        "line": {"color": "@muted", "width": 1.2},
        "fillcolor": "@box",
        "hoverinfo": "skip",
    }
    best = data.progress.best
    drawn = [
        (place, run)
        for place in places
        for run in found.choices[place].shown
        if best is None or run.number != best.number  # that one is the star
    ]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "run",
        "x": _rounded([series.loss_of(run) for _, run in drawn]),
        "y": [_round(place + (series.spread(run.number) - 0.5) * 0.5) for place, run in drawn],
        "text": [f"run {run.number}: {series.loss_of(run):.6g}" for _, run in drawn],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "color": "@point",
            "size": 6 if len(drawn) < 100 else 4,
            "opacity": 0.7 if len(drawn) < 100 else 0.45,
        },
    }
    traces: list[dict[str, Any]] = [box, dots]
    for place, choice in enumerate(found.choices):
        if best is not None and best.labels.get(found.parameter) == choice.label:
            traces.append(_star(series.loss_of(best), place, best))
    shown = series.loss_range([loss for choice in found.choices for loss in choice.losses])
    layout = _layout("", "")
    layout["showlegend"] = False
    layout["margin"] |= {"t": 6, "b": 28}
    if shown:
        layout["xaxis"]["range"] = [_round(shown[0]), _round(shown[1])]
    ticks = [
        f"{_wrapped(choice.text)} <span style='font-size:10px'>({len(choice.losses)})</span>"
        for choice in found.choices
    ]
    layout["yaxis"] |= {
        "tickvals": list(places),
        "ticktext": ticks,
        "automargin": True,
        "autorange": "reversed",
        "showgrid": False,
        "zeroline": False,
    }
    num_lines = sum(max(2, tick.count("<br>") + 1) for tick in ticks)
    return {"data": traces, "layout": layout, "height": 46 + 22 * num_lines, "is_small": True}


def parallel_chart(data: ReportData) -> Figure | None:
    """One line per run across all parameters; the better the group, the darker."""
    found = series.parallel(data)
    if len(found.axes) < 2 or len(found.runs) < 2:
        return None
    thin = 1.0 if len(found.runs) > 40 else 1.6
    cut = [max(1, len(found.runs) // 10), max(2, len(found.runs) // 2)]
    groups = [
        ("worse half", found.runs[cut[1] :], "@rank3", thin),
        ("better half", found.runs[cut[0] : cut[1]], "@rank2", thin),
        ("best tenth", found.runs[1 : cut[0]], "@rank1", 1.6),
        (f"best: run {found.runs[0].number}", found.runs[:1], "@accent", 3.0),
    ]
    traces = [
        _lines(name, runs, found.axes, colour, width)
        for name, runs, colour, width in groups
        if runs
    ]
    layout = _layout("", "")
    layout["xaxis"] |= {
        "tickvals": list(range(len(found.axes))),
        "ticktext": [_wrapped_name(axis.parameter) for axis in found.axes],
        "range": [-0.15, len(found.axes) - 0.35],
        "showgrid": True,
        "side": "top",
        "zeroline": False,
        "title": {"text": ""},
    }
    layout["yaxis"] |= {"visible": False, "range": [-0.02, 1.02], "fixedrange": True}
    layout["annotations"] = [
        {
            "x": place,
            "y": _round(_height(axis, label)),
            "text": _wrapped(value_of(label), _WRAP_AXIS),
            "showarrow": False,
            "xanchor": "left",
            "align": "left",
            "xshift": 4,
            "font": {"size": 10, "color": "@text"},
            "bgcolor": "@veil",
        }
        for place, axis in enumerate(found.axes)
        for label in _thinned(axis.labels)
    ]
    layout["legend"] |= {"y": -0.05, "yanchor": "top"}
    layout["margin"] |= {"t": 60, "l": 20, "b": 40}
    needed = max(sum(map(_label_height, _thinned(axis.labels))) for axis in found.axes)
    height = min(900, max(360, 150 + needed))
    return {"data": traces, "layout": layout, "height": height, "width": 135 * len(found.axes)}


def _lines(
    name: str, runs: Sequence[Run], axes: Sequence[series.Axis], colour: str, width: float
) -> dict[str, Any]:
    x: list[int | None] = []
    y: list[float | None] = []
    texts: list[str] = []
    for run in runs:
        for place, axis in enumerate(axes):
            label = run.labels.get(axis.parameter)
            if label is None:
                continue
            scatter = (series.spread(run.number, place) - 0.5) * 0.55 / len(axis.labels)
            x.append(place)
            y.append(_round(_height(axis, label) + scatter))
            texts.append(f"run {run.number}: {series.loss_of(run):.6g}")
        x.append(None)
        y.append(None)
        texts.append("")
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "line": {"color": colour, "width": width},
        "opacity": 0.85 if width > 1 else 0.5,
    }


def timeline_chart(data: ReportData) -> Figure | None:
    """When each run was training, its outcome, and which were retried."""
    bars = series.timeline(data)
    if not bars:
        return None
    seconds, unit = _time_unit(max(bar.end for bar in bars))
    best = data.progress.best
    traces: list[dict[str, Any]] = []

    def add(name: str, colour: str, which: Callable[[series.Bar], bool]) -> None:
        chosen = [bar for bar in bars if which(bar)]
        if chosen:
            traces.append(
                {
                    "type": "bar",
                    "orientation": "h",
                    "name": name,
                    "y": [bar.lane + 1 for bar in chosen],
                    "base": _rounded([bar.start / seconds for bar in chosen]),
                    "x": _rounded([(bar.end - bar.start) / seconds for bar in chosen]),
                    "text": [_timeline_hover(bar) for bar in chosen],
                    "textposition": "none",
                    "hovertemplate": "%{text}<extra></extra>",
                    "marker": {
                        "color": colour,
                        "line": {"color": "@surface", "width": 1 if len(bars) < 80 else 0},
                        # Not all of such a bar was work.
                        "pattern": {
                            "shape": ["/" if bar.run.num_attempts > 1 else "" for bar in chosen]
                        },
                    },
                }
            )

    def is_best(bar: series.Bar) -> bool:
        return best is not None and bar.run.number == best.number

    for state, colour in _STATE_COLOURS.items():
        add(
            state.value,
            colour,
            lambda bar, state=state: bar.run.state == state and not is_best(bar),  # type: ignore[misc] # a default binds it
        )
    add("best", "@accent", is_best)
    again = [bar for bar in bars if _num_retries(bar.run)]
    if again:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "retried",
                "x": _rounded([(bar.start + bar.end) / 2 / seconds for bar in again]),
                "y": [bar.lane + 1 for bar in again],
                "text": [_timeline_hover(bar) for bar in again],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"symbol": "triangle-up", "size": 9, "color": "@text"},
            }
        )
    num_lanes = max(bar.lane for bar in bars) + 1
    layout = _layout(f"{unit} since the first start", "concurrent runs")
    layout |= {"barmode": "overlay", "bargap": 0.15}
    layout["yaxis"] |= {
        "autorange": "reversed",
        "showgrid": False,
        **({"tickvals": list(range(1, num_lanes + 1))} if num_lanes <= 16 else {}),
    }
    return {
        "data": traces,
        "layout": layout,
        "height": min(900, 130 + max(3, num_lanes) * (26 if num_lanes <= 16 else 10)),
    }


def _layout(
    x_title: str, y_title: str, y_range: tuple[float, float] | None = None
) -> dict[str, Any]:
    y_axis: dict[str, Any] = {
        "title": {"text": y_title},
        "gridcolor": "@grid",
        "zeroline": False,
        "automargin": True,
    }
    if y_range is not None:
        y_axis["range"] = [_round(y_range[0]), _round(y_range[1])]
    return {
        "font": {"color": "@text", "size": 12, "family": "inherit"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 60, "r": 16, "t": 30, "b": 48},
        "xaxis": {"title": {"text": x_title}, "gridcolor": "@grid", "zeroline": False},
        "yaxis": y_axis,
        "showlegend": True,  # also of a single line or bar
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        "hoverlabel": {"align": "left", "bgcolor": "@surface", "font": {"color": "@text"}},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "@muted", "activecolor": "@text"},
    }


def _whole(largest: int) -> dict[str, Any]:
    """An axis of whole numbers: without it, plotly writes 1.2 runs where there are few."""
    return {"dtick": 1} if largest <= _MAX_SINGLE_TICKS else {}


def _star(x: float, y: float, run: Run) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"best: run {run.number}",
        "x": [_round(x)],
        "y": [_round(y)],
        "text": [_hover(run)],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "symbol": "star",
            "size": 14,
            "color": "@accent",
            "line": {"color": "@surface", "width": 1},
        },
    }


def _hover(run: Run) -> str:
    lines = [f"<b>run {run.number}</b>, {run.state.value}"]
    if run.validation_loss is not None:
        lines[0] = f"<b>run {run.number}</b>: {run.validation_loss:.6g}"
    return "<br>".join([*lines, *(_hover_line(*chosen) for chosen in run.labels.items())])


@lru_cache(maxsize=10_000)
def _hover_line(parameter: str, label: str) -> str:
    # The same few values stand in thousands of runs.
    return f"{_escaped(parameter)}: {_escaped(shortened(value_of(label), _MAX_TEXT))}"


def _timeline_hover(bar: series.Bar) -> str:
    run = bar.run
    loss = f": {run.validation_loss:.6g}" if run.validation_loss is not None else ""
    lines = [f"<b>run {run.number}</b>, {run.state.value}{loss}", f"{bar.end - bar.start:.1f} s"]
    if run.num_attempts > 1:
        lines.append(f"{run.num_attempts} starts")
    if run.figures.oom_retries:
        size = run.figures.effective_batch_size
        lines.append(f"out-of-memory retries: {run.figures.oom_retries}, batch size {size}")
    explanation = run.figures.explanation or run.reason
    if explanation:
        lines.append(_escaped(shortened(str(explanation), _MAX_TEXT)))
    return "<br>".join(lines)


def _num_retries(run: Run) -> int:
    return run.num_attempts - 1 + (run.figures.oom_retries or 0)


def _time_unit(seconds: float) -> tuple[float, str]:
    for limit, size, unit in ((180, 1, "seconds"), (3 * 3600, 60, "minutes"), (72 * 3600, 3600, "hours")):  # fmt: skip
        if seconds <= limit:
            return size, unit
    return 86400, "days"


def _height(axis: series.Axis, label: str) -> float:
    """Place of a label on its axis, in (0, 1); the first value is at the top."""
    return 1 - (axis.labels.index(label) + 0.5) / len(axis.labels)


def _label_height(label: str) -> int:
    """Pixels that a label of a parallel axis takes."""
    return max(44, 14 * (1 + _wrapped(value_of(label), _WRAP_AXIS).count("<br>")) + 6)


def _thinned(labels: Sequence[str], limit: int = 14) -> list[str]:
    if len(labels) <= limit:
        return list(labels)
    return [labels[i * len(labels) // limit] for i in range(limit)]


def _wrapped(text: str, width: int = _WRAP) -> str:
    """Escaped text in lines of about `width` characters."""
    lines = [""]
    for word in _words(shortened(text, _MAX_TEXT), width):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(_escaped(line) for line in lines)


def _words(text: str, width: int) -> Iterator[str]:
    """What may stand on a line of its own: a word, and of one that is too long `name=`, `value`."""
    for word in text.split(" "):
        name, equals, value = word.partition("=")
        if len(word) > width and equals:
            yield f"{name}="
            yield value
        else:
            yield word


def _wrapped_name(name: str) -> str:
    """The name of a parameter as in the search file, in two lines if it is long."""
    head, underscore, tail = name.rpartition("_")
    if len(name) <= _LONG_NAME or not head:
        return _escaped(name)
    return f"{_escaped(head)}{underscore}<br>{_escaped(tail)}"


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _rounded(values: Sequence[float]) -> list[float]:
    return [_round(value) for value in values]


def _round(value: float) -> float:
    """Six significant digits: a fraction of a pixel, and a third of the bytes."""
    return float(f"{value:.6g}")
