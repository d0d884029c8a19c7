"""The proposer of each `search_strategy`, and the pruner."""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from sequifier_hpo.searchspace import EffectiveSpace, Keyer, SearchSpace
from sequifier_hpo.strategy.budgets import Budget
from sequifier_hpo.strategy.grid import GridRuns
from sequifier_hpo.strategy.last_round import LastRound
from sequifier_hpo.strategy.learning import LearningRuns
from sequifier_hpo.strategy.pruning import Pruning
from sequifier_hpo.strategy.sample import SampledRuns
from sequifier_hpo.strategy.stopping import EarlyStopping, PruningSince
from sequifier_hpo.study.identity import Strategy
from sequifier_hpo.study.proposing import Proposer

_PRUNING, _GAP = "pruning", "pruning_gap"


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
    proposer: Proposer
    match config.search_strategy:
        case "grid":
            proposer = GridRuns(*parts)
        case "bayesian":
            gap = config.proposal_gap
            proposer = LearningRuns(*parts, seed=config.seed, n_samples=num_runs, proposal_gap=gap)
        case _:
            proposer = SampledRuns(*parts, seed=config.seed, n_samples=num_runs)
    if config.pruning is None:
        return proposer
    settings = {_PRUNING: config.pruning.model_dump(mode="json"), _GAP: config.pruning_gap}
    return LastRound(proposer, config.num_to_finish, settings)


def budget_of(space: SearchSpace, seconds_left: Callable[[], float]) -> Budget:
    """What keeps the runs of a search from starting.

    Args:
        space: The compiled search file.
        seconds_left: To train, of this start.
    """
    epochs = space.config.epoch_budget or inf
    return Budget(space.num_epochs_at, epochs=epochs, seconds_left=seconds_left)


def pruner_of(space: SearchSpace, strategies: Sequence[Strategy]) -> EarlyStopping:
    """Who says which runs of a search are stopped.

    Args:
        space: The compiled search file.
        strategies: How the runs of the study are chosen, oldest first.
    """
    revisions = [_since(each.since_ordinal, each.settings) for each in strategies]
    return EarlyStopping(revisions, space.num_epochs_at)


def _since(ordinal: int, settings: Mapping[str, Any]) -> PruningSince:
    how = settings.get(_PRUNING)
    return PruningSince(ordinal, Pruning(**how) if how else None, settings.get(_GAP, 1))
