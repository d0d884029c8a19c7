"""What Optuna's samplers and pruners are shown instead of a study in a storage.

They ask a study for its trials and write notes of their own onto the one at hand. Here the trials
are exactly those that a run may know of, so that the answers are pure functions of them.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


@dataclass(slots=True)
class Compared:
    """What a pruner reads of another trial; to make a trial of Optuna's takes ten times as long."""

    intermediate_values: Mapping[int, float]
    system_attrs: Mapping[str, float]
    state: TrialState = TrialState.COMPLETE


class Facade:
    """A study to be minimised that has the given trials, and forgets what is written to it."""

    direction = StudyDirection.MINIMIZE
    directions = (StudyDirection.MINIMIZE,)

    def __init__(self, trials: Sequence[FrozenTrial | Compared] = ()) -> None:
        self._trials = list(trials)
        self._storage = self

    def get_trials(
        self,
        deepcopy: bool = False,  # noqa: ARG002, FBT001, FBT002 - Optuna's signature
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG002, FBT001, FBT002 - as above
    ) -> list[FrozenTrial | Compared]:
        """The trials, by their number."""
        return [trial for trial in self._trials if states is None or trial.state in states]

    _get_trials = get_trials

    def _is_multi_objective(self) -> bool:
        return False

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Nothing: what a sampler or pruner notes is known to who asks it."""

    def as_study(self) -> optuna.Study:
        """Itself, as the type that Optuna's signatures name."""
        return cast("optuna.Study", self)


def frozen(
    number: int,
    state: TrialState,
    *,
    params: Mapping[str, Any] | None = None,
    distributions: Mapping[str, BaseDistribution] | None = None,
    value: float | None = None,
    intermediate_values: Mapping[int, float] | None = None,
    system_attrs: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """A trial as Optuna knows it, without the dates: they have no part in any answer."""
    return FrozenTrial(
        number=number,
        trial_id=number,
        state=state,
        value=value,
        datetime_start=None,
        datetime_complete=None,
        params=dict(params or {}),
        distributions=dict(distributions or {}),
        user_attrs={},
        system_attrs=dict(system_attrs or {}),
        intermediate_values=dict(intermediate_values or {}),
    )
