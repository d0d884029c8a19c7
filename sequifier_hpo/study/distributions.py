"""A search space as Optuna's distributions."""

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sequifier_hpo.config.ranges import NumberRange
from sequifier_hpo.searchspace import AllSpaces, SearchSpace


def distributions(space: SearchSpace | AllSpaces) -> dict[str, BaseDistribution]:
    """Parameter -> its distribution: choices among labels, and the numbers of ranges."""
    found: dict[str, BaseDistribution] = {}
    for parameter in space.parameters:
        if len(parameter.candidates) > 1:
            found[parameter.name] = CategoricalDistribution(parameter.labels)
        found |= {part.name: distribution_of(part.range) for part in parameter.parts}
    return found


def distribution_of(span: NumberRange) -> BaseDistribution:
    """The numbers of a range, which has no `num`."""
    if span.is_whole:
        low, last, step = int(span.low), int(span.last), int(span.step or 1)
        return IntDistribution(low, last, log=span.log, step=step)
    return FloatDistribution(span.low, span.last, log=span.log, step=span.step)
