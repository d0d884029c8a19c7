"""Ask one of Optuna's samplers, which draws every parameter alone, without a study in a storage."""

from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from sequifier_hpo.strategy.facade import Facade, frozen


def ask(
    sampler: BaseSampler,
    distributions: Mapping[str, BaseDistribution],
    *,
    ordinal: int,
    system_attrs: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Parameter values of the run with this ordinal, as the sampler chooses them.

    Args:
        sampler: One of Optuna's; its state changes.
        distributions: What to choose from; asked for in this order.
        ordinal: The number of the trial in the sampler's eyes.
        system_attrs: Of that trial.
    """
    study = Facade().as_study()
    trial = frozen(ordinal, TrialState.RUNNING, system_attrs=system_attrs)
    return {
        name: sampler.sample_independent(study, trial, name, distribution)
        for name, distribution in distributions.items()
    }
