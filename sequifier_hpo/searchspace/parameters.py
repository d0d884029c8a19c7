"""The search space as values: parameters, their choices, and what is fixed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from sequifier_hpo.config.description import Description
from sequifier_hpo.config.ranges import MAX_LISTED, NumberRange, replaced
from sequifier_hpo.config.search import SearchFile
from sequifier_hpo.config.train import effective_columns
from sequifier_hpo.config.yaml_file import Loc
from sequifier_hpo.records import Stored, field_values
from sequifier_hpo.searchspace.canonical import canonical
from sequifier_hpo.searchspace.point import Point

Cell = tuple[int, ...]
"""One choice index per parameter: a place in the product as it is now."""
Draws = Mapping[str, float]
"""Name of a range -> a number of it."""


@dataclass(frozen=True)
class Part:
    """A range in a choice. Optuna knows it as a parameter of its own."""

    name: str
    """As in the search file; with the index of the choice if there are others."""
    path: Loc
    """Where it is in what a point has for the parameter."""
    range: NumberRange

    @property
    def num_values(self) -> int | None:
        """Number of its values; None if they are too many to be listed."""
        number = self.range.num_values
        return None if number is None or number > MAX_LISTED else number


@dataclass(frozen=True)
class Choice:
    """One candidate of a parameter: its label in Optuna and the field values it stands for."""

    label: str
    values: Mapping[str, Any]
    """All fields of the parameter."""
    chosen: Any
    """What a point has for it: the value, or the row without what the metadata decide."""
    parts: tuple[Part, ...] = ()
    """The ranges that are left in it, from which a run draws numbers."""
    drawn: Draws = field(default_factory=dict)
    """What ranges of few values have come down to."""
    is_row: bool = False
    """Whether it is one of a linked group."""

    def with_numbers(self, draws: Draws) -> "Choice":
        """The choice with numbers in the place of those of its ranges that are named."""
        taken = [part for part in self.parts if part.name in draws]
        if not taken:
            return self
        chosen = replaced(self.chosen, {part.path: draws[part.name] for part in taken})
        of_fields = chosen if self.is_row else dict.fromkeys(self.values, chosen)
        return replace(
            self,
            values={**self.values, **of_fields},
            chosen=chosen,
            parts=tuple(part for part in self.parts if part not in taken),
            drawn={**self.drawn, **{part.name: draws[part.name] for part in taken}},
        )

    def numbers_of(self, chosen: Any) -> dict[str, float] | None:
        """The numbers that make a point's value of this choice; None if there are none."""
        found = {part.name: _at(chosen, part.path) for part in self.parts}
        if not all(part.range.has(found[part.name]) for part in self.parts):
            return None
        numbers = {part.path: found[part.name] for part in self.parts}
        same = canonical(replaced(self.chosen, numbers)) == canonical(chosen)
        return found if same else None

    def listed(self) -> Iterator["Choice"]:
        """The choice once for each combination of its ranges' values, as far as they are few."""
        few = [part for part in self.parts if part.num_values is not None]
        if prod(part.num_values or 1 for part in few) > MAX_LISTED:
            few = []
        for numbers in product(*(part.range.values() for part in few)):
            names = (part.name for part in few)
            yield self.with_numbers(dict(zip(names, numbers, strict=True)))


