"""The chart of when runs were at work."""

from collections.abc import Sequence
from typing import Any

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.report import series
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.figure_parts import MAX_TEXT, Figure, escaped, layout_of, rounded
from sequifier_hpo.words import duration, shortened

_STATE_COLOURS = {
    RunState.COMPLETE: "@point",
    RunState.PRUNED: "@muted",
    RunState.FAILED: "@bad",
    RunState.INTERRUPTED: "@warn",
    RunState.RUNNING: "@good",
}
_NAMES = {RunState.PRUNED: "stopped early"}
_STATE_PATTERNS = {RunState.FAILED: "x", RunState.INTERRUPTED: "."}


def timeline_chart(data: ReportData) -> Figure | None:
    """When every run was at work, what became of it, and which were tried again."""
    bars = series.timeline(data)
    if not bars:
        return None
    seconds, unit = _time_unit(max(bar.end for bar in bars))
    best = data.progress.best
    of_best = [bar for bar in bars if best is not None and bar.run.number == best.number]
    others = [bar for bar in bars if best is None or bar.run.number != best.number]
    groups = [
        (_NAMES.get(state, state.value), colour, [bar for bar in others if bar.run.state == state])
        for state, colour in _STATE_COLOURS.items()
    ]
    rim = 1 if len(bars) < 80 else 0
    traces = [
        _bars(name, colour, chosen, seconds, rim)
        for name, colour, chosen in (*groups, ("best", "@accent", of_best))
        if chosen
    ]
    again = [bar for bar in bars if _num_retries(bar.run)]
    if again:
        traces.append(_retry_marks(again, seconds))
    num_lanes = max(bar.lane for bar in bars) + 1
    layout = layout_of(f"{unit} since the first start", "runs at the same time")
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


def _bars(
    name: str, colour: str, bars: Sequence[series.Bar], seconds: float, rim: int
) -> dict[str, Any]:
    """A bar per run, in units of so many seconds."""
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "y": [bar.lane + 1 for bar in bars],
        "base": rounded([bar.start / seconds for bar in bars]),
        "x": rounded([(bar.end - bar.start) / seconds for bar in bars]),
        "text": [_timeline_hover(bar) for bar in bars],
        "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "color": colour,
            "line": {"color": "@surface", "width": rim},
            "pattern": {"shape": [_pattern(bar.run) for bar in bars]},
        },
    }


def _pattern(run: Run) -> str:
    """What tells bars apart without their colours."""
    if run.state in _STATE_PATTERNS:
        return _STATE_PATTERNS[run.state]
    return "/" if run.num_trials > 1 else ""  # not all of such a bar was work


def _retry_marks(bars: Sequence[series.Bar], seconds: float) -> dict[str, Any]:
    """What stands out of a bar whose run was tried again."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "tried again",
        "x": rounded([(bar.start + bar.end) / 2 / seconds for bar in bars]),
        "y": [bar.lane + 1 for bar in bars],
        "text": [_timeline_hover(bar) for bar in bars],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"symbol": "triangle-up", "size": 9, "color": "@text"},
    }


def _timeline_hover(bar: series.Bar) -> str:
    run = bar.run
    loss = f": {run.validation_loss:.6g}" if run.validation_loss is not None else ""
    took = duration(bar.end - bar.start, decimals=1)
    lines = [f"<b>run {run.number}</b>, {run.state.value}{loss}", took]
    if run.num_trials > 1:
        lines.append(f"{run.num_trials} starts")
    if run.figures.oom_retries:
        size = run.figures.effective_batch_size
        retries = f"{run.figures.oom_retries} out-of-memory retries, batch size {size}"
        if run.figures.oom_foreseen:
            retries += f", {run.figures.oom_foreseen} attempts foreseen and not made"
        lines.append(escaped(retries))
    explanation = run.figures.explanation or run.reason
    if explanation:
        lines.append(escaped(shortened(str(explanation), MAX_TEXT)))
    return "<br>".join(lines)


def _num_retries(run: Run) -> int:
    figures = run.figures
    return run.num_trials - 1 + max(0, (figures.oom_retries or 0) - (figures.oom_foreseen or 0))


def _time_unit(seconds: float) -> tuple[float, str]:
    for limit, size, unit in ((180, 1, "seconds"), (3 * 3600, 60, "minutes"), (72 * 3600, 3600, "hours")):  # fmt: skip
        if seconds <= limit:
            return size, unit
    return 86400, "days"
