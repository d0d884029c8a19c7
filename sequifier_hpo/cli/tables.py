"""Tables for the terminal."""

import shutil
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sequifier_hpo.records import Baseline, Run, RunState
from sequifier_hpo.report.costs import milliseconds
from sequifier_hpo.report.data import unbeaten
from sequifier_hpo.report.leaderboard import count_a_part, value_of, varying_labels
from sequifier_hpo.report.series import loss_of
from sequifier_hpo.report.verification import CheckedRun
from sequifier_hpo.words import counted, shortened, visible

_TOP = 10
_WIDTH = 100  # where no terminal says otherwise
_ANY_WIDTH = 10_000
_MIN_BEST = 3
_MAX_VALUE = 24


def leaderboard_table(ranked: Sequence[Run], top: int = _TOP) -> str:
    """The best runs as a table of text, with as many parameters as fit, and what they share."""
    shown = ranked[:top]
    chosen: list[str] = []
    for name in varying_labels(ranked):
        if _width(_leaderboard(shown, [*chosen, name])) <= _terminal_width():
            chosen.append(name)
    more = len(ranked) - top
    return (
        as_text(_leaderboard(shown, chosen))
        + (f"... and {more:,} more\n" if more > 0 else "")
        + what_the_best_share(ranked, top)
    )


def _leaderboard(shown: Sequence[Run], parameters: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    beside = ["all positions"] if count_a_part(shown) else []
    has_speed = any(run.figures.milliseconds_per_event for run in shown)
    headings = ("", "run", "validation loss", *beside, "best epoch", "parameters", "seconds")
    headings += ("ms/event",) if has_speed else ()
    for heading in headings:
        table.add_column(heading, justify="right")
    for name in parameters:
        table.add_column(Text(visible(name)), no_wrap=True)
    for position, run in enumerate(shown, start=1):
        twin = "" if run.duplicate_of is None else f" (= {run.duplicate_of})"
        table.add_row(
            str(position),
            f"{run.number}{twin}",
            f"{run.validation_loss:.6f}",
            *([_loss(run.figures.validation_loss_all_positions)] if beside else []),
            _number(run.figures.best_epoch),
            _number(run.figures.num_parameters),
            _number(run.figures.seconds),
            *([milliseconds(run.figures.milliseconds_per_event)] if has_speed else []),
            *(Text(_value(run, name)) for name in parameters),
        )
    return table


def what_the_best_share(ranked: Sequence[Run], top: int = _TOP) -> str:
    """A line on the values that all of the best half have, at most of the first `top` runs.

    Empty if they share none that another run lacks, or are so few that chance decides.
    """
    own = [run for run in ranked if run.duplicate_of is None]
    best = own[: min(top, len(own) // 2)]
    if len(best) < _MIN_BEST:
        return ""
    shared = [
        f"{name}={_value(best[0], name)}"
        for name in varying_labels(own)
        if name in best[0].labels
        and all(run.labels.get(name) == best[0].labels[name] for run in best)
    ]
    return f"the best {len(best)} share {', '.join(shared)}\n" if shared else ""


def _value(run: Run, name: str) -> str:
    """A value of a run, short enough for a column; "" if it has none."""
    label = run.labels.get(name)
    return "" if label is None else visible(shortened(value_of(label), _MAX_VALUE))


def pruned_lines(runs: Sequence[Run]) -> list[str]:
    """How many runs were stopped early, and which of them was the best when it was."""
    pruned = [run for run in runs if run.state is RunState.PRUNED and run.is_current]
    if not pruned:
        return []
    best = min(pruned, key=lambda run: (loss_of(run), run.number))
    return [
        f"{counted(len(pruned), 'run')} stopped early, not ranked; the best of them is run "
        f"{best.number}, {_loss(loss_of(best))} after epoch {best.stopped_at}"
    ]


def baseline_lines(loss: float, baselines: Sequence[Baseline]) -> list[str]:
    """What the best validation loss means: the losses of trivial predictors, and a warning."""
    lines = [f"trivial predictor, {each.name}: {each.loss:.6g}" for each in baselines]
    better = unbeaten(loss, baselines)
    if better is not None:
        lines.append(
            f"no run beats the trivial predictor ({better.name}): more data, "
            "other columns or longer training may help"
        )
    return lines


def verification_table(ranked: Sequence[CheckedRun]) -> str:
    """The configurations of a winner check as a table of text."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    headings = ("", "run", "seeds", "mean loss", "± std", "smallest", "largest", "in the search")
    for heading in headings:
        table.add_column(heading, justify="right")
    for position, checked in enumerate(ranked, start=1):
        losses = checked.losses.values()
        table.add_row(
            str(position),
            str(checked.run_number),
            f"{len(losses)} of {checked.num_seeds}",
            _loss(checked.mean),
            _loss(checked.standard_deviation),
            _loss(min(losses, default=None)),
            _loss(max(losses, default=None)),
            _loss(checked.search_loss),
        )
    return as_text(table)


def as_text(table: Table) -> str:
    """A table as text for this terminal, never narrower than it needs."""
    console = Console(width=_WIDTH, color_system=None)
    # Narrower than the table, a terminal would break its lines anywhere: better the headings.
    console.width = max(console.measure(table).minimum, _terminal_width())
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def _terminal_width() -> int:
    return shutil.get_terminal_size((_WIDTH, 24)).columns


def _width(table: Table) -> int:
    """Columns that a table takes if no line of it is broken."""
    console = Console(width=_ANY_WIDTH, color_system=None)
    return console.measure(table).maximum


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else ""
