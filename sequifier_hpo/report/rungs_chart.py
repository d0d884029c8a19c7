"""The chart of where runs ended: at which rung, or at their full length."""

from collections import Counter

from sequifier_hpo.records import RunState
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.figure_parts import Figure, layout_of, whole_numbers


def rungs_chart(data: ReportData) -> Figure | None:
    """How many runs were stopped after which epoch, and how many were trained to their end."""
    stopped = Counter(run.stopped_at for run in data.own_runs if run.stopped_at is not None)
    if not stopped:
        return None
    finished = Counter(
        run.stopped_at
        for run in data.own_runs
        if run.stopped_at is not None and run.state is RunState.COMPLETE
    )
    rungs = sorted(stopped)
    never = sum(run.state is RunState.COMPLETE and run.stopped_at is None for run in data.own_runs)
    names = [f"after epoch {rung}" for rung in rungs]
    bars = (
        ("stopped early", "@muted", names, [stopped[rung] - finished[rung] for rung in rungs]),
        ("finished in the end", "@accent", names, [finished[rung] for rung in rungs]),
        ("never stopped", "@point", ["full length"], [never]),
    )
    layout = layout_of("runs", "")
    layout |= {"barmode": "stack", "bargap": 0.3}
    layout["xaxis"] |= whole_numbers(max(*stopped.values(), never))
    layout["yaxis"] |= {
        "autorange": "reversed",
        "showgrid": False,
        "ticksuffix": " ",
        "categoryorder": "array",
        "categoryarray": [*names, "full length"],
    }
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": places,
            "x": counts,
            "marker": {"color": colour},
            "hovertemplate": f"{name}, %{{y}}: %{{x}}<extra></extra>",
        }
        for name, colour, places, counts in bars
        if any(counts)
    ]
    return {"data": traces, "layout": layout, "height": 120 + 26 * (len(rungs) + 1)}
