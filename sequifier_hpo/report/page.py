"""The report as one self-contained HTML page: no network, no other files."""

import html
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sequifier_hpo.records import Run, RunState, Stored
from sequifier_hpo.report import charts, series
from sequifier_hpo.report.data import ReportData, unbeaten
from sequifier_hpo.report.evaluations import evaluations_section
from sequifier_hpo.report.figure_parts import Figure, rounded_value
from sequifier_hpo.report.leaderboard import leaderboard, value_of
from sequifier_hpo.report.parallel_chart import parallel_chart
from sequifier_hpo.report.rungs_chart import rungs_chart
from sequifier_hpo.report.tables import FIGURES, finite
from sequifier_hpo.report.timeline_chart import timeline_chart
from sequifier_hpo.words import duration

MIN_RUNS_FOR_IMPORTANCE = 20
_HEADINGS = {"validation_loss_all_positions": "validation loss over all positions"}


@dataclass(frozen=True)
class PageAssets:
    """What is built into the page: style, behaviour, and the chart library."""

    css: str
    js: str
    plotly_js: str


def report_page(data: ReportData, assets: PageAssets) -> str:
    """The page; equal input gives equal text."""
    figures: dict[str, Figure] = {}
    sections = "".join(_chart_sections(data, figures))
    payload = {"isRunning": data.is_running, "charts": figures, "table": _table(data)}
    title = html.escape(f"{data.study_name}: hyperparameter search")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; form-action 'none'; base-uri 'none'">
<title>{title}</title>
<style>
{assets.css}
</style>
</head>
<body>
<main>
{_head(data)}
<noscript><p class="note">Charts and the table of runs need JavaScript.</p></noscript>
{sections}
{evaluations_section(data.evaluations)}
{_table_section(data)}
{_best_section(data)}
<footer>{_footer(data)}</footer>
</main>
<script>{assets.plotly_js}</script>
<script type="application/json" id="report-data">{_embedded(payload)}</script>
<script>
{assets.js}
</script>
</body>
</html>
"""


def _head(data: ReportData) -> str:
    done = data.progress
    best = done.best
    state = (
        "still running; the page reloads itself until you click in it"
        if data.is_running
        else "snapshot"
    )
    when = data.read_at.strftime("%Y-%m-%d %H:%M")
    cards = []
    if best is not None:
        loss = series.loss_of(best)
        cards.append(("best validation loss", f"{loss:.6g}", f"run {best.number}"))
        cards += [
            (f"trivial: {b.name}", f"{b.loss:.6g}", _compared(loss, b.loss)) for b in data.baselines
        ]
    cards.append(("runs complete", f"{done.num_complete:,} of {done.num_runs:,}", _others(data)))
    bars = series.timeline(data)
    if bars:
        spent = sum(
            seconds for run in data.own_runs if (seconds := run.figures.seconds) is not None
        )
        span = max(bar.end for bar in bars)
        cards.append(("time", duration(span), f"{duration(spent)} of training in total"))
    shown = "".join(
        f'<div class="card"><span class="label">{html.escape(label)}</span>'
        f'<span class="value">{html.escape(value)}</span>'
        f'<span class="detail">{html.escape(detail)}</span></div>'
        for label, value, detail in cards
    )
    chosen = ""
    if best is not None and best.labels:
        rows = "".join(
            f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value_of(label))}</dd></div>"
            for name, label in best.labels.items()
        )
        chosen = f'<h2>Best run: {best.number}</h2>\n<dl class="chosen">{rows}</dl>'
    elif best is None:
        chosen = '<p class="note">No run is complete yet.</p>'
    return f"""<header>
