"""Ask one of Optuna's samplers, which draws every parameter alone, without a study in a storage."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState


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
    study = _study_without_trials()
    trial = FrozenTrial(
        number=ordinal,
        trial_id=ordinal,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=None,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs=dict(system_attrs or {}),
        intermediate_values={},
    )
    return {
        name: sampler.sample_independent(study, trial, name, distribution)
        for name, distribution in distributions.items()
    }


@cache
def _study_without_trials() -> optuna.Study:
    return optuna.create_study(sampler=RandomSampler(seed=0))
