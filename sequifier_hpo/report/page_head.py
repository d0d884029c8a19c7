"""The head of the report: what the study is about, how far it is, and its best run."""

import html

from sequifier_hpo.records import Run
from sequifier_hpo.report import series
from sequifier_hpo.report.data import ReportData, unbeaten
from sequifier_hpo.report.failures import reasons
from sequifier_hpo.report.leaderboard import budget_line, longer_line, value_of
from sequifier_hpo.words import busy_seconds, duration


def page_head(data: ReportData) -> str:
    """The header and the first sections of the page."""
    done = data.progress
    best = done.best
    state = (
        "still running; the page reloads itself until you click in it"
        if data.is_running
        else budget_line(data.stopped_by, done) or "snapshot"
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
        busy = duration(busy_seconds((bar.start, bar.end) for bar in bars))
        cards.append(("time", busy, f"{duration(spent)} of training in total"))
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
<p class="note">{state}, {html.escape(when)}</p>{_facts(data)}
</header>
<section class="cards">{shown}</section>{_warning(data)}
<section>{chosen}{_longer(best)}</section>"""


def _facts(data: ReportData) -> str:
    """What is predicted, from which data, and how many there are."""
    if data.facts is None:
        return ""
    rows = [
        (name, ", ".join(filter(None, (path, size)))) for name, path, size in data.facts.splits()
    ]
    targets = ", ".join(f"{column} ({kind})" for column, kind in data.facts.targets.items())
    if targets:
        rows.insert(0, ("predicts", targets))
    guides = () if data.warm_start is None else data.warm_start.lines()
    rows += [("warm start", line) for line in guides]
    parts = (f"<dt>{name}</dt><dd>{html.escape(text)}</dd>" for name, text in rows)
    return f'\n<dl class="facts">{"".join(parts)}</dl>'


def _longer(best: Run | None) -> str:
    """A paragraph if the best run was at its best when it ended."""
    line = "" if best is None else longer_line(best)
    return f'<p class="warning">{html.escape(line.capitalize())}.</p>' if line else ""


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
            (done.num_failed, f"failed ({reasons(data.failed)})"),
            (done.num_running, "running"),
            (done.num_interrupted, "interrupted"),
            (done.num_duplicates, "duplicate cells"),
            (done.num_of_other_data, "more on earlier data, not ranked"),
            (done.num_outside, "more outside the search space, not ranked"),
        )
        if number
    ]
    return ", ".join(parts)
