"""`sequifier-hpo replay`: how much training each way of searching would have needed."""

import json
from dataclasses import asdict
from enum import StrEnum
from math import isinf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table

from sequifier_hpo.cli.say import say
from sequifier_hpo.cli.tables import as_text
from sequifier_hpo.words import counted

if TYPE_CHECKING:
    from sequifier_hpo.strategy.efficiency import Efficiency, Quartiles


class PruningMethod(StrEnum):
    """How runs are compared while they are trained."""

    SUCCESSIVE_HALVING = "successive_halving"
    MEDIAN = "median"


_COLUMNS = """\
best 1 %, 5 %: training needed to see a loss as good as that of the best 1 % (5 %) of the
    table, in full runs' worth of epochs, those dropped after a stop included;
    median [quartiles] of {seeds}
at 10, 20, ...: best loss seen after so many full runs' worth, minus the table's best
best stopped: searches that stopped the table's best run, of those that tried it"""

RunTableFile = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE.csv",
        help="A row per run: a column per parameter, then epoch_1, epoch_2, ... with the "
        "validation loss after each epoch, blank after the end of a shorter run.",
    ),
]
Seeds = Annotated[int, typer.Option(min=1, help="Searches to replay, each with a seed of its own.")]
NumSamples = Annotated[int, typer.Option(min=1, help="Runs of a search.")]
Workers = Annotated[int, typer.Option(min=1, help="Runs trained at the same time.")]
ProposalGap = Annotated[
    int, typer.Option(min=1, help="A proposal sees only runs at least this many before it.")
]
PruningOption = Annotated[PruningMethod, typer.Option(help="How runs are stopped early.")]
FirstRung = Annotated[int, typer.Option(min=1, help="Epochs that every run is given.")]
ReductionFactor = Annotated[
    int, typer.Option(min=2, help="One in this many runs at a rung goes on.")
]
PruningGap = Annotated[
    int, typer.Option(min=1, help="A decision to stop sees only runs at least this many before it.")
]
FinishBest = Annotated[
    int, typer.Option(min=0, help="Stopped runs that are trained to their full length at the end.")
]


def replay(
    table: RunTableFile,
    seeds: Seeds = 50,
    n_samples: NumSamples = 120,
    workers: Workers = 4,
    proposal_gap: ProposalGap = 12,
    pruning: PruningOption = PruningMethod.SUCCESSIVE_HALVING,
    first_rung: FirstRung = 2,
    reduction_factor: ReductionFactor = 3,
    pruning_gap: PruningGap = 2,
    finish_best: FinishBest = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Compare ways to search on a table of trained runs.

    Nothing is trained: the table has the loss curves, and workers are simulated. It shows on
    runs of your own what a search would have cost.

    Example: sequifier-hpo replay runs.csv
    """
    # Optuna takes half a second: only when a table is really searched.
    from sequifier_hpo.strategy.efficiency import efficiency, ways_to_search  # noqa: PLC0415 - see above
    from sequifier_hpo.strategy.pruning import Pruning  # noqa: PLC0415 - see above
    from sequifier_hpo.strategy.replay import ReplaySettings  # noqa: PLC0415 - see above
    from sequifier_hpo.strategy.table import read_table  # noqa: PLC0415 - see above

    runs = read_table(table)
    say(f"{table}: {counted(len(runs.runs), 'run')}, best loss {runs.best(0):.6g}")
    early = Pruning(method=pruning.value, first_rung=first_rung, reduction_factor=reduction_factor)
    settings = ReplaySettings(
        "sample", early, proposal_gap, pruning_gap, finish_best, n_samples, workers
    )
    found = {}
    for name, each in ways_to_search(settings).items():
        say(f"replaying {name} ...")
        found[name] = efficiency(runs, each, seeds=range(seeds))
    if as_json:
        print(json.dumps({name: _record(each) for name, each in found.items()}, indent=2))
        return
    print(_table(found), end="")
    print(f"pruning: {pruning.value}, first rung {first_rung}, reduction factor {reduction_factor}")
    print(_COLUMNS.format(seeds=counted(seeds, "seed")))


def _table(found: "dict[str, Efficiency]") -> str:
    budgets = list(next(iter(found.values())).regret)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("search", no_wrap=True)
    regrets = (f"at {budget}" for budget in budgets)
    headings = ("best 1 %", "best 5 %", *regrets, "best stopped", "busy")
    for heading in headings:
        table.add_column(heading, justify="right")
    for name, each in found.items():
        stopped = f"{each.winner_stopped} of {each.winner_started}"
        if each.winner_stopped:
            stopped += f", {each.winner_returned} back"
        table.add_row(
            name,
            _needed(each.to_best_1_percent),
            _needed(each.to_best_5_percent),
            *("-" if loss is None else f"{loss:.4f}" for loss in each.regret.values()),
            stopped,
            f"{each.busy_share:.0%}",
        )
    return as_text(table)


def _needed(quartiles: "Quartiles") -> str:
    low, middle, high = (_trainings(each) for each in asdict(quartiles).values())
    return f"{middle} [{low}, {high}]"


def _trainings(number: float) -> str:
    return "never" if isinf(number) else f"{number:.0f}"


def _record(each: "Efficiency") -> dict[str, object]:
    """As JSON: what was never reached is null."""
    record = asdict(each)
    for name in ("to_best_1_percent", "to_best_5_percent"):
        record[name] = {k: None if isinf(v) else v for k, v in record[name].items()}
    return record
