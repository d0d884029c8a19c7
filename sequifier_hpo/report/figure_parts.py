"""What the figures have in common: plain dictionaries as plotly.js reads them.

Colours are tokens such as `@accent`, which the page replaces by those of the reader's light or
dark theme. Text of the user is escaped: plotly.js reads a little HTML in labels.
"""

import html
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sequifier_hpo.records import Run, RunState, Stored
from sequifier_hpo.report.leaderboard import value_of
from sequifier_hpo.report.series import loss_of
from sequifier_hpo.words import shortened

Figure = dict[str, Any]

_WRAP = 30
MAX_TEXT = 90
"""Characters of a value of the user."""
_MAX_SINGLE_TICKS = 12  # whole numbers that are all written at an axis; beyond, plotly chooses


def layout_of(
    x_title: str, y_title: str, y_range: tuple[float, float] | None = None
) -> dict[str, Any]:
    """The frame of every figure; `y_range` is what of the y axis is shown, None = all."""
    y_axis: dict[str, Any] = {
        "title": {"text": y_title},
        "gridcolor": "@grid",
        "zeroline": False,
        "automargin": True,
        "exponentformat": "e",  # a loss of 2e-6, not of 2µ
    }
    if y_range is not None:
        y_axis["range"] = [rounded_value(y_range[0]), rounded_value(y_range[1])]
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


def whole_numbers(largest: int) -> dict[str, Any]:
    """An axis of whole numbers: without it, plotly writes 1.2 runs where there are few."""
    return {"dtick": 1} if largest <= _MAX_SINGLE_TICKS else {}


def star(x: float, y: float, run: Run) -> dict[str, Any]:
    """The mark of the best run."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": f"best: run {run.number}",
        "x": [rounded_value(x)],
        "y": [rounded_value(y)],
        "text": [hover(run)],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "symbol": "star",
            "size": 14,
            "color": "@accent",
            "line": {"color": "@surface", "width": 1},
        },
    }


def hover(run: Run) -> str:
    """What is said of a run under the pointer."""
    lines = [f"<b>run {run.number}</b>, {run.state.value}"]
    if run.validation_loss is not None:
        lines[0] = f"<b>run {run.number}</b>: {run.validation_loss:.6g}"
    elif run.state is RunState.PRUNED:
        at = f"stopped after epoch {run.stopped_at}"
        lines[0] = f"<b>run {run.number}</b>, {at}: {loss_of(run):.6g}"
    return "<br>".join([*lines, *(_hover_line(*chosen) for chosen in run.labels.items())])


@lru_cache(maxsize=10_000)
def _hover_line(parameter: str, label: Stored) -> str:
    # The same few values stand in thousands of runs.
    return f"{escaped(parameter)}: {escaped(shortened(value_of(label), MAX_TEXT))}"


def wrapped(text: str, width: int = _WRAP) -> str:
    """Escaped text in lines of about `width` characters."""
    lines = [""]
    for word in _words(shortened(text, MAX_TEXT), width):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(escaped(line) for line in lines)


def _words(text: str, width: int) -> Iterator[str]:
    """What may stand on a line of its own: a word, and of one that is too long `name=`, `value`."""
    for word in text.split(" "):
        name, equals, value = word.partition("=")
        if len(word) > width and equals:
            yield f"{name}="
            yield value
        else:
            yield word


def escaped(text: str) -> str:
    """Text of the user, in which plotly.js finds no HTML."""
    return html.escape(text, quote=False)


def rounded(values: Sequence[float]) -> list[float]:
    """Values as precise as a picture needs them."""
    return [rounded_value(value) for value in values]


def rounded_value(value: float) -> float:
    """Six significant digits: a fraction of a pixel, and a third of the bytes."""
    return float(f"{value:.6g}")