<p class="kicker">hyperparameter search, {html.escape(data.strategy)}</p>
<h1>{html.escape(data.study_name)}</h1>
<p class="note">{state}, {html.escape(when)}</p>
</header>
<section class="cards">{shown}</section>{_warning(data)}
<section>{chosen}</section>"""


def _warning(data: ReportData) -> str:
    """A paragraph if the best run does not beat a trivial predictor."""
    best = data.progress.best
    better = None if best is None else unbeaten(series.loss_of(best), data.baselines)
    if better is None:
        return ""
    return (
        '\n<p class="warning">No run beats the trivial predictor '
        f"({html.escape(better.name)}): more data, other columns or longer training may help.</p>"
    )


def _chart_sections(data: ReportData, figures: dict[str, Figure]) -> list[str]:
    complete = leaderboard(data.own_runs)
    return [
        *_loss_sections(data, figures, complete),
        *_importance_section(data, figures, len(complete) + data.progress.num_pruned),
        _slice_section(data, figures, len(complete) + data.progress.num_pruned),
        *_run_sections(data, figures, len(complete)),
    ]


def _loss_sections(
    data: ReportData, figures: dict[str, Figure], complete: list[Run]
) -> Iterator[str]:
    """How the losses went: run by run, and epoch by epoch."""
    yield _section(
        figures,
        "history",
        "How the search went",
        _note(
            "Each point is a run at its end, the line the best so far.",
            bool(data.progress.num_pruned)
            and "Circles: runs that were stopped early, with the best loss that they had by then.",
            _is_any_outside(complete)
            and "Runs far above the others lie outside; double-click to see them.",
        ),
        charts.history_chart(data),
    )
    yield _section(
        figures,
        "rungs",
        "Where runs ended",
        "Runs are compared after these epochs, and the worse ones stopped. The best of those that "
        "were stopped are given their full length in the end.",
        rungs_chart(data),
    )
    num_curves = sum(bool(run.losses) for run in data.own_runs)
    yield _section(
        figures,
        "curves",
        "Loss curves",
        _note(
            "Point at a curve to pick it out.",
            num_curves >= charts.MIN_CURVES_TO_CUT
            and "The first epochs may lie above the picture; double-click to see them.",
            num_curves > series.MAX_CURVES
            and f"{series.MAX_CURVES:,} of {num_curves:,} runs are drawn: the best, and an even choice of the others.",
        ),
        charts.curves_chart(data),
    )


def _importance_section(
    data: ReportData, figures: dict[str, Figure], num_complete: int
) -> Iterator[str]:
    if num_complete >= MIN_RUNS_FOR_IMPORTANCE:
        yield _section(
            figures,
            "importance",
            "Which parameters matter",
            _note(
                "PED-ANOVA: how much each parameter alone sets the best runs apart from the others.",
                bool(data.progress.num_pruned)
                and "Runs that were stopped early count with the best loss that they had by then.",
            ),
            charts.importance_chart(data),
        )
    elif num_complete > 1:
        yield (
            '<section><h2>Which parameters matter</h2><p class="note">Shown from '
            f"{MIN_RUNS_FOR_IMPORTANCE} runs on: with fewer, chance decides.</p></section>"
        )


def _run_sections(data: ReportData, figures: dict[str, Figure], num_complete: int) -> Iterator[str]:
    """The runs themselves: across all parameters, and in time."""
    yield _section(
        figures,
        "parallel",
        "All parameters together",
        _note(
            "A line is a run. Click a group in the legend to hide or show it.",
            num_complete > series.MAX_LINES
            and f"{series.MAX_LINES} of {num_complete:,} runs are drawn.",
        ),
        parallel_chart(data),
    )
    yield _section(
        figures,
        "timeline",
        "When runs were at work",
        _note(
            any(run.num_trials > 1 for run in data.own_runs)
            and "Hatched: interrupted and continued; the bar spans the time in between.",
        ),
        timeline_chart(data),
    )


def _is_any_outside(complete: list[Run]) -> bool:
    """Whether the axis of the history leaves a run out."""
    losses = [series.loss_of(run) for run in complete]
    shown = series.loss_range(losses)
    return shown is not None and max(losses) > shown[1]


def _slice_section(data: ReportData, figures: dict[str, Figure], num_complete: int) -> str:
    drawn = charts.slice_charts(data)
    if not drawn or num_complete < 2:
        return ""
    parts = []
    for i, (parameter, figure) in enumerate(drawn):
        figures[f"slice-{i}"] = figure
        name = html.escape(parameter)
        parts.append(
            f'<figure class="{_size_of(figure)}"><figcaption>{name}</figcaption>'
            f'<div class="chart" id="slice-{i}" style="height:{figure["height"]}px"></div></figure>'
        )
    note = _note(
        "Boxes: the middle half of all runs with this value, and their median; "
        "in brackets their number; the star is the best run.",
        bool(data.progress.num_pruned)
        and "Circles: runs that were stopped early, with the best loss that they had by then.",
        num_complete > series.MAX_POINTS
        and f"Points: {series.MAX_POINTS} of {num_complete:,} runs.",
    )
    return (
        f'<section><h2>Losses by parameter</h2><p class="note">{html.escape(note)}</p>'
        f'<div class="grid">{"".join(parts)}</div></section>'
    )


def _size_of(figure: Figure) -> str:
    """Parameters with long values need the whole width."""
    longest = max(
        (
            len(line)
            for tick in figure["layout"]["yaxis"].get("ticktext", ())
            for line in tick.split("<br>")
        ),
        default=0,
    )
    return "wide" if longest > 60 else "narrow"


def _section(
    figures: dict[str, Figure],
    name: str,
    title: str,
    note: str,
    figure: Figure | None,
) -> str:
    if figure is None:
        return ""
    figures[name] = figure
    width = f";min-width:{figure['width']}px" if "width" in figure else ""
    return (
        f'<section><h2>{html.escape(title)}</h2><p class="note">{html.escape(note)}</p>'
        f'<div class="scroll"><div class="chart" id="{name}" '
        f'style="height:{figure["height"]}px{width}"></div></div></section>\n'
    )


def _table_section(data: ReportData) -> str:
    if not data.runs:
        return ""
    return (
        '<section><h2>All runs</h2><div class="tools">'
        '<input id="filter" type="search" placeholder="filter: words that a row must contain" '
        'aria-label="filter runs"><span id="count" class="note"></span></div>'
        '<div class="scroll"><table id="runs"></table></div>'
        '<button id="more" type="button" hidden>show all</button></section>'
    )


def _best_section(data: ReportData) -> str:
    if data.best_file is None:
        return ""
    title = "<section><h2>Configuration of the best run</h2>"
    file = f"<code>{html.escape(data.best_file)}</code>"
    if data.best_yaml is None:
        return f'{title}<p class="note">It cannot be read here: {file}</p></section>'
    return (
        f'{title}<p class="note">{file} '
        "Train it again with <code>sequifier-hpo train --config-path</code> and this file. "
        '<button id="copy" type="button">copy</button></p>'
        f'<pre id="best-yaml">{html.escape(data.best_yaml)}</pre></section>'
    )


def _table(data: ReportData) -> dict[str, Any]:
    """Columns and rows for the page's own table."""
    ranked = leaderboard(data.runs)
    listed = {run.number for run in ranked}
    others = [run for run in data.runs if run.number not in listed]
    parameters = list(dict.fromkeys(name for run in data.runs for name in run.labels))
    figures = {run.number: run.figures.model_dump() for run in data.runs}
    measured = [
        name
        for name in (*_HEADINGS, *FIGURES)
        if any(of_run[name] is not None for of_run in figures.values())
    ]
    has_reasons = any(_remark(run) for run in data.runs)
    columns = ["rank", "run", "state", "validation loss", *parameters]
    columns += [_HEADINGS.get(name, name.replace("_", " ")) for name in measured]
    columns += ["remark"] if has_reasons else []
    rows = []
    for place, run in enumerate([*ranked, *others], start=1):
        row: list[Any] = [
            place if run.number in listed else None,
            run.number,
            run.state.value,
            finite(run.validation_loss),
            *(_cell(run.labels.get(name, "")) for name in parameters),
            *(finite(figures[run.number][name]) for name in measured),
        ]
        rows.append(row + ([_remark(run)] if has_reasons else []))
    return {"columns": columns, "rows": rows}


