"""The proposer of each `search_strategy`."""

from sequifier_hpo.search.grid import GridRuns
from sequifier_hpo.search.learning import LearningRuns
from sequifier_hpo.search.sample import SampledRuns
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, SearchSpace
from sequifier_hpo.study.proposing import Proposer


def proposer_of(
    space: SearchSpace, effective: EffectiveSpace, keyer: Keyer, *, num_runs: int
) -> Proposer:
    """Who says which run of a search comes next.

    Args:
        space: With the search file that it was compiled from.
        effective: Its distinct runs.
        keyer: Names them.
        num_runs: Of the search, in all; a grid has as many as there are.
    """
    config, parts = space.config, (space, effective, keyer)
    match config.search_strategy:
        case "grid":
            return GridRuns(*parts)
        case "bayesian":
            gap = config.proposal_gap
            return LearningRuns(*parts, seed=config.seed, n_samples=num_runs, proposal_gap=gap)
        case _:
            return SampledRuns(*parts, seed=config.seed, n_samples=num_runs)
