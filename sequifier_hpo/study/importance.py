"""How much each parameter matters, by Optuna's PED-ANOVA."""

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from sequifier_hpo.records import Run


def parameter_importances(runs: Sequence[Run]) -> dict[str, float]:
    """Share of every varying parameter in what sets the best runs apart; the shares sum to 1.

    Runs that are not complete, and parameters that some run lacks, do not count. Empty if
    fewer than two runs, or no parameter, are left.
    """
    complete = [run for run in runs if run.validation_loss is not None]
    if len(complete) < 2:
        return {}
    values = {
        name: tuple(sorted({run.labels[name] for run in complete}))
        for name in complete[0].labels
        if all(name in run.labels for run in complete)
    }
    space = {name: CategoricalDistribution(v) for name, v in values.items() if len(v) > 1}
    if not space:
        return {}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trials(
        [
            create_trial(
                state=TrialState.COMPLETE,
                value=run.validation_loss,
                params={name: run.labels[name] for name in space},
                distributions=dict(space),
            )
            for run in complete
        ]
    )
    with warnings.catch_warnings():
        # It warns when all losses are equal; equal shares are the honest answer then.
        warnings.simplefilter("ignore")
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {name: float(share) for name, share in found.items()}
