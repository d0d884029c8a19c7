"""What a warm start saves: searches of a table that an earlier search of it guides.

Usage: python warm.py [TABLE.csv] [--runs 40] [--seeds 50] [--workers 4]

Nothing is trained. What the earlier search trained is not counted: it is there already.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from run import interval

from sequifier_hpo.strategy.efficiency import BUDGETS, summary, trainings_to
from sequifier_hpo.strategy.past import PastRun
from sequifier_hpo.strategy.pruning import Pruning
from sequifier_hpo.strategy.replay import Replay, ReplaySettings, replay
from sequifier_hpo.strategy.table import RunTable, read_table

FOLDER = Path(__file__).parent
RUNS = 100
"""Of the search that is guided."""
OTHER_SEEDS = 10_000
"""The earlier search has another seed than the one that it guides."""


@dataclass(frozen=True)
class Start:
    """From what a search starts."""

    earlier: ReplaySettings | None
    """The search that guides it; None = nothing does."""
    leaves_out: bool = False
    """Whether the earlier search did not have the last candidate of any parameter."""

    def lessons(self, table: RunTable, seed: int) -> Sequence[PastRun]:
        """What the search with a seed is told."""
        if self.earlier is None:
            return ()
        known = without_last(table) if self.leaves_out else table
        done = replay(known, self.earlier, seed=OTHER_SEEDS + seed)
        places = (table.runs.index(known.runs[place]) for place in done.tried)
        return [
            replace(run, params=table.params(place))
            for run, place in zip(done.past.runs, places, strict=True)
        ]


def without_last(table: RunTable) -> RunTable:
    """The part of a table without the last candidate of each parameter that has more than two."""
    last = {
        i: labels[-1]
        for i, labels in enumerate(table.choices[name] for name in table.parameters)
        if len(labels) > 2
    }
    kept = (run for run in table.runs if all(run.labels[i] != label for i, label in last.items()))
    return RunTable(table.parameters, tuple(kept))


def main() -> None:
    """Print a row for each start."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("table", nargs="?", type=Path, default=FOLDER / "weather.csv")
    parser.add_argument("--runs", type=int, default=40, help="of the earlier search")
    parser.add_argument("--seeds", type=int, default=50, help="searches from each start")
    parser.add_argument("--workers", type=int, default=4, help="runs trained at the same time")
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    options = parser.parse_args()
    num_runs, seeds = (15, range(2)) if options.smallest else (RUNS, range(options.seeds))
    began, table = time.perf_counter(), read_table(options.table)
    way = ReplaySettings(
        "bayesian", Pruning(), finish_best=3, n_samples=num_runs, workers=options.workers
    )
    earlier = replace(way, n_samples=options.runs, finish_best=0)
    sample = replace(earlier, search_strategy="sample", pruning=None)
    starts = {
        "nothing": Start(None),
        f"{options.runs} runs of a sample": Start(sample),
        f"{options.runs} runs of bayesian + pruning": Start(earlier),
        f"the same, in a part of the space ({len(without_last(table).runs)} of "
        f"{len(table.runs)})": Start(earlier, leaves_out=True),
    }
    print(f"{options.table.stem}: bayesian + pruning, guided by")
    at = " / ".join(map(str, BUDGETS))
    print(f"| guided by | best 1 % | best 5 % | regret at {at}, 1e-3 |\n| --- | --- | --- | --- |")
    for name, start in starts.items():
        done = [replay(table, way, seed=seed, lessons=start.lessons(table, seed)) for seed in seeds]
        print(f"| {name} | {' | '.join(row(table, done, options.workers))} |", flush=True)
    print(f"{len(seeds)} searches each, {time.perf_counter() - began:.0f} s")


def row(table: RunTable, done: Sequence[Replay], workers: int) -> list[str]:
    """Medians of searches, and the intervals of these."""
    cells = []
    for share in (0.01, 0.05):
        needed = trainings_to(share, table, done)
        low, high = interval(needed)
        cells.append(f"{median(needed):.1f} ({low:.1f} to {high:.1f})")
    regret = summary(table, done, workers=workers).regret
    shown = ("-" if loss is None else f"{1000 * loss:.1f}" for loss in regret.values())
    return [*cells, " / ".join(shown)]


if __name__ == "__main__":
    main()
