"""Model-based proposals: Optuna's TPE on the part of the past that a run may see."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.trial import FrozenTrial, TrialState

from sequifier_hpo.strategy.facade import Facade, frozen

_CONSTRAINT = "constraints:memory"
"""System attribute of a trial that Optuna reads; above 0 it is violated."""
Params = Mapping[str, int | float]
"""Parameter -> value as the sampler is told: a number, or the index of a category."""


@dataclass(frozen=True)
class Taught:
    """An ended run, as the sampler is told."""

    ordinal: int
    params: Params
    loss: float | None
    """Its best loss; None if it failed by itself: it teaches as a bad one."""
    stopped_at: int | None = None
    """Epoch of the rung at which it was stopped."""
    never_fitted: bool = False
    """Whether it failed for its size: it teaches as one that violates a constraint."""


def suggest(
    space: Mapping[str, BaseDistribution],
    past: Sequence[Taught],
    *,
    ordinal: int,
    seed: int,
    is_used: Callable[[Params], bool],
) -> Params | None:
    """The values that TPE proposes for a run: the best of its candidates that is not used.

    Source: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", in the multivariate
    form of Falkner et al. 2018, as Optuna implements it.

    Args:
        space: What to choose from. The order of its keys is an input.
        past: The ended runs that it may know of, by ordinal.
        ordinal: Of the run.
        seed: 32 bits that are another for each run.
        is_used: Whether values are those of a run that was handed out.

    Returns:
        None while too few runs have ended, and where every candidate is used.
    """
    sampler = _UnusedTPESampler(space, is_used, seed)
    study = Facade([_told(run, space) for run in past]).as_study()
    trial = frozen(ordinal, TrialState.RUNNING)
    values = sampler.sample_relative(study, trial, dict(space))
    return values if values and sampler.found_unused else None


def _told(run: Taught, space: Mapping[str, BaseDistribution]) -> FrozenTrial:
    """The trial that stands for a run; a failed one would be left out."""
    is_complete = run.loss is not None and run.stopped_at is None
    at_rung = {} if run.stopped_at is None or run.loss is None else {run.stopped_at: run.loss}
    return frozen(
        run.ordinal,
        TrialState.COMPLETE if is_complete else TrialState.PRUNED,
        params=run.params,
        distributions=space,
        value=run.loss if is_complete else None,
        # Without any it counts as worse than all others.
        intermediate_values=at_rung,
        system_attrs={_CONSTRAINT: 1.0} if run.never_fitted else None,
    )


class _UnusedTPESampler(TPESampler):
    """Takes the best of TPE's candidates that is not used yet.

    To draw again until one is new fails where the model is sure of a few configurations.
    """

    def __init__(
        self,
        space: Mapping[str, BaseDistribution],
        is_used: Callable[[Params], bool],
        seed: int,
    ) -> None:
        super().__init__(multivariate=True, constant_liar=False, seed=seed)
        self._space = space
        self._is_used = is_used
        self.found_unused = False

    def _compute_acquisition_func(
        self,
        samples: dict[str, np.ndarray],
        mpe_below: _ParzenEstimator,
        mpe_above: _ParzenEstimator,
    ) -> np.ndarray:
        values = super()._compute_acquisition_func(samples, mpe_below, mpe_above)
        for i in np.argsort(-values, kind="stable"):
            params = {
                name: distribution.to_external_repr(samples[name][i].item())
                for name, distribution in self._space.items()
            }
            if not self._is_used(params):
                self.found_unused = True
                only = np.full_like(values, -np.inf)
                only[i] = 0.0
                return only
        return values
