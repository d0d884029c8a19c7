"""Measure what a proposal and a decision cost, given a long history.

Usage: python costs.py [--smallest]

The space has 12 parameters, the history so many ended runs, half of them stopped at a rung.
"""

import argparse
import random
import time
from collections.abc import Callable
from statistics import median

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from sequifier_hpo.search.bayesian import Taught, suggest
from sequifier_hpo.search.pruning import Pruning

SPACE: dict[str, BaseDistribution] = {
    **{f"ordered_{i}": IntDistribution(0, 2 + i) for i in range(8)},
    **{f"named_{i}": CategoricalDistribution(range(2 + i)) for i in range(4)},
}


def history(num_runs: int) -> list[Taught]:
    """Ended runs with random choices and losses."""
    rng = random.Random(num_runs)
    runs = []
    for ordinal in range(num_runs):
        params = {name: rng.randrange(_num_choices(each)) for name, each in SPACE.items()}
        loss, stopped_at = rng.random(), rng.choice([None, None, 2, 4])
        runs.append(Taught(ordinal, params, loss, stopped_at))
    return runs


def _num_choices(distribution: BaseDistribution) -> int:
    if isinstance(distribution, IntDistribution):
        return distribution.high + 1
    assert isinstance(distribution, CategoricalDistribution)
    return len(distribution.choices)


def milliseconds(function: Callable[[int], object], repeats: int) -> str:
    """Median and largest time of a call."""
    times = []
    for i in range(repeats):
        start = time.process_time()
        function(i)
        times.append(1000 * (time.process_time() - start))
    return f"{median(times):8.2f} ({max(times):.2f})"


def main() -> None:
    """Print a line per length of the history."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    is_smallest = parser.parse_args().smallest
    print("medians (largest), ms")
    for num_runs in (10, 20) if is_smallest else (10, 100, 1000, 5000):
        runs = history(num_runs)
        losses = [run.loss for run in runs if run.loss is not None]
        seen: set[tuple[float, ...]] = {tuple(run.params.values()) for run in runs}
        repeats = 3 if is_smallest else 30

        def propose(i: int, runs: list[Taught] = runs) -> object:
            is_used = lambda params: tuple(params.values()) in seen  # noqa: E731 - shorter
            return suggest(SPACE, runs, ordinal=len(runs), seed=i, is_used=is_used)

        print(f"{num_runs:5} runs: proposal {milliseconds(propose, repeats)}", end="")
        for pruning in (Pruning(), Pruning("median")):
            decide = lambda i, p=pruning: p.stops(2, losses[i % 10], losses)  # noqa: E731 - shorter
            print(f", {pruning.method} {milliseconds(decide, repeats)}", end="")
        print()


if __name__ == "__main__":
    main()
