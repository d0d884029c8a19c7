"""How much training a way of searching needs on a table of runs: replays over many seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import median
from typing import get_args

from sequifier_hpo.search.past import PastRun
from sequifier_hpo.search.replay import Replay, ReplaySettings, SearchStrategy, replay
from sequifier_hpo.search.table import RunTable

BUDGETS = (10, 20, 40, 80)
"""In full trainings' worth of epochs."""


@dataclass(frozen=True)
class Quartiles:
    """The middle of a number of replays; infinite where fewer got there."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Efficiency:
    """What the replays of one way of searching came to."""

    to_best_1_percent: Quartiles
    """Full trainings' worth of epochs until a loss as small as the best 1 % of the runs was seen."""
    to_best_5_percent: Quartiles
    regret: dict[int, float | None]
    """Budget -> median of the best loss seen within it minus the table's best; None where half of
    the replays ended sooner."""
    winner_started: int
    """Replays in which the table's best run was tried."""
    winner_stopped: int
    """Those of them in which it was stopped at a rung."""
    winner_returned: int
    """Those of them in which the last round gave it its full length."""
    busy_share: float
    """Median of the share of the workers' time in which they trained."""


def ways_to_search(settings: ReplaySettings) -> dict[str, ReplaySettings]:
    """Each strategy by name, without and with the pruning of these settings."""
    ways = {}
    for strategy in get_args(SearchStrategy):
        ways[strategy] = replace(settings, search_strategy=strategy, pruning=None)
        ways[f"{strategy} + pruning"] = replace(settings, search_strategy=strategy)
    return ways


def efficiency(table: RunTable, settings: ReplaySettings, *, seeds: Iterable[int]) -> Efficiency:
    """Replay searches with these settings, one per seed."""
    replays = [replay(table, settings, seed=seed) for seed in seeds]
    training = sum(run.num_epochs for run in table.runs) / len(table.runs)
    winner = min(range(len(table.runs)), key=lambda place: table.runs[place].best_loss)
    runs_of_winner = [(done, done.tried.index(winner)) for done in replays if winner in done.tried]
    stopped = [(done, k) for done, k in runs_of_winner if _is_stopped(done.past.runs[k])]
    return Efficiency(
        to_best_1_percent=_trainings_to(table.best(0.01), replays, training),
        to_best_5_percent=_trainings_to(table.best(0.05), replays, training),
        regret={budget: _regret(table, replays, budget * training) for budget in BUDGETS},
        winner_started=len(runs_of_winner),
        winner_stopped=len(stopped),
        winner_returned=sum(k in done.finished for done, k in stopped),
        busy_share=median(
            done.busy_seconds / (done.seconds * settings.workers) for done in replays
        ),
    )


def _is_stopped(run: PastRun) -> bool:
    return run.stopped_at is not None


def _trainings_to(loss: float, replays: Sequence[Replay], training: float) -> Quartiles:
    epochs = (done.epochs_to(loss) for done in replays)
    needed = sorted(inf if n is None else n / training for n in epochs)
    last = len(needed) - 1
    low, middle, high = (needed[round(share * last)] for share in (0.25, 0.5, 0.75))
    return Quartiles(low, middle, high)


def _regret(table: RunTable, replays: Sequence[Replay], epochs: float) -> float | None:
    losses = [done.best_after(epochs) for done in replays if done.epochs >= epochs]
    if 2 * len(losses) <= len(replays):
        return None
    return median(inf if loss is None else loss - table.best(0) for loss in losses)
