"""Tables for the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from sequifier_hpo.records import Run

_TOP = 10


def leaderboard_table(ranked: Sequence[Run], top: int = _TOP) -> str:
    """The best runs as a table of text."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "run", "validation loss", "best epoch", "parameters", "seconds"):
        table.add_column(heading, justify="right")
    for position, run in enumerate(ranked[:top], start=1):
        attributes = run.attributes
        twin = "" if run.duplicate_of is None else f" (= {run.duplicate_of})"
        table.add_row(
            str(position),
            f"{run.number}{twin}",
            f"{run.validation_loss:.6f}",
            _number(attributes.get("best_epoch")),
            _number(attributes.get("num_parameters")),
            _number(attributes.get("seconds")),
        )
    console = Console(width=100, no_color=True)
    with console.capture() as capture:
        console.print(table)
    more = len(ranked) - top
    return capture.get() + (f"... and {more:,} more\n" if more > 0 else "")


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else ""