def _cell(label: Stored) -> Stored:
    """Numbers stay numbers: the table sorts by them."""
    return value_of(label) if isinstance(label, str) else rounded_value(label)


def _remark(run: Run) -> str:
    if run.duplicate_of is not None:
        return f"same as run {run.duplicate_of}"
    if run.is_of_other_data:
        return "trained on earlier data: not ranked"
    if run.state is RunState.PRUNED:
        return f"stopped after epoch {run.stopped_at}, best loss {run.best_loss or 0:.6g}"
    if run.stopped_at is not None:
        return f"stopped after epoch {run.stopped_at}, then given its full length"
    return run.figures.explanation or run.reason


def _embedded(payload: Mapping[str, Any]) -> str:
    """JSON that no user text can break out of."""
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _compared(loss: float, baseline: float) -> str:
    if baseline <= 0:
        return ""
    change = (baseline - loss) / baseline
    return f"best run: {abs(change):.1%} {'lower' if change >= 0 else 'higher'}"


def _others(data: ReportData) -> str:
    done = data.progress
    parts = [
        f"{number:,} {what}"
        for number, what in (
            (done.num_pruned, "stopped early"),
            (done.num_failed, f"failed ({_reasons(data)})"),
            (done.num_running, "running"),
            (done.num_interrupted, "interrupted"),
            (done.num_duplicates, "duplicate cells"),
            (done.num_of_other_data, "more on earlier data, not ranked"),
        )
        if number
    ]
    return ", ".join(parts)


def _reasons(data: ReportData) -> str:
    """Why runs failed, the most frequent reason first, with numbers if there are several."""
    counts = Counter(run.reason for run in data.own_runs if run.state == RunState.FAILED)
    words = [
        (reason.replace("_", " ") or "reason unknown", n) for reason, n in counts.most_common()
    ]
    return ", ".join(word if len(words) == 1 else f"{word}: {n:,}" for word, n in words)


def _note(*sentences: str | bool) -> str:
    return " ".join(sentence for sentence in sentences if isinstance(sentence, str))


def _footer(data: ReportData) -> str:
    return f"storage {html.escape(data.storage)}"
