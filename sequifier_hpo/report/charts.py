"""The charts of losses: over the runs, the epochs, the values of a parameter."""

from collections.abc import Mapping, Sequence
from typing import Any

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.report import series
from sequifier_hpo.report.baseline_traces import around_baselines, baseline_traces
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.failures import reasons
from sequifier_hpo.report.figure_parts import (
    Figure,
    escaped,
    hover,
    layout_of,
    rounded,
    rounded_value,
    star,
    whole_numbers,
    wrapped,
)

_FEW_EPOCHS = 2  # a curve of so few epochs shows them as points
_POINT = 6
_WHY = 32  # characters in a line of the reasons at a value
_WITHOUT_A_RESULT = (
    (RunState.PRUNED, "stopped early", "@muted", "solid"),
    (RunState.FAILED, "failed", "@bad", "dash"),
    (RunState.INTERRUPTED, "interrupted", "@warn", "dot"),
    (RunState.RUNNING, "running", "@good", "solid"),
)
"""State of a run -> how its curve is named and drawn."""
MIN_CURVES_TO_CUT = 4
"""With this many curves or more, the first epochs may lie above the picture."""


def history_chart(data: ReportData) -> Figure | None:
    """Every run that ended with a loss, and the best so far, over the epochs spent."""
    found = series.history(data)
    if not found.runs:
        return None
    losses = [series.loss_of(run) for run in found.runs]
    places = found.places
    best = min(range(len(losses)), key=losses.__getitem__)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "run",
            "x": places,
            "y": rounded(losses),
            "text": [hover(run) for run in found.runs],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"color": "@point", "size": 7 if len(losses) < 300 else 4, "opacity": 0.75},
        },
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": places,
            "y": rounded(found.best_so_far),
            "line": {"color": "@accent", "width": 2, "shape": "hv"},
            "hoverinfo": "skip",
        },
        star(places[best], losses[best], found.runs[best]),
    ]
    if found.stopped:
        traces.insert(0, _stopped(found))
    losses_shown = series.loss_range(losses)
    assert losses_shown is not None, "losses of complete runs are finite"
    shown = around_baselines(losses_shown, data.baselines)
    layout = layout_of("epochs trained by all runs together", "validation loss", y_range=shown)
    width = found.num_epochs
    layout["xaxis"] |= {"range": [0, width * 1.02], **whole_numbers(width)}
    traces += baseline_traces(data.baselines, width, shown)
    return {"data": traces, "layout": layout, "height": 380}


