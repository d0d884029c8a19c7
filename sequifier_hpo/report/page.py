"""The report of a study as one page."""

import html
from collections.abc import Iterable, Iterator
from typing import Any

from sequifier_hpo.records import Run, RunState, Stored
from sequifier_hpo.report import charts, series
from sequifier_hpo.report.costs import SIZE, TIME, cost_chart, milliseconds, to_take
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.evaluations import evaluations_section
from sequifier_hpo.report.failures import reasons, what_failures_share
from sequifier_hpo.report.figure_parts import Figure, rounded_value
from sequifier_hpo.report.leaderboard import (
    MIN_RUNS_FOR_IMPORTANCE,
    anew_line,
    leaderboard,
    value_of,
    varying_labels,
)
from sequifier_hpo.report.page_frame import (
    PageAssets,
    figure_section,
    figures_table,
    page,
    sentences,
)
from sequifier_hpo.report.page_head import page_head
from sequifier_hpo.report.parallel_chart import parallel_chart
from sequifier_hpo.report.rungs_chart import rungs_chart
from sequifier_hpo.report.tables import FIGURES, finite, varied_fields
from sequifier_hpo.report.timeline_chart import timeline_chart
from sequifier_hpo.words import counted

_HEADINGS = {
    "validation_loss_all_positions": "validation loss over all positions",
    "milliseconds_per_event": "ms per event",
}


def report_page(data: ReportData, assets: PageAssets) -> str:
    """The page; equal input gives equal text."""
    figures: dict[str, Figure] = {}
    sections = "".join(_chart_sections(data, figures))
    payload = {"isRunning": data.is_running, "charts": figures, "table": _table(data)}
    body = f"""{page_head(data)}
<noscript><p class="note">Charts and the table of runs need JavaScript.</p></noscript>
{sections}
{evaluations_section(data.evaluations)}
{_table_section(data)}
{_best_section(data)}
<footer>{_footer(data)}</footer>
"""
    return page(f"{data.study_name}: hyperparameter search", body, payload, assets)


def _chart_sections(data: ReportData, figures: dict[str, Figure]) -> list[str]:
    return [
        *_loss_sections(data, figures),
        *_importance_section(data, figures),
        _slice_section(data, figures),
        _budget_section(data, figures),
        *_run_sections(data, figures),
    ]


def _loss_sections(data: ReportData, figures: dict[str, Figure]) -> Iterator[str]:
    """How the losses went: run by run, and epoch by epoch."""
    history = charts.history_chart(data)
    yield figure_section(
        figures,
        "history",
        "How the search went",
        sentences(
            "Each point is a run at its end, the line the best so far.",
            bool(data.progress.num_pruned)
            and "Circles: runs that were stopped early, with the best loss that they had by then.",
            history is not None
            and _is_any_above(history, data.own_runs)
            and "Runs far above the others lie outside; double-click to see them.",
        ),
        history,
    )
    yield figure_section(
        figures,
        "rungs",
        "Where runs ended",
        "Runs are compared after these epochs, and the worse ones stopped. The best of those that "
        "were stopped are given their full length in the end.",
        rungs_chart(data),
    )
    num_curves = sum(bool(run.losses) for run in data.own_runs)
    yield figure_section(
        figures,
        "curves",
        "Loss curves",
        sentences(
            "Point at a curve to pick it out.",
            bool(data.best_training_losses)
            and "Dotted: the training losses of the best run; far below its validation losses, "
            "it has learned its training data by heart.",
            num_curves >= charts.MIN_CURVES_TO_CUT
            and "The first epochs may lie above the picture; double-click to see them.",
            num_curves > series.MAX_CURVES
            and f"{series.MAX_CURVES:,} of {num_curves:,} runs are drawn: the best, and an even choice of the others.",
        ),
        charts.curves_chart(data),
    )


def _importance_section(data: ReportData, figures: dict[str, Figure]) -> Iterator[str]:
    num_with_a_loss = data.progress.num_with_a_loss
    if num_with_a_loss >= MIN_RUNS_FOR_IMPORTANCE:
        yield figure_section(
            figures,
            "importance",
            "Which parameters matter",
            sentences(
                "PED-ANOVA: how much each parameter alone sets the best runs apart from the others.",
                bool(data.progress.num_pruned)
                and "Runs that were stopped early count with the best loss that they had by then.",
                *_not_in_all(data),
            ),
            charts.importance_chart(data),
        )
    elif num_with_a_loss > 1:
        yield (
            '<section><h2>Which parameters matter</h2><p class="note">Shown from '
            f"{MIN_RUNS_FOR_IMPORTANCE} runs on: with fewer, chance decides.</p></section>"
        )


def _not_in_all(data: ReportData) -> Iterator[str]:
    """A sentence on the parameters whose importance cannot be compared with that of the others."""
    judged = [run for run in data.own_runs if run.loss is not None]
    missing = [
        name for name in varying_labels(judged) if any(name not in run.labels for run in judged)
    ]
    if missing:
        yield f"Not among them, since only some runs have it: {', '.join(missing)}."


