"""A comparison of models as one page."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sequifier_hpo.report.figure_parts import Figure, escaped, layout_of, rounded, wrapped
from sequifier_hpo.report.page_frame import (
    PageAssets,
    figure_section,
    figures_table,
    page,
    sentences,
)
from sequifier_hpo.searchspace import value_text
from sequifier_hpo.words import counted, shortened

_MAX_VALUE = 300  # characters of a value of a configuration
_NO_INTERVALS = "Of so few sequences it cannot be said how far the differences are chance."

Row = Mapping[str, Any]


def comparison_page(found: Mapping[str, Any], assets: PageAssets) -> str:
    """The page of what `inference.comparing.compare` returns; equal input gives equal text."""
    rows: Sequence[Row] = found["models"]
    figures: dict[str, Figure] = {}
    sections = "".join(_sections(found, rows, figures))
    best = rows[0]["model"]
    body = f"""<header>
<p class="kicker">comparison of {counted(len(rows), "model")}</p>
<h1>{html.escape(best)} has the smallest loss</h1>
<p class="note">{html.escape(_verdict(rows))}</p>
<dl class="facts"><dt>judged on</dt><dd>{html.escape(_judged_on(found, rows))}</dd></dl>
</header>
<noscript><p class="note">The chart needs JavaScript.</p></noscript>
{sections}
"""
    return page(f"{best}: comparison", body, {"isRunning": False, "charts": figures}, assets)


def may_be_chance(row: Row) -> bool:
    """Whether a model may be as good as the best one."""
    return row["interval"] is not None and row["interval"][0] <= 0 <= row["interval"][1]


def value_shown(value: Any) -> str:
    """What a configuration has for a field that another has something else for."""
    return "-" if value in (None, "") else value_text(value)


def _verdict(rows: Sequence[Row]) -> str:
    others = rows[1:]
    if all(row["interval"] is None for row in others):
        return _NO_INTERVALS
    chance = [row["model"] for row in others if may_be_chance(row)]
    if not chance:
        return "No difference from it is likely to be chance."
    return f"May be as good, the difference being chance: {', '.join(chance)}."


def _judged_on(found: Mapping[str, Any], rows: Sequence[Row]) -> str:
    paths = dict.fromkeys(str(row["data"]) for row in rows)
    return (
        f"the {found['split']} split, {', '.join(paths)}: {counted(found['num_events'], 'event')} of "
        f"{counted(found['num_sequences'], 'sequence')}, the same for all"
    )


def _sections(
    found: Mapping[str, Any], rows: Sequence[Row], figures: dict[str, Figure]
) -> Iterator[str]:
    head = ("", "loss", "95 % interval", "difference", "95 % interval", "")
    table = figures_table([_cells(row) for row in rows], head)
    yield (
        '<section><h2>Losses</h2><p class="note">Intervals: of 2,000 draws of the sequences, 95 in '
        f"100 have a mean in it. Differences are from the best, event by event.</p>{table}</section>"
    )
    yield figure_section(
        figures,
        "differences",
        "Differences",
        sentences(
            "How far each loss is above the smallest one, which is 0 here; bars are the intervals.",
            any(map(may_be_chance, rows))
            and "Hollow: the bar holds 0, the difference may be chance.",
        ),
        _differences(rows),
    )
    yield f"<section><h2>What differs in the configurations</h2>{_configurations(found, rows)}</section>"


def _cells(row: Row) -> tuple[str, ...]:
    is_best = not row["difference"] and row["interval"] is None
    return (
        row["model"],
        f"{row['loss']:.6f}",
        _interval(row["loss_interval"], ".6f"),
        "" if is_best else f"{row['difference']:+.6f}",
        _interval(row["interval"], "+.6f"),
        "may be chance" if may_be_chance(row) else "",
    )


def _interval(interval: Sequence[float] | None, form: str) -> str:
    return "" if interval is None else " to ".join(format(end, form) for end in interval)


def _differences(rows: Sequence[Row]) -> Figure:
    """A point with a bar per model, the best at the top."""
    layout = layout_of(f"difference in loss from {escaped(rows[0]['model'])}", "")
    layout["showlegend"] = False
    layout["margin"] |= {"t": 10}
    layout["xaxis"] |= {"zeroline": True, "zerolinecolor": "@accent", "zerolinewidth": 2}
    layout["yaxis"] |= {
        "tickvals": list(range(len(rows))),
        "ticktext": [wrapped(row["model"]) for row in rows],
        "range": [len(rows) - 0.5, -0.5],
        "showgrid": False,
        "ticksuffix": " ",
    }
    ends = [row["interval"] or (row["difference"], row["difference"]) for row in rows]
    differences = [row["difference"] for row in rows]
    colours = ["@accent", *["@point"] * (len(rows) - 1)]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": rounded(differences),
        "y": list(range(len(rows))),
        "text": [_hover(row) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {
            "color": colours,
            "size": [16, *[11] * (len(rows) - 1)],
            "symbol": [
                "star",
                *("circle-open" if may_be_chance(row) else "circle" for row in rows[1:]),
            ],
            "opacity": 1,
            "line": {"width": 2, "color": colours},
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": rounded([high - d for (_, high), d in zip(ends, differences, strict=True)]),
            "arrayminus": rounded([d - low for (low, _), d in zip(ends, differences, strict=True)]),
            "color": "@muted",
            "thickness": 2,
            "width": 6,
        },
    }
    return {"data": [trace], "layout": layout, "height": 90 + 44 * len(rows)}


def _hover(row: Row) -> str:
    interval = _interval(row["interval"], "+.6g")
    bar = f"<br>{row['difference']:+.6g}, 95 %: {interval}" if interval else ""
    return f"<b>{escaped(row['model'])}</b>: {row['loss']:.6g}{bar}"


def _configurations(found: Mapping[str, Any], rows: Sequence[Row]) -> str:
    if not found["configurations"]:
        return '<p class="note">Nothing that matters to a training but the data.</p>'
    lines = [
        (field, *(shortened(value_shown(value), _MAX_VALUE) for value in values))
        for field, values in found["configurations"].items()
    ]
    table = figures_table(lines, ("", *(row["model"] for row in rows)), "figures values")
    return f'<p class="note">Of columns, those that are not in all of them.</p>{table}'