@dataclass(frozen=True)
class Parameter:
    """An independent field, or a linked group as one index, with the ranges below it."""

    name: str
    candidates: tuple[Choice, ...]
    """As in the search file."""

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """The candidates, one with ranges of few values once for each of their combinations."""
        return tuple(choice for candidate in self.candidates for choice in candidate.listed())

    @property
    def labels(self) -> tuple[str, ...]:
        """The candidates as Optuna knows them."""
        return tuple(candidate.label for candidate in self.candidates)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The ranges below it."""
        return tuple(part for candidate in self.candidates for part in candidate.parts)

    @cached_property
    def varies(self) -> bool:
        """Whether there is anything to choose."""
        return len(self.candidates) > 1 or bool(self.parts)

    @property
    def is_continuous(self) -> bool:
        """Whether some choice has a range whose values are not listed."""
        return any(choice.parts for choice in self.choices)

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that it stands for."""
        return tuple(self.candidates[0].values)

    @cached_property
    def chosen_fields(self) -> tuple[str, ...]:
        """Those of them that a point says."""
        return tuple(self.candidates[0].chosen) if self.is_linked else (self.name,)

    def is_known_to(self, point: Point) -> bool:
        """Whether a point says anything of it."""
        return any(field in point.fields for field in self.chosen_fields)

    def chosen_at(self, point: Point) -> Any:
        """What a point has for it, be it a candidate or not.

        Raises:
            KeyError: If it has nothing.
        """
        if not self.is_linked:
            return point.fields[self.name]
        return {field: point.fields[field] for field in self.chosen_fields}

    @property
    def is_linked(self) -> bool:
        """Whether it is a linked group."""
        return self.candidates[0].is_row

    def stored(self, choice: Choice) -> dict[str, Stored]:
        """What Optuna stores for a choice, and for the numbers that are drawn for its ranges."""
        label = {self.name: choice.label} if len(self.candidates) > 1 else {}
        return {**label, **choice.drawn}

    def place_of(self, chosen: Any) -> tuple[int, Draws] | None:
        """Index of the candidate of a point's value, and the numbers of its ranges; or None."""
        text = canonical(chosen)
        if text not in self._found:
            places = (
                (index, numbers)
                for index, candidate in enumerate(self.candidates)
                if candidate.parts and (numbers := candidate.numbers_of(chosen)) is not None
            )
            self._found[text] = next(places, None)
        return self._found[text]

    def index_at(self, candidate: int, numbers: Draws) -> int:
        """The choice with a candidate and, of its listed ranges, these values."""
        return self._places[candidate, canonical(self._listed_of(candidate, numbers))]

    def _listed_of(self, candidate: int, numbers: Draws) -> dict[str, float]:
        return {name: numbers[name] for name in self._listed_names[candidate]}

    @cached_property
    def _listed_names(self) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(next(each.listed()).drawn) for each in self.candidates)

    @cached_property
    def _places(self) -> Mapping[tuple[int, str], int]:
        candidate_of = (i for i, each in enumerate(self.candidates) for _ in each.listed())
        return {
            (candidate, canonical(choice.drawn)): index
            for index, (candidate, choice) in enumerate(
                zip(candidate_of, self.choices, strict=True)
            )
        }

    @cached_property
    def _found(self) -> dict[str, tuple[int, Draws] | None]:
        """What was asked before: the same runs are asked for again and again."""
        last_to_first = reversed(list(enumerate(self.candidates)))
        return {canonical(c.chosen): (index, {}) for index, c in last_to_first if not c.parts}


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
            rows = [field_values({parameter.name: each.chosen}) for each in parameter.candidates]
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
        """Size of the product, without the numbers of continuous ranges."""
        return prod(self.sizes)

    @cached_property
    def is_continuous(self) -> bool:
        """Whether there are ranges that make more of it than can be counted."""
        return any(parameter.is_continuous for parameter in self.parameters)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """All ranges."""
        return tuple(part for parameter in self.parameters for part in parameter.parts)

    def values(self, cell: Cell, draws: Draws | None = None) -> dict[str, Any]:
        """Field values at a cell, as the search file gives them.

        Args:
            cell: The choices.
            draws: Numbers of their ranges; those left out are the smallest of their range.
        """
        merged = dict(self.constants)
        for _, choice in self._chosen(cell, draws):
            merged.update(choice.values)
        return merged

    def point_at(self, cell: Cell, draws: Draws | None = None) -> Point:
        """What is chosen at a cell, by value; numbers as in `values`."""
        chosen = dict(self._fixed_choices)
        for parameter, choice in self._chosen(cell, draws):
            chosen[parameter.name] = choice.chosen
        return Point(chosen)

    def cell_of_point(self, point: Point) -> Cell | None:
        """Where a point lies in the product, or None if it is not, or no longer, in the space."""
        places = self.places_in(point)
        if places is None:
            return None
        pairs = zip(self.parameters, places, strict=True)
        return tuple(parameter.index_at(*place) for parameter, place in pairs)

    def places_in(self, point: Point) -> list[tuple[int, Draws]] | None:
        """Per parameter the candidate of a point, and the numbers of its ranges.

        None if the point is not, or no longer, in the space.
        """
        if not point.fields.keys() <= self._names:
            return None
        found: list[tuple[int, Draws]] = []
        for parameter in self._all:
            place = self._place(parameter, point)
            if place is None:
                return None
            if parameter.varies:
                found.append(place)
        return found

    def point_values(self, point: Point) -> dict[str, Any]:
        """Field values of a point, whether or not they are candidates now.

        Raises:
            KeyError: If the point has no value for a parameter with several candidates.
        """
        merged: dict[str, Any] = {}
        for parameter in self._all:
            if not parameter.is_known_to(point) and not parameter.varies:
                merged.update(parameter.choices[0].values)
            elif parameter.is_linked:
                merged.update(self._whole_row(parameter, parameter.chosen_at(point)))
            else:
                merged[parameter.name] = parameter.chosen_at(point)
        return merged

    def num_epochs_at(self, point: Point) -> int:
        """Length of the training of a point."""
        return int({**self.settings, **self.point_values(point)}["epochs"])

    def labels_at(self, cell: Cell, draws: Draws | None = None) -> dict[str, Stored]:
        """What Optuna stores of a run: parameter -> label, and range -> number.

        A label tells a candidate from its equal twin.
        """
        stored: dict[str, Stored] = {}
        for parameter, choice in self._chosen(cell, draws):
            stored |= parameter.stored(choice)
        return stored

    def labels_of(self, point: Point) -> dict[str, Stored] | None:
        """What Optuna stores of a point; None if it is not, or no longer, in the space."""
        places = self.places_in(point)
        if places is None:
            return None
        stored: dict[str, Stored] = {}
        for parameter, (index, numbers) in zip(self.parameters, places, strict=True):
            stored |= parameter.stored(parameter.candidates[index].with_numbers(numbers))
        return stored

    def cell_of(self, labels: Mapping[str, Stored]) -> Cell:
        """The cell of stored labels; only the leading index of a label counts."""
        return self.place_of(labels)[0]

    def place_of(self, labels: Mapping[str, Stored]) -> tuple[Cell, Draws]:
        """The cell of what a sampler has drawn, and the numbers of its ranges.

        Args:
            labels: Parameter -> label, of which only the leading index counts; and range -> number,
                at least for those of the chosen candidates.
        """
        draws = {
            part.name: part.range.nearest(float(labels[part.name]))
            for part in self.parts
            if part.name in labels
        }
        cell = []
        for parameter in self.parameters:
            is_one = len(parameter.candidates) == 1
            candidate = 0 if is_one else int(str(labels[parameter.name]).split(":", 1)[0])
            cell.append(parameter.index_at(candidate, draws))
        return tuple(cell), draws

    @cached_property
    def _all(self) -> tuple[Parameter, ...]:
        return (*self.parameters, *self.fixed)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(name for parameter in self._all for name in parameter.chosen_fields)

    @cached_property
    def _fixed_choices(self) -> Mapping[str, Any]:
        return {parameter.name: parameter.choices[0].chosen for parameter in self.fixed}

    def _chosen(self, cell: Cell, draws: Draws | None) -> Iterator[tuple[Parameter, Choice]]:
        """The choices of a cell, without ranges."""
        for parameter, index in zip(self.parameters, cell, strict=True):
            choice = parameter.choices[index]
            smallest = {part.name: part.range.nearest(part.range.low) for part in choice.parts}
            yield parameter, choice.with_numbers({**smallest, **(draws or {})})

    def _place(self, parameter: Parameter, point: Point) -> tuple[int, Draws] | None:
        """The candidate of a point; one that knows nothing of a parameter has its only candidate."""
        if not parameter.is_known_to(point):
            return None if parameter.varies else (0, {})
        return parameter.place_of(parameter.chosen_at(point))

    def _whole_row(self, parameter: Parameter, chosen: Mapping[str, Any]) -> Mapping[str, Any]:
        """A row with what the metadata decide of it."""
        missing = [field for field in parameter.fields if field not in chosen]
        if not missing:
            return chosen
        if (place := parameter.place_of(chosen)) is not None:
            return parameter.candidates[place[0]].values
        categorical, real = effective_columns(chosen["input_columns"], self.column_types)
        decided = {
            "column_types": dict(self.column_types),
            "categorical_columns": categorical,
            "real_columns": real,
        }
        return {**chosen, **{field: decided[field] for field in missing}}


def _at(value: Any, path: Loc) -> Any:
    """What is at a place in a value; None if there is no such place."""
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _differ(one: Mapping[str, Any], other: Mapping[str, Any], name: str) -> bool:
    if isinstance(one.get(name), NumberRange):
        return True
    return (name in one, one.get(name)) != (name in other, other.get(name))