def _budget_section(data: ReportData, figures: dict[str, Figure]) -> str:
    """Size and time against loss, and the run to take at each budget."""
    charts_of = {"size": cost_chart(data, SIZE), "time": cost_chart(data, TIME)}
    drawn = {name: chart for name, chart in charts_of.items() if chart is not None}
    if not drawn:
        return ""
    figures |= drawn
    parts = "".join(
        f'<figure><div class="chart" id="{name}" style="height:{chart["height"]}px"></div></figure>'
        for name, chart in drawn.items()
    )
    runs = leaderboard(data.own_runs)
    machines = {on for run in runs if (on := run.figures.measured_on)}
    note = sentences(
        "The lines: the smallest loss that a model of this cost or less has reached.",
        *(f"Time: from one event to its prediction, the median on {on}." for on in machines),
        not machines
        and "How long a model takes for an event is measured by `sequifier-hpo report`, where its "
        "ONNX file is.",
    )
    rows = [
        (
            str(run.number),
            f"{series.loss_of(run):.6g}",
            f"{run.figures.num_parameters:,}" if run.figures.num_parameters else "",
            milliseconds(run.figures.milliseconds_per_event),
        )
        for run in to_take(runs)
    ]
    head = ("run", "validation loss", "parameters", "ms per event")
    return (
        f'<section><h2>Size, time and loss</h2><p class="note">{html.escape(note)}</p>'
        f'<div class="grid">{parts}</div>'
        '<p class="note">The run to take: the first of these that your budgets allow. Any other is '
        "worse than one of them, and neither smaller nor faster.</p>"
        f"{figures_table(rows, head)}</section>"
    )


def _run_sections(data: ReportData, figures: dict[str, Figure]) -> Iterator[str]:
    """The runs themselves: across all parameters, and in time."""
    num_complete = data.progress.num_complete
    yield figure_section(
        figures,
        "parallel",
        "All parameters together",
        sentences(
            "A line is a run. Click a group in the legend to hide or show it.",
            num_complete > series.MAX_LINES
            and f"{series.MAX_LINES} of {num_complete:,} runs are drawn.",
        ),
        parallel_chart(data),
    )
    yield figure_section(
        figures,
        "timeline",
        "When runs were at work",
        sentences(
            any(run.num_trials > 1 for run in data.own_runs)
            and "Hatched: interrupted and continued; the bar spans the time in between.",
            bool(data.failed) and "Crossed: failed.",
            bool(data.progress.num_interrupted) and "Dotted: interrupted, to be continued.",
        ),
        timeline_chart(data),
    )


def _is_any_above(history: Figure, runs: Iterable[Run]) -> bool:
    """Whether the axis of the history leaves a run with a loss out."""
    _, high = history["layout"]["yaxis"]["range"]
    return any(run.loss is not None and run.loss > high for run in runs)


def _slice_section(data: ReportData, figures: dict[str, Figure]) -> str:
    drawn, num_ended = charts.slice_charts(data), data.progress.num_ended
    if not drawn or num_ended < 2:
        return ""
    parts = []
    for i, (parameter, figure) in enumerate(drawn):
        figures[f"slice-{i}"] = figure
        name = html.escape(parameter)
        parts.append(
            f'<figure class="{_size_of(figure)}"><figcaption>{name}</figcaption>'
            f'<div class="chart" id="slice-{i}" style="height:{figure["height"]}px"></div></figure>'
        )
    note = sentences(
        "Boxes: the middle half of all runs with this value, and their median; "
        "in brackets their number; the star is the best run.",
        bool(data.progress.num_pruned)
        and "Circles: runs that were stopped early, with the best loss that they had by then.",
        bool(data.failed) and "Crosses at the right edge: runs that failed.",
        num_ended > series.MAX_POINTS
        and f"Points: at most {series.MAX_POINTS} of {num_ended:,} runs.",
    )
    return (
        f'<section><h2>Losses by parameter</h2><p class="note">{html.escape(note)}</p>'
        f"{_failures(data)}"
        f'<div class="grid">{"".join(parts)}</div></section>'
    )


def _failures(data: ReportData) -> str:
    """A paragraph on why runs failed, and at which values."""
    if not data.failed:
        return ""
    trials = {run.trial_number for run in data.failed}
    lines = [
        f"{counted(len(data.failed), 'run')} failed: {reasons(data.failed)}",
        *what_failures_share(data.runs, trials, varied_fields(data.own_runs)),
    ]
    return f'<p class="failures">{"<br>".join(map(html.escape, lines))}</p>'


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
    if run.counts_other_positions:
        number = run.attributes["counts_other_positions"]
        return f"its loss is over the last {number} positions of a window, no longer compared"
    if run.is_outside:
        ranked = "" if run.ranks_outside else ": not ranked"
        return f"outside the search space, which was changed since{ranked}"
    anew = anew_line(run)
    if run.state is RunState.PRUNED:
        said = f"stopped after epoch {run.stopped_at}, best loss {series.loss_of(run):.6g}"
        return f"{said}, {anew}" if anew else said
    if run.state is RunState.INTERRUPTED:
        return "interrupted, not failed: the same search command continues it"
    if run.stopped_at is not None:
        said = f"stopped after epoch {run.stopped_at}, then given its full length"
        return f"{said}; {anew}" if anew else said
    return run.figures.explanation or run.reason or anew


def _footer(data: ReportData) -> str:
    return f"storage {html.escape(data.storage)}"