def _stopped(found: series.History) -> dict[str, Any]:
    """The runs that were stopped early, at the best loss that they had by then."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "stopped early",
        "x": found.places_of_stopped,
        "y": rounded([series.loss_of(run) for run in found.stopped]),
        "text": [hover(run) for run in found.stopped],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": "@muted", "size": 7, "symbol": "circle-open"},
    }


def curves_chart(data: ReportData) -> Figure | None:
    """Validation loss per epoch; the best run stands out, the others respond to the pointer."""
    found = [curve for curve in series.curves(data) if curve.epochs]
    if not found:
        return None
    complete = [curve for curve in found if curve.run.validation_loss is not None]
    tenth, half = max(1, len(complete) // 10), max(1, len(complete) // 2)
    groups = (
        *(
            (name, [curve for curve in found if curve.run.state is state], colour, dash)
            for state, name, colour, dash in _WITHOUT_A_RESULT
        ),
        ("worse half", complete[half:], "@rank3", "solid"),
        ("better half", complete[tenth:half], "@rank2", "solid"),
        ("best tenth", complete[1:tenth], "@rank1", "solid"),
    )
    traces = [
        _curves(name, chosen, colour, dash) for name, chosen, colour, dash in groups if chosen
    ]
    traces.append(_UNDER_THE_POINTER)
    training = data.best_training_losses
    if complete:
        traces += _best_curves(complete[0], training)
    losses = [*training.values(), *(loss for curve in found for loss in curve.losses)]
    # Of many runs, the first epochs are far above the rest and of little interest.
    usual = 0.7 if len(found) >= MIN_CURVES_TO_CUT else 1.0
    title = "loss" if training else "validation loss"
    layout = layout_of("epoch", title, y_range=series.loss_range(losses, usual=usual))
    layout["xaxis"] |= whole_numbers(max(curve.epochs[-1] for curve in found))
    return {"data": traces, "layout": layout, "height": 420}


def _best_curves(best: series.Curve, training: Mapping[int, float]) -> list[dict[str, Any]]:
    """The validation losses of the best run, and its training losses as far as they are known."""
    number = best.run.number
    losses = (
        (
            f"best: run {number}",
            "validation",
            "solid",
            dict(zip(best.epochs, best.losses, strict=True)),
        ),
        (f"training of run {number}", "training", "dot", dict(sorted(training.items()))),
    )
    return [
        {
            "type": "scatter",
            "mode": "lines+markers" if dash == "solid" else "lines",
            "name": name,
            "x": list(of_epochs),
            "y": rounded(list(of_epochs.values())),
            "line": {"color": "@accent", "width": 3 if dash == "solid" else 2, "dash": dash},
            "marker": {"color": "@accent", "size": 5},
            "hovertemplate": f"run {number}, {which}, epoch %{{x}}: %{{y}}<extra></extra>",
        }
        for name, which, dash, of_epochs in losses
        if of_epochs
    ]


_UNDER_THE_POINTER: dict[str, Any] = {
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


def _curves(name: str, curves: Sequence[series.Curve], colour: str, dash: str) -> dict[str, Any]:
    """Several curves as one trace, with gaps between them; short ones have points too."""
    x: list[int | None] = []
    y: list[float | None] = []
    numbers: list[int | None] = []
    sizes: list[int] = []
    for curve in curves:
        num_epochs = len(curve.epochs)
        x += [*curve.epochs, None]
        y += [*rounded(curve.losses), None]
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
        "line": {"color": colour, "width": 1.2 if len(curves) < 30 else 0.8, "dash": dash},
        "hovertemplate": "run %{customdata}, epoch %{x}: %{y}<extra></extra>",
    }


def importance_chart(data: ReportData) -> Figure | None:
    """The share of each parameter in the importance of all."""
    if not data.importances:
        return None
    ranked = sorted(data.importances.items(), key=lambda item: (item[1], item[0]))
    figure_layout = layout_of("share of the importance of all parameters", "")
    figure_layout["showlegend"] = False
    figure_layout["yaxis"] |= {"automargin": True, "showgrid": False, "ticksuffix": " "}
    figure_layout["xaxis"] |= {"tickformat": ".0%", "rangemode": "tozero"}
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [escaped(name) for name, _ in ranked],
        "x": rounded([share for _, share in ranked]),
        "marker": {"color": "@point"},
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
        "name": "importance",
    }
    return {"data": [trace], "layout": figure_layout, "height": 90 + 26 * len(ranked)}


def slice_charts(data: ReportData) -> list[tuple[str, Figure]]:
    """Per parameter, linked group and range: the losses under each of its values."""
    return [
        (
            found.parameter,
            _slice(data, found) if isinstance(found, series.Slice) else _scatter(data, found),
        )
        for found in series.slices(data)
    ]


def _scatter(data: ReportData, found: series.Scatter) -> Figure:
    """The numbers of a range upwards, as its values are where they are few, losses to the right."""
    best = data.progress.best
    drawn = [run for run in found.shown if best is None or run.number != best.number]
    traces = [_points(drawn, [_number(run, found) for run in drawn])]
    if best is not None and series.number_in(best, found.parameter) is not None:
        traces.append(star(series.loss_of(best), _number(best, found), best))
    failed = series.sample(found.failed, series.MAX_POINTS)
    heights = [_number(run, found) for run in failed]
    layout = _slice_layout(found.losses, traces, failed, heights)
    layout["yaxis"] |= {"type": "log" if found.span.is_log else "linear", "automargin": True}
    layout["yaxis"]["exponentformat"] = "none"  # plotly would write 100µ
    return {"data": traces, "layout": layout, "height": 200, "is_small": True}


def _number(run: Run, found: series.Scatter) -> float:
    number = series.number_in(run, found.parameter)
    assert number is not None, "only runs that have one are drawn"
    return number


def _slice(data: ReportData, found: series.Slice) -> Figure:
    best = data.progress.best
    traces = [_boxes(found), _dots(found, None if best is None else best.number)]
    for place, choice in enumerate(found.choices):
        if best is not None and best.labels.get(found.parameter) == choice.label:
            traces.append(star(series.loss_of(best), place, best))
    failed = [
        (place, run)
        for place, choice in enumerate(found.choices)
        for run in series.sample(choice.failed, series.MAX_POINTS)
    ]
    losses = [loss for choice in found.choices for loss in choice.losses]
    layout = _slice_layout(losses, traces, [run for _, run in failed], _scattered(failed))
    ticks = [_tick(choice) for choice in found.choices]
    layout["yaxis"] |= {
        "tickvals": list(range(len(ticks))),
        "ticktext": ticks,
        "automargin": True,
        "autorange": "reversed",
        "showgrid": False,
        "zeroline": False,
    }
    num_lines = sum(max(2, tick.count("<br>") + 1) for tick in ticks)
    return {"data": traces, "layout": layout, "height": 46 + 22 * num_lines, "is_small": True}


def _slice_layout(
    losses: Sequence[float],
    traces: list[dict[str, Any]],
    failed: Sequence[Run],
    heights: Sequence[float],
) -> dict[str, Any]:
    """The frame of a slice; runs that failed are added to its traces, right of all losses."""
    layout = layout_of("", "")
    layout["showlegend"] = False
    layout["margin"] |= {"t": 6, "b": 28}
    shown = series.loss_range(losses)
    low, high = shown or (0.0, 1.0)
    if shown is None:
        layout["xaxis"]["showticklabels"] = False
    if failed:
        traces.append(_crosses(failed, heights, high + 0.04 * (high - low)))
        high += 0.08 * (high - low)
    layout["xaxis"] |= {"range": rounded((low, high)), "exponentformat": "e"}
    return layout


def _crosses(failed: Sequence[Run], heights: Sequence[float], edge: float) -> dict[str, Any]:
    """A cross per run that failed: in hue and in shape unlike a point and the star."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "failed",
        "x": [rounded_value(edge)] * len(failed),
        "y": rounded(heights),
        "text": [f"run {run.number} failed: {escaped(reasons([run]))}" for run in failed],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"color": "@bad", "symbol": "x", "size": 8},
    }


