"""The search space as values: parameters, their choices, and what is fixed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from sequifier_hpo.config.description import Description
from sequifier_hpo.config.search import SearchFile
from sequifier_hpo.config.train import effective_columns
from sequifier_hpo.records import field_values
from sequifier_hpo.searchspace.canonical import canonical
from sequifier_hpo.searchspace.point import Point

Cell = tuple[int, ...]
"""One choice index per parameter: a place in the product as it is now."""


@dataclass(frozen=True)
class Choice:
    """One candidate of a parameter: its label in Optuna and the field values it stands for."""

    label: str
    values: Mapping[str, Any]
    """All fields of the parameter."""
    chosen: Any
    """What a point has for it: the value, or the row without what the metadata decide."""


@dataclass(frozen=True)
class Parameter:
    """One categorical parameter: an independent field, or a linked group as one index."""

    name: str
    choices: tuple[Choice, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The choices as Optuna knows them."""
        return tuple(choice.label for choice in self.choices)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it stands for."""
        return tuple(self.choices[0].values)

    @property
    def is_linked(self) -> bool:
        """Whether it is a linked group."""
        return self.fields != (self.name,)

    def index_of(self, chosen: Any) -> int | None:
        """Where a point's value is among the candidates, or None."""
        return self._indices.get(canonical(chosen))

    @cached_property
    def _indices(self) -> Mapping[str, int]:
        last_to_first = reversed(list(enumerate(self.choices)))
        return {canonical(choice.chosen): index for index, choice in last_to_first}


@dataclass(frozen=True)
class SearchSpace:
    """The product of all parameters, and everything that does not vary."""

    config: SearchFile
    parameters: tuple[Parameter, ...]
    """Those with more than one choice, slowest to fastest varying."""
    fixed: tuple[Parameter, ...]
    """Those with a single choice."""
    settings: Mapping[str, Any]
    """Trained fields without candidates -> their value in every run."""
    column_types: Mapping[str, str]
    """Type of every column of the data, as the metadata calls it."""

    @property
    def varying_fields(self) -> frozenset[str]:
        """Those that do not have the same value in every cell, named as in `Run.values`."""
        varying: set[str] = set()
        for parameter in self.parameters:
            rows = [field_values({parameter.name: each.chosen}) for each in parameter.choices]
            names = set().union(*rows)
            varying |= {name for name in names if any(_differ(rows[0], row, name) for row in rows)}
        return frozenset(varying)

    @property
    def description(self) -> Description:
        """The fields of its run files."""
        return self.config.description

    @cached_property
    def column_order(self) -> tuple[str, ...]:
        """All columns of the data, in the order of the metadata."""
        return tuple(self.column_types)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of choices per parameter."""
        return tuple(len(parameter.choices) for parameter in self.parameters)

    @cached_property
    def constants(self) -> Mapping[str, Any]:
        """Field values that have a single candidate."""
        return {f: v for parameter in self.fixed for f, v in parameter.choices[0].values.items()}

    @property
    def num_cells(self) -> int:
        """Size of the product."""
        return prod(self.sizes)

    def values(self, cell: Cell) -> dict[str, Any]:
        """Field values at a cell, as the search file gives them."""
        merged = dict(self.constants)
        for parameter, index in zip(self.parameters, cell, strict=True):
            merged.update(parameter.choices[index].values)
        return merged

    def point_at(self, cell: Cell) -> Point:
        """What is chosen at a cell, by value."""
        chosen = dict(self._fixed_choices)
        for parameter, index in zip(self.parameters, cell, strict=True):
            chosen[parameter.name] = parameter.choices[index].chosen
        return Point(chosen)

    def cell_of_point(self, point: Point) -> Cell | None:
        """Where a point lies in the product, or None if it is not, or no longer, in the space."""
        if not point.values.keys() <= {parameter.name for parameter in self._all}:
            return None
        found: list[int] = []
        for parameter in self._all:
            index = self._index(parameter, point)
            if index is None:
                return None
            if len(parameter.choices) > 1:
                found.append(index)
        return tuple(found)

    def point_values(self, point: Point) -> dict[str, Any]:
        """Field values of a point, whether or not they are candidates now.

        Raises:
            KeyError: If the point has no value for a parameter with several candidates.
        """
        merged: dict[str, Any] = {}
        for parameter in self._all:
            if parameter.name not in point.values and len(parameter.choices) == 1:
                merged.update(parameter.choices[0].values)
            elif parameter.is_linked:
                merged.update(self._whole_row(parameter, point.values[parameter.name]))
            else:
                merged[parameter.name] = point.values[parameter.name]
        return merged

    def num_epochs_at(self, point: Point) -> int:
        """Length of the training of a point."""
        return int({**self.settings, **self.point_values(point)}["epochs"])

    def labels_at(self, cell: Cell) -> dict[str, str]:
        """Parameter name -> label at a cell, which tells a candidate from its equal twin."""
        return {
            parameter.name: parameter.choices[index].label
            for parameter, index in zip(self.parameters, cell, strict=True)
        }

    def cell_of(self, labels: Mapping[str, str]) -> Cell:
        """The cell of stored labels; only the leading index of a label counts."""
        return tuple(int(labels[parameter.name].split(":", 1)[0]) for parameter in self.parameters)

    @cached_property
    def _all(self) -> tuple[Parameter, ...]:
        return (*self.parameters, *self.fixed)

    @cached_property
    def _fixed_choices(self) -> Mapping[str, Any]:
        return {parameter.name: parameter.choices[0].chosen for parameter in self.fixed}

    def _index(self, parameter: Parameter, point: Point) -> int | None:
        """The candidate of a point; one that knows nothing of a parameter has its only candidate."""
        if parameter.name not in point.values:
            return 0 if len(parameter.choices) == 1 else None
        return parameter.index_of(point.values[parameter.name])

    def _whole_row(self, parameter: Parameter, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row with what the metadata decide of it."""
        missing = [field for field in parameter.fields if field not in chosen]
        if not missing:
            return chosen
        if (index := parameter.index_of(chosen)) is not None:
            return parameter.choices[index].values
        categorical, real = effective_columns(chosen["input_columns"], self.column_types)
        decided = {
            "column_types": dict(self.column_types),
            "categorical_columns": categorical,
            "real_columns": real,
        }
        return {**chosen, **{field: decided[field] for field in missing}}


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    return (name in one, one.get(name)) != (name in other, other.get(name))
