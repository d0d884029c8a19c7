"""The chart of all parameters together: a line per run across their axes."""

from collections.abc import Sequence
from typing import Any

from sequifier_hpo.records import Run, Stored
from sequifier_hpo.report import series
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.figure_parts import Figure, escaped, layout_of, rounded_value, wrapped
from sequifier_hpo.report.leaderboard import value_of

_PITCH, _MIN_PITCH = 135, 90  # pixels from one axis to the next
_PAGE = 1120  # pixels that the page has for all of them
_WRAP_AXIS = 18  # more would reach the next of the parallel axes, at their usual distance
_LONG_NAME = 14
_NUM_TICKS = 5  # of an axis of numbers
_LOWEST = 0.04  # height of its smallest number


def parallel_chart(data: ReportData) -> Figure | None:
    """A line per run across all parameters; the better a group of runs, the darker."""
    found = series.parallel(data)
    if len(found.axes) < 2 or len(found.runs) < 2:
        return None
    pitch = max(_MIN_PITCH, min(_PITCH, _PAGE // len(found.axes)))
    width_of_text = _WRAP_AXIS * pitch // _PITCH
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
    layout = layout_of("", "")
    layout["xaxis"] |= {
        "tickvals": list(range(len(found.axes))),
        "ticktext": [_wrapped_name(axis.parameter) for axis in found.axes],
        "range": [-0.15, len(found.axes) - 0.35],
        "showgrid": True,
        "side": "top",
        "ticklabeloverflow": "allow",  # plotly would leave the first name out where there are many
        "tickfont": {"size": 12 if pitch == _PITCH else 10},
        "zeroline": False,
        "title": {"text": ""},
    }
    layout["yaxis"] |= {"visible": False, "range": [-0.02, 1.02], "fixedrange": True}
    layout["annotations"] = [
        _annotation(place, height, wrapped(text, width_of_text))
        for place, axis in enumerate(found.axes)
        for height, text in _ticks(axis)
    ]
    layout["legend"] |= {"y": -0.05, "yanchor": "top"}
    layout["margin"] |= {"t": 60, "l": 40, "b": 40}
    needed = max(
        sum(_text_height(text, width_of_text) for _, text in _ticks(axis)) for axis in found.axes
    )
    height = min(900, max(360, 150 + needed))
    return {"data": traces, "layout": layout, "height": height, "width": pitch * len(found.axes)}


def _annotation(place: int, height: float, text: str) -> dict[str, Any]:
    """A value beside its axis."""
    return {
        "x": place,
        "y": rounded_value(height),
        "text": text,
        "showarrow": False,
        "xanchor": "left",
        "align": "left",
        "xshift": 4,
        "font": {"size": 10, "color": "@text"},
        "bgcolor": "@veil",
    }


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
            scatter = (series.spread(run.number, place) - 0.5) * 0.55
            x.append(place)
            y.append(rounded_value(_height(axis, label, scatter)))
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


def _height(axis: series.Axis, label: Stored, scatter: float = 0.0) -> float:
    """Place of a value on its axis, in (0, 1).

    The first label is at the top, and runs are scattered about it; the largest number is.
    """
    if axis.span is not None and not isinstance(label, str):
        return _LOWEST + (1 - 2 * _LOWEST) * axis.span.share(label)
    return 1 - (axis.labels.index(str(label)) + 0.5 - scatter) / len(axis.labels)


def _ticks(axis: series.Axis) -> list[tuple[float, str]]:
    """Heights on an axis, and what is written there."""
    if axis.span is None:
        return [(_height(axis, label), value_of(label)) for label in _thinned(axis.labels)]
    numbers = [axis.span.number(i / (_NUM_TICKS - 1)) for i in range(_NUM_TICKS)]
    return [(_height(axis, number), f"{number:.3g}") for number in numbers]


def _text_height(text: str, width: int) -> int:
    """Pixels that a label of a parallel axis takes."""
    return max(44, 14 * (1 + wrapped(text, width).count("<br>")) + 6)


def _thinned(labels: Sequence[str], limit: int = 14) -> list[str]:
    if len(labels) <= limit:
        return list(labels)
    return [labels[i * len(labels) // limit] for i in range(limit)]


def _wrapped_name(name: str) -> str:
    """The name of a parameter as in the search file, in two lines if it is long."""
    head, underscore, tail = name.rpartition("_")
    if len(name) <= _LONG_NAME or not head:
        return escaped(name)
    return f"{escaped(head)}{underscore}<br>{escaped(tail)}"
