"""A search space as Optuna's distributions."""

from optuna.distributions import BaseDistribution, CategoricalDistribution

from sequifier_hpo.searchspace import SearchSpace


def distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Parameter -> its distribution: all are categorical, and their choices are labels."""
    return {
        parameter.name: CategoricalDistribution(parameter.labels) for parameter in space.parameters
    }
