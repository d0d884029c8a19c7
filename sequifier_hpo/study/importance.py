"""How much each parameter matters, by Optuna's PED-ANOVA."""

import warnings
from collections.abc import Collection, Container, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from sequifier_hpo.records import Run, Stored


def parameter_importances(runs: Sequence[Run]) -> dict[str, float]:
    """Importance of every varying parameter for being among the best runs; the shares sum to 1.

    Runs that were stopped early count with their best loss. Other runs that are not complete, and
    parameters that some run lacks, do not count: a range in one row has no number elsewhere. Empty
    if fewer than two runs, or no parameter, are left.
    """
    judged = [run for run in runs if run.loss is not None]
    if len(judged) < 2:
        return {}
    values = {
        name: {run.labels[name] for run in judged}
        for name in judged[0].labels
        if all(name in run.labels for run in judged)
    }
    logarithmic = judged[0].logarithmic
    space = {
        name: _distribution(found, is_log=name in logarithmic)
        for name, found in values.items()
        if len(found) > 1
    }
    if not space:
        return {}
    study = _StudyOf([_trial(run, space) for run in judged])
    with warnings.catch_warnings():
        # It warns when all losses are equal; equal shares are the honest answer then.
        warnings.simplefilter("ignore")
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: float(share) for name, share in found.items()}


def _distribution(values: Collection[Stored], *, is_log: bool) -> BaseDistribution:
    """The values that occur: labels, or numbers of a range."""
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) < len(values):
        return CategoricalDistribution(sorted(map(str, values)))
    return FloatDistribution(min(numbers), max(numbers), log=is_log and min(numbers) > 0)


class _StudyOf(optuna.Study):
    """A study of given trials: adding them to a storage copies each of them, and takes seconds."""

    def __init__(self, trials: list[FrozenTrial]) -> None:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        super().__init__(study.study_name, study._storage, study.sampler)
        self._trials = trials

    def get_trials(
        self,
        deepcopy: bool = True,  # noqa: ARG002, FBT001, FBT002 - as in Optuna
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The trials in these states; never a copy."""
        return [trial for trial in self._trials if states is None or trial.state in states]


def _trial(run: Run, space: dict[str, BaseDistribution]) -> FrozenTrial:
    # All share the distributions: the evaluation compares them for every trial.
    return FrozenTrial(
        number=run.number,
        trial_id=run.number,
        state=TrialState.COMPLETE,
        value=run.loss,
        params={name: run.labels[name] for name in space},
        distributions=space,
        datetime_start=run.started,
        datetime_complete=run.ended,
        user_attrs={},
        system_attrs={},
        intermediate_values={},
    )
