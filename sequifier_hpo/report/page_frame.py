"""The frame of every page of ours: one self-contained HTML file, no network, no other files."""

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

Chart = dict[str, Any]
"""A figure as plotly.js reads it, with its `height`, and `width` where it needs one."""


@dataclass(frozen=True)
class PageAssets:
    """What is built into a page: style, behaviour, and the chart library."""

    css: str
    js: str
    plotly_js: str


def read_assets() -> PageAssets:
    """Style, behaviour and chart library to be embedded in a page."""
    own = resources.files("sequifier_hpo.report")
    plotly = resources.files("plotly") / "package_data" / "plotly.min.js"
    return PageAssets(
        css=(own / "page.css").read_text(encoding="utf-8"),
        js=(own / "page.js").read_text(encoding="utf-8"),
        plotly_js=plotly.read_text(encoding="utf-8"),
    )


def page(title: str, body: str, payload: Mapping[str, Any], assets: PageAssets) -> str:
    """A page; equal input gives equal text.

    Args:
        title: Of the browser's window.
        body: HTML.
        payload: What `page.js` reads: `isRunning`, `charts`, and `table` where there is one.
        assets: What is built in.
    """
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'; base-uri 'none'">
<title>{html.escape(title)}</title>
<style>
{assets.css}
</style>
</head>
<body>
<main>
{body}</main>
<script>{assets.plotly_js}</script>
<script type="application/json" id="report-data">{_embedded(payload)}</script>
<script>
{assets.js}
</script>
</body>
</html>
"""


def figure_section(
    figures: dict[str, Chart],
    name: str,
    title: str,
    note: str,
    figure: Chart | None,
) -> str:
    """A section with a chart, which is added to `figures`; empty without one."""
    if figure is None:
        return ""
    figures[name] = figure
    width = f";min-width:{figure['width']}px" if "width" in figure else ""
    return (
        f'<section><h2>{html.escape(title)}</h2><p class="note">{html.escape(note)}</p>'
        f'<div class="scroll"><div class="chart" id="{name}" '
        f'style="height:{figure["height"]}px{width}"></div></div></section>\n'
    )


def figures_table(
    rows: Sequence[Sequence[str]], head: Sequence[str] = (), classes: str = "figures"
) -> str:
    """A table of numbers; the first column says what they are of."""
    lines = ["<tr>" + "".join(f"<th>{html.escape(c)}</th>" for c in head) + "</tr>"] if head else []
    lines += ["<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows]
    return f'<div class="scroll"><table class="{classes}">{"".join(lines)}</table></div>'


def sentences(*of_a_note: str | bool) -> str:
    """A note of those of its sentences that are to be said."""
    return " ".join(sentence for sentence in of_a_note if isinstance(sentence, str))


def _embedded(payload: Mapping[str, Any]) -> str:
    """JSON that no user text can break out of."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