def _tick(choice: series.ChoiceLosses) -> str:
    """A value, how many runs have a loss, and how many have none, and why."""
    num_failed, num_ended = len(choice.failed), len(choice.losses) + len(choice.failed)
    text = f"{wrapped(choice.text)} <span style='font-size:10px'>({len(choice.losses)})</span>"
    if not num_failed:
        return text
    share, why = f"✕ {num_failed:,} of {num_ended:,} failed", reasons(choice.failed)
    # On one line as long as it is no longer than the values: the picture needs the width.
    between = ": " if len(share) + len(why) < _WHY else "<br>"
    return f"{text}<br><b>{share}</b>{between}{wrapped(why, _WHY)}"


def _boxes(found: series.Slice) -> dict[str, Any]:
    """The middle half of the losses under each choice that has any."""
    having = [place for place, choice in enumerate(found.choices) if choice.losses]
    numbers = [series.five_numbers(found.choices[place].losses) for place in having]
    return {
        "type": "box",
        "orientation": "h",
        "name": "middle half",
        "y": having,
        "lowerfence": rounded([n[0] for n in numbers]),
        "q1": rounded([n[1] for n in numbers]),
        "median": rounded([n[2] for n in numbers]),
        "q3": rounded([n[3] for n in numbers]),
        "upperfence": rounded([n[4] for n in numbers]),
        "boxpoints": False,
        "width": 0.66,
        "whiskerwidth": 0.3,
        "line": {"color": "@muted", "width": 1.2},
        "fillcolor": "@box",
        "hoverinfo": "skip",
    }


def _dots(found: series.Slice, best: int | None) -> dict[str, Any]:
    """A point per run, without the best, which is the star."""
    drawn = [
        (place, run)
        for place, choice in enumerate(found.choices)
        for run in choice.shown
        if run.number != best
    ]
    return _points([run for _, run in drawn], _scattered(drawn))


def _scattered(drawn: Sequence[tuple[int, Run]]) -> list[float]:
    """Heights around the place of each run's value."""
    return [place + (series.spread(run.number) - 0.5) * 0.5 for place, run in drawn]


def _points(drawn: Sequence[Run], heights: Sequence[float]) -> dict[str, Any]:
    """A point per run: its loss to the right."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "run",
        "x": rounded([series.loss_of(run) for run in drawn]),
        "y": rounded(heights),
        "text": [f"run {run.number}: {series.loss_of(run):.6g}" for run in drawn],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "color": "@point",
            "symbol": [
                "circle-open" if run.state is RunState.PRUNED else "circle" for run in drawn
            ],
            "size": 6 if len(drawn) < 100 else 4,
            "opacity": 0.7 if len(drawn) < 100 else 0.45,
        },
    }
