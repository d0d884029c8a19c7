"""Which cells of the product are the same run: distinct effective configurations, counted exactly.

Two cells can only coincide through fields that are looked at together. Parameters are therefore
grouped into components that do not influence each other; each component's few sub-cells are sorted
into classes of equal meaning, and the distinct runs are the product of the classes. The product of
the cells itself is never enumerated.

A range whose values are not listed stays in its choice: a class with one is many runs, which differ
in the number that is drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import prod

from sequifier_hpo.config.description import SELECTION, WEIGHTS
from sequifier_hpo.records import Stored
from sequifier_hpo.searchspace.canonical import canonical
from sequifier_hpo.searchspace.meaning import INTERACTIONS, meaning
from sequifier_hpo.searchspace.parameters import Cell, Draws, Parameter, Part, SearchSpace
from sequifier_hpo.searchspace.permutation import Permutation
from sequifier_hpo.searchspace.resolve import resolve

_WIDTHS = "feature_embedding_dims"


@dataclass(frozen=True)
class _Component:
    """Parameters that must be looked at together, and their sub-cells sorted by meaning."""

    positions: tuple[int, ...]
    """Indices of its parameters in the space."""
    classes: tuple[tuple[Cell, ...], ...]
    """Sub-cells of equal meaning; the first of each stands for the others."""
    is_continuous: bool
    """Whether some class has a range that means something."""

    @cached_property
    def _class_of_sub_cell(self) -> dict[Cell, tuple[Cell, ...]]:
        return {member: members for members in self.classes for member in members}

    def class_of(self, cell: Cell) -> tuple[Cell, ...]:
        """The sub-cells that mean the same as the part of a cell."""
        return self._class_of_sub_cell[tuple(cell[position] for position in self.positions)]


class EffectiveSpace:
    """The distinct runs of a search space, numbered by place in a seeded order."""

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._space = space
        self._components = tuple(_components(space))
        self.num_distinct = prod(len(component.classes) for component in self._components)
        """Number of distinct effective configurations.

        Those that differ in nothing but the numbers of continuous ranges are counted once.
        """
        self.is_continuous = any(component.is_continuous for component in self._components)
        """Whether ranges make more configurations of them than can be counted."""
        self._order = Permutation(self.num_distinct, seed)

    def at_most(self, number: int) -> int:
        """A number of distinct runs, or as many as there are if these are fewer."""
        return number if self.is_continuous else min(number, self.num_distinct)

    def representative(self, place: int) -> Cell:
        """The cell that is run for a place.

        Raises:
            IndexError: If place is not in range(num_distinct).
        """
        return next(self._combined(self._members(place)))

    def representative_of(self, cell: Cell) -> Cell:
        """The cell that is run for the class of a cell."""
        return next(self.all_equal(cell))

    def equals(self, cell: Cell) -> Iterator[Cell]:
        """The other cells of the product that mean the same run as a cell."""
        return (other for other in self.all_equal(cell) if other != cell)

    def merged_choices(self) -> Iterator[list[dict[str, Stored]]]:
        """For every class of more than one sub-cell what Optuna stores of each."""
        for component in self._components:
            parameters = [self._space.parameters[position] for position in component.positions]
            for members in component.classes:
                if len(members) > 1:
                    yield [_stored(parameters, member) for member in members]

    def all_equal(self, cell: Cell) -> Iterator[Cell]:
        """All cells of the product that mean the same run as a cell."""
        return self._combined([component.class_of(cell) for component in self._components])

    def _members(self, place: int) -> list[tuple[Cell, ...]]:
        """Per component the sub-cells of the place's class."""
        rest = self._order(place)
        members = []
        for component in reversed(self._components):
            rest, digit = divmod(rest, len(component.classes))
            members.append(component.classes[digit])
        return members[::-1]

    def _combined(self, members: Sequence[tuple[Cell, ...]]) -> Iterator[Cell]:
        """All cells whose parts are members of these classes, one class per component."""
        for sub_cells in product(*members):
            cell = [0] * len(self._space.parameters)
            for component, sub_cell in zip(self._components, sub_cells, strict=True):
                for position, index in zip(component.positions, sub_cell, strict=True):
                    cell[position] = index
            yield tuple(cell)


def _components(space: SearchSpace) -> Iterator[_Component]:
    influencing = space.description.influencing(WEIGHTS, SELECTION)
    for positions in _connected(space):
        touched = {field for position in positions for field in space.parameters[position].fields}
        # What a parameter decides may show in a field that has a single candidate.
        for interaction in interactions(space):
            if touched & interaction:
                touched |= interaction
        fields = [field for field in influencing if field in touched]
        classes: dict[tuple[str, ...], list[Cell]] = {}
        base = [0] * len(space.parameters)
        for sub_cell in product(*(range(space.sizes[position]) for position in positions)):
            for position, index in zip(positions, sub_cell, strict=True):
                base[position] = index
            parts = [
                part
                for position, index in zip(positions, sub_cell, strict=True)
                for part in space.parameters[position].choices[index].parts
            ]
            found = _meaning(space, tuple(base), fields, parts)
            classes.setdefault(found, []).append(sub_cell)
        is_continuous = any(len(found) > 1 for found in classes)
        yield _Component(positions, tuple(map(tuple, classes.values())), is_continuous)


def _meaning(
    space: SearchSpace, cell: Cell, fields: Sequence[str], parts: Sequence[Part]
) -> tuple[str, ...]:
    """What a cell means with the smallest numbers of its ranges, and the ranges that matter."""

    def text(draws: Draws) -> str:
        resolved, _ = resolve(space.values(cell, draws), space.column_order)
        return canonical(meaning(resolved, fields))

    smallest = text({})
    matter = (part.name for part in parts if text({part.name: part.range.last}) != smallest)
    return (smallest, *matter)


def _stored(parameters: Sequence[Parameter], sub_cell: Cell) -> dict[str, Stored]:
    stored: dict[str, Stored] = {}
    for parameter, index in zip(parameters, sub_cell, strict=True):
        stored |= parameter.stored(parameter.choices[index])
    return stored


def _connected(space: SearchSpace) -> Iterator[tuple[int, ...]]:
    """Positions of parameters, grouped by the interactions that tie their fields together."""
    groups = [
        ({position}, set(parameter.fields)) for position, parameter in enumerate(space.parameters)
    ]
    for interaction in interactions(space):
        touched = [group for group in groups if group[1] & interaction]
        if len(touched) > 1:
            groups = [group for group in groups if group not in touched]
            groups.append(
                (
                    set().union(*(positions for positions, _ in touched)),
                    set().union(*(fields for _, fields in touched)),
                )
            )
    return iter(sorted(tuple(sorted(positions)) for positions, _ in groups))


def interactions(space: SearchSpace) -> Iterator[frozenset[str]]:
    """Fields that must be looked at together to know what a run is."""
    yield from INTERACTIONS
    lists = (parameter.choices for parameter in (*space.parameters, *space.fixed))
    if any(choice.values.get(_WIDTHS) for choices in lists for choice in choices):
        # Only a written map can equal what is shared out for an input set.
        yield frozenset({_WIDTHS, "input_columns"})
