"""The search space as values: parameters, their choices, and what is fixed."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

from sequifier_hpo.config.search import SearchConfig

Cell = tuple[int, ...]
"""One choice index per parameter: a point of the product."""


@dataclass(frozen=True)
class Choice:
    """One candidate of a parameter: its label in Optuna and the field values it stands for."""

    label: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """One categorical parameter: an independent field, or a linked group as one index."""

    name: str
    choices: tuple[Choice, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The choices as Optuna knows them."""
        return tuple(choice.label for choice in self.choices)


@dataclass(frozen=True)
class SearchSpace:
    """The product of all parameters, and everything that does not vary."""

    config: SearchConfig
    parameters: tuple[Parameter, ...]
    """Those with more than one choice, slowest to fastest varying."""
    fixed: tuple[Parameter, ...]
    """Those with a single choice."""
    column_order: tuple[str, ...]
    """All columns of the data, in the order of the metadata."""

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

    def labels(self, cell: Cell) -> dict[str, str]:
        """Parameter name -> label: what Optuna stores for a cell."""
        return {
            parameter.name: parameter.choices[index].label
            for parameter, index in zip(self.parameters, cell, strict=True)
        }

    def cell_of(self, labels: Mapping[str, str]) -> Cell:
        """The cell of stored labels; only the leading index of a label counts."""
        return tuple(int(labels[parameter.name].split(":", 1)[0]) for parameter in self.parameters)
