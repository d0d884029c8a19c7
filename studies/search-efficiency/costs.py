"""Measure what a proposal and a decision cost, given a long history.

Usage: python costs.py [--smallest]

The space has 12 parameters, the history so many ended runs, half of them stopped at a rung.
"""

import argparse
import random
import time
from collections.abc import Callable
from functools import partial
from statistics import median

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from sequifier_hpo.strategy.bayesian import Taught, suggest
from sequifier_hpo.strategy.pruning import Pruning

LENGTHS = (10, 100, 1000, 5000)
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


def milliseconds(function: Callable[[], object], repeats: int) -> str:
    """Median and largest processor time of a call."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(1000 * (time.process_time() - start))
    return f"{median(times):.2f} ({max(times):.2f})"


def costs(num_runs: int, repeats: int) -> str:
    """A line about one length of the history."""
    runs = history(num_runs)
    losses = [run.loss for run in runs if run.loss is not None]
    seen = {tuple(run.params.values()) for run in runs}

    def propose() -> object:
        return suggest(
            SPACE,
            runs,
            ordinal=num_runs,
            seed=1,
            is_used=lambda params: tuple(params.values()) in seen,
        )

    proposal = milliseconds(propose, repeats)
    halving, middle = (
        milliseconds(partial(pruning.stops, 2, 0.3, losses), repeats)
        for pruning in (Pruning(), Pruning(method="median"))
    )
    return f"{num_runs:5} runs: proposal {proposal}, halving {halving}, median {middle}"


def main() -> None:
    """Print a line per length of the history."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    lengths, repeats = ((10, 20), 3) if parser.parse_args().smallest else (LENGTHS, 30)
    print("processor time in ms: median (largest)")
    for num_runs in lengths:
        print(costs(num_runs, repeats))


if __name__ == "__main__":
    main()
