"""Runs of a search again, with other seeds: what a winner check trains."""

from collections.abc import Sequence
from dataclasses import dataclass

from sequifier_hpo.records import Run
from sequifier_hpo.searchspace import Keyer, Point
from sequifier_hpo.study.proposing import Proposal

_NUM_SEEDS = 2**32  # torch and numpy take as many


@dataclass(frozen=True)
class Retraining:
    """One run of a search with another seed."""

    run: Run
    seed: int
    key: str

    @property
    def title(self) -> str:
        """What it is called in front of people."""
        return f"run {self.run.number}, seed {self.seed}"

    @property
    def proposal(self) -> Proposal:
        """What a proposer says of it."""
        return Proposal(self.key, Point.from_json(self.run.point), self.run.labels)


def retrainings_of(
    runs: Sequence[Run], keyer: Keyer, *, search_seed: int, num_seeds: int
) -> list[Retraining]:
    """The runs, each with the seeds after that of the search.

    A seed at a time, so that a check that is stopped early can compare what it has.
    """
    seeds = [(search_seed + i) % _NUM_SEEDS for i in range(1, num_seeds + 1)]
    return [
        Retraining(run, seed, keyer.key(Point.from_json(run.point), seed=seed))
        for seed in seeds
        for run in runs
    ]
