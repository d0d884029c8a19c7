"""The proposer of each `search_strategy`, and the pruner."""

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any

from sequifier_hpo.config.search_fields import SearchFile
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, SearchSpace
from sequifier_hpo.strategy.budgets import Budget
from sequifier_hpo.strategy.first_rule import FirstPruning
from sequifier_hpo.strategy.grid import GridRuns
from sequifier_hpo.strategy.last_round import LastRound
from sequifier_hpo.strategy.learning import LearningRuns
from sequifier_hpo.strategy.pruning import Pruning
from sequifier_hpo.strategy.sample import SampledRuns
from sequifier_hpo.strategy.stopping import EarlyStopping, PruningSince
from sequifier_hpo.study.identity import Strategy
from sequifier_hpo.study.proposing import Proposer

_PRUNING, _GAP = "pruning", "pruning_gap"
_RULE = "pruning_rule"
_PRESENT_RULE = 2
"""By which runs are compared; a study that has none stored was begun with the first."""


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
    return LastRound(proposer, config.num_to_finish, pruning_settings(config))


def pruning_settings(config: SearchFile) -> dict[str, Any]:
    """What decides which runs are stopped, as JSON values; nothing without `pruning`."""
    if config.pruning is None:
        return {}
    how = config.pruning.model_dump(mode="json")
    return {_PRUNING: how, _GAP: config.pruning_gap, _RULE: _PRESENT_RULE}


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
    rule = Pruning if settings.get(_RULE) == _PRESENT_RULE else FirstPruning
    return PruningSince(ordinal, rule(**how) if how else None, settings.get(_GAP, 1))
