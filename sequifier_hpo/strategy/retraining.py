"""Runs of a search again, with other seeds: what a winner check trains."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sequifier_hpo.config.paths import retraining_name
from sequifier_hpo.records import Run, Stored
from sequifier_hpo.searchspace import Keyer, Point, SearchSpace, same_run_in
from sequifier_hpo.study.proposing import Proposal

_NUM_SEEDS = 2**32  # torch and numpy take as many


@dataclass(frozen=True)
class Retraining:
    """One run of a search with another seed."""

    run: Run
    seed: int
    key: str
    labels: Mapping[str, Stored]
    """What Optuna stores for what is chosen in it."""
    model_name: str
    """What its files are called."""

    @property
    def title(self) -> str:
        """What it is called in front of people."""
        return f"run {self.run.number}, seed {self.seed}"

    @property
    def proposal(self) -> Proposal:
        """What a proposer says of it."""
        return Proposal(self.key, Point.from_json(self.run.point), self.labels)


def retrainings_of(
    runs: Sequence[Run],
    space: SearchSpace,
    keyer: Keyer,
    *,
    search_seed: int,
    num_seeds: int,
    recounted_to: int | None = None,
) -> list[Retraining]:
    """The runs, each with the seeds after that of the search.

    A seed at a time, so that a check that is stopped early can compare what it has.

    Args:
        runs: Of the search.
        space: Its space.
        keyer: Names the runs of that space.
        search_seed: That of the search.
        num_seeds: How many seeds.
        recounted_to: How many positions its losses count, if there were more of them once.
    """
    seeds = [(search_seed + i) % _NUM_SEEDS for i in range(1, num_seeds + 1)]
    points = [Point.from_json(run.point) for run in runs]
    # The study may have been revised: its labels are not those of the present lists.
    present = [
        same_run_in(space, point, run.key, keyer.key) or point
        for run, point in zip(runs, points, strict=True)
    ]
    labels = [space.labels_of(point) for point in present]
    name = space.config.hp_search_name
    return [
        Retraining(
            run,
            seed,
            keyer.key(point, seed=seed),
            run.labels if of_run is None else of_run,
            retraining_name(name, run.number, seed, recounted_to),
        )
        for seed in seeds
        for run, point, of_run in zip(runs, points, labels, strict=True)
    ]
