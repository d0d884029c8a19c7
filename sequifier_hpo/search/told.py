"""What a sampler is told instead of the parameters that are stored.

Optuna stores every parameter as a choice among labels. A sampler that learns is told more: numbers
in order are integers, so that it knows which choices lie next to each other.
"""

from collections.abc import Sequence
from numbers import Real
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from sequifier_hpo.search.bayesian import Params
from sequifier_hpo.searchspace import Cell, Parameter, Point, SearchSpace


class ToldSpace:
    """The parameters of a space as a sampler that learns is told."""

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        anchors = {name: group.anchor for name, group in space.description.groups.items()}
        self._orders = {
            parameter.name: _order_of_choices(parameter, anchors.get(parameter.name))
            for parameter in space.parameters
        }
        self.distributions = {
            parameter.name: told(len(parameter.choices), self._orders[parameter.name])
            for parameter in space.parameters
        }
        """By parameter. The order of the keys is an input of a sampler."""

    def params(self, point: Point) -> Params | None:
        """A point as the sampler is told; None if it is not in the space."""
        cell = self._space.cell_of_point(point)
        if cell is None:
            return None
        return {
            parameter.name: index
            if (order := self._orders[parameter.name]) is None
            else order.index(index)
            for parameter, index in zip(self._space.parameters, cell, strict=True)
        }

    def cell(self, params: Params) -> Cell:
        """The cell of what a sampler says."""
        return tuple(
            int(params[parameter.name])
            if (order := self._orders[parameter.name]) is None
            else order[int(params[parameter.name])]
            for parameter in self._space.parameters
        )


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


def _order_of_choices(parameter: Parameter, anchor: str | None) -> Sequence[int] | None:
    """A linked group goes by its anchor."""
    chosen = [choice.chosen for choice in parameter.choices]
    return order_of(chosen if anchor is None else [row[anchor] for row in chosen])


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
