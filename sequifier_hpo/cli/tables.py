"""Tables for the terminal."""

import shutil
from collections.abc import Sequence
from math import inf

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sequifier_hpo.records import Baseline, Run, RunState
from sequifier_hpo.report.data import unbeaten
from sequifier_hpo.report.leaderboard import count_a_part
from sequifier_hpo.report.verification import CheckedRun
from sequifier_hpo.words import counted

_TOP = 10
_WIDTH = 100


def leaderboard_table(ranked: Sequence[Run], top: int = _TOP) -> str:
    """The best runs as a table of text."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    beside = ["all positions"] if count_a_part(ranked) else []
    headings = ("", "run", "validation loss", *beside, "best epoch", "parameters", "seconds")
    for heading in headings:
        table.add_column(heading, justify="right")
    for position, run in enumerate(ranked[:top], start=1):
        twin = "" if run.duplicate_of is None else f" (= {run.duplicate_of})"
        table.add_row(
            str(position),
            f"{run.number}{twin}",
            f"{run.validation_loss:.6f}",
            *([_loss(run.figures.validation_loss_all_positions)] if beside else []),
            _number(run.figures.best_epoch),
            _number(run.figures.num_parameters),
            _number(run.figures.seconds),
        )
    more = len(ranked) - top
    return as_text(table) + (f"... and {more:,} more\n" if more > 0 else "")


def pruned_lines(runs: Sequence[Run]) -> list[str]:
    """How many runs were stopped early, and which of them was the best when it was."""
    pruned = [run for run in runs if run.state is RunState.PRUNED and not run.is_of_other_data]
    if not pruned:
        return []
    best = min(pruned, key=lambda run: (run.best_loss or inf, run.number))
    return [
        f"{counted(len(pruned), 'run')} stopped early, not ranked; the best of them is run "
        f"{best.number}, {_loss(best.best_loss)} after epoch {best.stopped_at}"
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
    terminal = shutil.get_terminal_size((_WIDTH, 24)).columns
    console.width = max(console.measure(table).minimum, min(_WIDTH, terminal))
    with console.capture() as capture:
        console.print(table)
    return capture.get()


def _loss(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else ""
