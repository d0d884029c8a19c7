"""What a sampler is told instead of the parameters that are stored.

Optuna stores a choice as one among labels. A sampler that learns is told more: numbers in order are
integers, so that it knows which choices lie next to each other. A range is stored only where it is
used; the sampler has it always, for it learns best from trials with the same parameters.
"""

from collections.abc import Sequence
from numbers import Real
from random import Random
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from sequifier_hpo.records import Stored
from sequifier_hpo.searchspace import Cell, Draws, Parameter, Point, SearchSpace
from sequifier_hpo.strategy.bayesian import Params
from sequifier_hpo.study.distributions import distribution_of


class ToldSpace:
    """The parameters of a space as a sampler that learns is told."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        anchors = {name: group.fields for name, group in space.description.groups.items()}
        self._orders = {
            parameter.name: _order_of_choices(parameter, anchors.get(parameter.name, ()))
            for parameter in space.parameters
        }
        self.distributions: dict[str, BaseDistribution] = {}
        """By parameter and range. The order of the keys is an input of a sampler."""
        for parameter in space.parameters:
            if (number := len(parameter.candidates)) > 1:
                self.distributions[parameter.name] = told(number, self._orders[parameter.name])
            for part in parameter.parts:
                self.distributions[part.name] = distribution_of(part.range)

    def params(self, point: Point, unused: Draws, seed: str) -> Params | None:
        """A point as the sampler is told; None if it is not in the space.

        Args:
            point: What was chosen in a run.
            unused: The numbers of ranges that it does not have, as they were proposed.
            seed: For those of which nothing is known.
        """
        places = self._space.places_in(point)
        if places is None:
            return None
        params: dict[str, int | float] = {}
        for parameter, (index, numbers) in zip(self._space.parameters, places, strict=True):
            if len(parameter.candidates) > 1:
                order = self._orders[parameter.name]
                params[parameter.name] = index if order is None else order.index(index)
            for part in parameter.parts:
                number = numbers.get(part.name, unused.get(part.name))
                # In a space that was revised, it may have been proposed for another range.
                if number is not None and part.range.low <= number <= part.range.last:
                    params[part.name] = number
                else:
                    share = Random(f"{seed}:{part.name}").random()
                    params[part.name] = part.range.at(share)
        return params

    def place_of(self, params: Params) -> tuple[Cell, Draws]:
        """The cell of what a sampler says, and the numbers of its ranges."""
        stored: dict[str, Stored] = dict(params)
        for parameter in self._space.parameters:
            if len(parameter.candidates) > 1:
                place, order = int(params[parameter.name]), self._orders[parameter.name]
                stored[parameter.name] = parameter.labels[place if order is None else order[place]]
        return self._space.place_of(stored)


def order_of(values: Sequence[Any]) -> Sequence[int] | None:
    """The indices of values by size, if they are distinct numbers; else they have no order."""
    if not all(map(_is_number, values)) or len(set(values)) < len(values):
        return None
    return sorted(range(len(values)), key=values.__getitem__)


def told(num_choices: int, order: Sequence[int] | None) -> BaseDistribution:
    """What a sampler is told of a list of choices: a range of whole numbers, or categories."""
    if order is None:
        return CategoricalDistribution(range(num_choices))
    return IntDistribution(0, num_choices - 1)


def _order_of_choices(parameter: Parameter, group: Sequence[str]) -> Sequence[int] | None:
    """A linked group goes by its anchor, or where that is a range in every row, by the next field."""
    chosen = [candidate.chosen for candidate in parameter.candidates]
    anchor = next((field for field in group if field in chosen[0]), None)
    return order_of(chosen if anchor is None else [row[anchor] for row in chosen])


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
