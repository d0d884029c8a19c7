"""How much training a way of searching needs on a table of runs: replays over many seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf
from statistics import median
from typing import get_args

from sequifier_hpo.strategy.past import PastRun
from sequifier_hpo.strategy.replay import Replay, ReplaySettings, SearchStrategy, replay
from sequifier_hpo.strategy.table import RunTable

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
    return summary(table, replays, workers=settings.workers)


def summary(table: RunTable, replays: Sequence[Replay], *, workers: int) -> Efficiency:
    """What searches of a table came to, whoever made them."""
    winner = min(range(len(table.runs)), key=lambda place: table.runs[place].best_loss)
    runs_of_winner = [(done, done.tried.index(winner)) for done in replays if winner in done.tried]
    stopped = [(done, k) for done, k in runs_of_winner if _is_stopped(done.past.runs[k])]
    return Efficiency(
        to_best_1_percent=_quartiles(trainings_to(0.01, table, replays)),
        to_best_5_percent=_quartiles(trainings_to(0.05, table, replays)),
        regret={budget: _regret(table, replays, budget) for budget in BUDGETS},
        winner_started=len(runs_of_winner),
        winner_stopped=len(stopped),
        winner_returned=sum(k in done.finished for done, k in stopped),
        busy_share=median(done.busy_seconds / (done.seconds * workers) for done in replays),
    )


def trainings_to(share: float, table: RunTable, replays: Iterable[Replay]) -> list[float]:
    """Full trainings' worth of epochs until each saw a loss of the table's best share of runs."""
    epochs = (done.epochs_to(table.best(share)) for done in replays)
    return [inf if n is None else n / _epochs_per_training(table) for n in epochs]


def _epochs_per_training(table: RunTable) -> float:
    return sum(run.num_epochs for run in table.runs) / len(table.runs)


def _is_stopped(run: PastRun) -> bool:
    return run.stopped_at is not None


def _quartiles(values: Iterable[float]) -> Quartiles:
    ranked = sorted(values)
    low, middle, high = (ranked[round(share * (len(ranked) - 1))] for share in (0.25, 0.5, 0.75))
    return Quartiles(low, middle, high)


def _regret(table: RunTable, replays: Sequence[Replay], budget: int) -> float | None:
    epochs, best = budget * _epochs_per_training(table), table.best(0)
    found = ((done.best_after(epochs), done.epochs) for done in replays)
    # One that ends once it has seen the best needs no more epochs to stay there.
    losses = [loss for loss, trained in found if trained >= epochs or loss == best]
    if 2 * len(losses) <= len(replays):
        return None
    return median(inf if loss is None else loss - best for loss in losses)
