"""Replay searches on tables of trained runs: ours, stock Optuna's and that of Sequifier 3.1.1.0.

Usage: python run.py [TABLE.csv ...] [--seeds N] [--workers N] [--ours] [--smallest]

Without tables: those of this folder. Nothing is trained.
"""

import argparse
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import optuna
from stock import optuna_ways, search, sequifier_way

from sequifier_hpo.strategy.efficiency import BUDGETS, Efficiency, summary, trainings_to
from sequifier_hpo.strategy.pruning import Pruning
from sequifier_hpo.strategy.replay import Replay, ReplaySettings, replay
from sequifier_hpo.strategy.table import RunTable, read_table

FOLDER = Path(__file__).parent
WINDOWS = 1000
"""Of the training split, about: so many batches an epoch has, as Sequifier's pruner counts."""
RUNS = 100
"""Of a search of ours, its last round aside."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Way:
    """A way to search a table, given a seed."""

    search: Callable[[int], Replay]
    workers: int


def ours(table: RunTable, workers: int, num_runs: int = RUNS) -> dict[str, Way]:
    """Those of the product at its defaults, and a greedier one."""
    default = ReplaySettings(
        "bayesian", Pruning(), finish_best=3, n_samples=num_runs, workers=workers
    )
    settings = {
        "sample": replace(default, search_strategy="sample", pruning=None, n_samples=2 * num_runs),
        "sample + pruning": replace(default, search_strategy="sample"),
        "bayesian": replace(default, pruning=None),
        "**bayesian + pruning**": default,
        "bayesian + pruning, greedy": replace(default, proposal_gap=workers, pruning_gap=1),
    }
    return {
        name: Way(lambda seed, way=way: replay(table, way, seed=seed), workers)
        for name, way in settings.items()
    }


def others(table: RunTable, workers: int, budget: int = BUDGETS[-1]) -> dict[str, Way]:
    """Those of stock Optuna, with as many workers and alone, and that of Sequifier."""
    most = budget * sum(run.num_epochs for run in table.runs) / len(table.runs)
    found = partial(search, table, max_epochs=most)
    ways = {
        f"{name}, {_counted(number)}": Way(lambda seed, way=way: found(way, seed=seed), number)
        for number in sorted({workers, 1}, reverse=True)
        for name, way in optuna_ways(number).items()
    }
    sequifier = sequifier_way(WINDOWS, table.parameters)
    ways["Sequifier 3.1.1.0, 1 worker"] = Way(lambda seed: found(sequifier, seed=seed), 1)
    return ways


def _counted(workers: int) -> str:
    return "1 worker" if workers == 1 else f"{workers} workers"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Within which the median of as many searches lies, 95 of 100 times: by the bootstrap."""
    rng = random.Random(0)
    medians = sorted(median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[round(0.025 * RESAMPLES)], medians[round(0.975 * RESAMPLES) - 1]


def spearman(table: RunTable) -> float:
    """Rank correlation of the loss after the first epoch with the best loss."""
    first = _ranks([run.losses[0] for run in table.runs])
    best = _ranks([run.best_loss for run in table.runs])
    middle = (len(first) - 1) / 2
    covariance = sum((a - middle) * (b - middle) for a, b in zip(first, best, strict=True))
    return covariance / sum((a - middle) ** 2 for a in first)


def _ranks(values: Sequence[float]) -> list[int]:
    order = sorted(range(len(values)), key=values.__getitem__)
    return [order.index(i) for i in range(len(values))]


def row(table: RunTable, way: Way, replays: Sequence[Replay], sample: float) -> list[str]:
    """The line of the printed table about searches made in one way."""
    found = summary(table, replays, workers=way.workers)
    needed = trainings_to(0.01, table, replays)
    low, high = map(_number, interval(needed))
    best_1, best_5 = median(needed), found.to_best_5_percent.median
    regrets = ("-" if loss is None else f"{1000 * loss:.1f}" for loss in found.regret.values())
    return [
        f"{_number(best_1)} ({low} to {high})",
        f"{sample / best_1:.1f}",
        _number(best_5),
        " / ".join(regrets),
        _winner(found),
        f"{found.busy_share:.0%}",
    ]


def _winner(found: Efficiency) -> str:
    if not found.winner_stopped:
        return f"0 of {found.winner_started}"
    return f"{found.winner_stopped} of {found.winner_started}, {found.winner_returned} back"


def _number(trainings: float) -> str:
    return "never" if math.isinf(trainings) else f"{trainings:.1f}"


def main() -> None:
    """Print a table per table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tables", nargs="*", type=Path, help="default: those of this folder")
    parser.add_argument("--seeds", type=int, default=50, help="searches of each way")
    parser.add_argument("--workers", type=int, default=4, help="runs trained at the same time")
    parser.add_argument("--ours", action="store_true", help="leave Optuna and Sequifier out")
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    files = options.tables or sorted(FOLDER.glob("*.csv"))
    start, seeds = time.perf_counter(), range(2 if options.smallest else options.seeds)
    for file in files[:1] if options.smallest else files:
        table = read_table(file)
        ways = ours(table, options.workers, *([15] if options.smallest else []))
        if not options.ours:
            ways |= others(table, options.workers, *([5] if options.smallest else []))
        print_table(file.stem, table, ways, seeds)
    print(f"{len(seeds)} searches each, {time.perf_counter() - start:.0f} s")


def print_table(name: str, table: RunTable, ways: dict[str, Way], seeds: Sequence[int]) -> None:
    """In Markdown, a line as soon as it is known."""
    print(
        f"\n{name}: {len(table.runs)} runs, best loss {table.best(0):.5g}, rank correlation",
        end=" ",
    )
    print(f"of the first epoch with the best {spearman(table):.2f}\n")
    at = " / ".join(map(str, BUDGETS))
    columns = ["search", "best 1 %", "x less than sample", "best 5 %", f"regret at {at}, 1e-3"]
    columns += ["best stopped", "busy"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}", flush=True)
    sample = None
    for label, way in ways.items():
        replays = [way.search(seed) for seed in seeds]
        sample = sample or median(trainings_to(0.01, table, replays))
        print(f"| {' | '.join([label, *row(table, way, replays, sample)])} |", flush=True)


if __name__ == "__main__":
    main()
