"""The two samplers: Optuna's own, with every choice decided by the run's rank.

They keep the contracts of `GridSampler` and `RandomSampler`, so that a study stays an ordinary
Optuna study, but neither writes out the product nor draws from a generator whose state a resume or
a second process would repeat: rank -> cell is a seeded permutation of the distinct runs.
"""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GridSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from sequifier_hpo.searchspace import EffectiveSpace, SearchSpace

RANK = "sequifier_hpo:rank"
"""System attribute of a trial: which of the distinct runs it is."""


def make_sampler(space: SearchSpace, effective: EffectiveSpace, strategy: str) -> "RankSampler":
    """The sampler of a search strategy: `grid` or `sample`."""
    kind = RankedGridSampler if strategy == "grid" else RankedRandomSampler
    return kind(space, effective)


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """The space as Optuna's distributions: all categorical, choices are labels."""
    return {
        parameter.name: CategoricalDistribution(parameter.labels) for parameter in space.parameters
    }


class RankSampler(BaseSampler):
    """Proposes the run of a rank; without a coordinator, ranks follow the trial numbers."""

    def __init__(self, space: SearchSpace, effective: EffectiveSpace) -> None:
        # The constructors of the parents are not called: one writes out the product, the other
        # seeds a generator, and nothing of either is used.
        self._space = space
        self._effective = effective

    def propose(self, rank: int) -> dict[str, Any]:
        """Parameter values of the run with this rank.

        Raises:
            IndexError: If there is no such rank.
        """
        return dict(self._space.labels_at(self._effective.representative(rank)))

    def reseed_rng(self) -> None:
        """Do nothing: there is no generator."""

    def infer_relative_search_space(
        self,
        study: optuna.Study,  # noqa: ARG002 - Optuna's signature
        trial: FrozenTrial,  # noqa: ARG002 - Optuna's signature
    ) -> dict[str, BaseDistribution]:
        """All parameters are proposed together."""
        return distributions(self._space)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Give a trial that was not made by a coordinator the next rank."""
        if RANK not in trial.system_attrs:
            rank = trial.number % self._effective.num_distinct
            study._storage.set_trial_system_attr(trial._trial_id, RANK, rank)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values of the trial's rank."""
        attrs = study._storage.get_trial_system_attrs(trial._trial_id)
        proposal = self.propose(attrs[RANK])
        return {name: proposal[name] for name in search_space}

    def sample_independent(
        self,
        study: optuna.Study,  # noqa: ARG002 - Optuna's signature
        trial: FrozenTrial,  # noqa: ARG002 - Optuna's signature
        param_name: str,
        param_distribution: BaseDistribution,  # noqa: ARG002 - Optuna's signature
    ) -> Any:
        """Refuse a parameter that is not part of the space.

        Raises:
            ValueError: Always: every parameter of the space is sampled relatively.
        """
        raise ValueError(f"{param_name} is not a parameter of this search space")

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,  # noqa: ARG002 - Optuna's signature
        state: TrialState,  # noqa: ARG002 - Optuna's signature
        values: Sequence[float] | None,  # noqa: ARG002 - Optuna's signature
    ) -> None:
        """End `Study.optimize` when every distinct run was proposed."""
        in_optimize = study._thread_local.in_optimize_loop
        if in_optimize and len(study.get_trials(deepcopy=False)) >= self._effective.num_distinct:
            study.stop()


class RankedGridSampler(RankSampler, GridSampler):
    """Grid search: every distinct run once, in a seeded order."""

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Whether every distinct run has a finished trial."""
        finished = {
            trial.system_attrs.get(RANK)
            for trial in study.get_trials(deepcopy=False)
            if trial.state.is_finished()
        }
        return len(finished - {None}) >= self._effective.num_distinct


class RankedRandomSampler(RankSampler, RandomSampler):
    """Random search without repetition: any prefix of the seeded order is a uniform sample."""
