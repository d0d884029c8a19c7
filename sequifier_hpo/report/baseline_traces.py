"""The losses of trivial predictors in a chart of runs."""

import html
from collections.abc import Sequence
from typing import Any

from sequifier_hpo.records import Baseline
from sequifier_hpo.report.figure_parts import escaped, rounded_value

_DASHES = ("dash", "dot", "dashdot")
_FILLS = ("", "-open", "-dot")
"""What tells lines and marks apart."""


def around_baselines(
    shown: tuple[float, float], baselines: Sequence[Baseline]
) -> tuple[float, float]:
    """A range of losses, with the baselines close by: distant ones would flatten the runs."""
    low, high = shown
    span = high - low
    near = [b.loss for b in baselines if low - span <= b.loss <= high + span]
    margin = span * 0.05
    return (
        min([low, *(loss - margin for loss in near)]),
        max([high, *(loss + margin for loss in near)]),
    )


def baseline_traces(
    baselines: Sequence[Baseline], num_epochs: int, shown: tuple[float, float]
) -> list[dict[str, Any]]:
    """The losses of trivial predictors across the runs; distant ones as marks at the edge."""
    low, high = shown
    inside = [each for each in baselines if low <= each.loss <= high]
    outside = [each for each in baselines if each not in inside]
    lines = [
        {
            **_named(each, ""),
            "mode": "lines",
            "x": [0, num_epochs * 1.02],
            "y": [rounded_value(each.loss)] * 2,
            "line": {"color": "@muted", "width": 1.5, "dash": _DASHES[i % len(_DASHES)]},
        }
        for i, each in enumerate(inside)
    ]
    marks = []
    for i, each in enumerate(outside):
        edge, is_above = (high - low) * 0.002, each.loss > high
        marks.append(
            {
                **_named(
                    each, f", {each.loss:.6g}: {'above' if is_above else 'below'} the picture"
                ),
                "mode": "markers",
                # Side by side: all that are above are as high.
                "x": [num_epochs * (0.5 + 0.05 * i)],
                "y": [rounded_value(high - edge if is_above else low + edge)],
                "cliponaxis": False,  # half of it is above, where no line is in its way
                "marker": {
                    "color": "@muted",
                    "size": 11,
                    "symbol": f"triangle-{'up' if is_above else 'down'}{_FILLS[i % len(_FILLS)]}",
                },
            }
        )
    return [*lines, *marks]


def _named(baseline: Baseline, where: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "name": f"trivial: {escaped(baseline.name)}{where}",
        "hovertemplate": f"{html.escape(baseline.name)}: {baseline.loss:.6g}<extra></extra>",
    }
