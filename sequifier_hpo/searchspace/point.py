"""A point of the space: one value per parameter, by value and not by its place in a list."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sequifier_hpo.searchspace.canonical import canonical


def is_row(chosen: Any) -> bool:
    """Whether a value is a row of a linked group: a recipe has a name."""
    return isinstance(chosen, dict) and "name" not in chosen


@dataclass(frozen=True, eq=False)
class Point:
    """What is chosen in one run: a value for every field that the search file has candidates for.

    It keeps its meaning whatever becomes of the lists of candidates. Points are equal if their
    canonical JSON is: 1, 1.0, true, null and text are different values.
    """

    values: Mapping[str, Any]
    """Parameter -> the value of an independent field, or the row of a linked group: field -> value,
    without the fields that the metadata decide. Parameters with a single candidate are there too."""

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Point":
        """The point of which `as_json` returned these values."""
        return cls(values)

    def as_json(self) -> dict[str, Any]:
        """The values as plain JSON values, for any store that keeps JSON exactly."""
        return dict(self.values)

    @cached_property
    def fields(self) -> Mapping[str, Any]:
        """Field -> value: the rows of linked groups are taken apart."""
        found: dict[str, Any] = {}
        for name, chosen in self.values.items():
            found |= chosen if is_row(chosen) else {name: chosen}
        return found

    @cached_property
    def text(self) -> str:
        """Canonical JSON: equal text, equal point."""
        return canonical(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)
