"""An overview of a search space, for people about to spend hours on it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import prod
from statistics import median

from sequifier_hpo.records import Stored
from sequifier_hpo.searchspace.effective import EffectiveSpace
from sequifier_hpo.searchspace.parameters import Cell, Draws, SearchSpace
from sequifier_hpo.searchspace.resolve import RULES, resolve
from sequifier_hpo.searchspace.size import num_parameters, training_bytes

_MAX_MEASURED = 20_000


@dataclass(frozen=True)
class AdjustedCells:
    """An adjustment and the number of cells of the product that it applies to."""

    adjustment: str
    num_cells: int | None
    """None in a space that is continuous."""


@dataclass(frozen=True)
class SameRun:
    """Choices that mean the same run, as labels per parameter; the first is the one trained."""

    choices: tuple[Mapping[str, Stored], ...]


@dataclass(frozen=True)
class Sizes:
    """Smallest, median and largest over the measured configurations."""

    minimum: int
    median: int
    maximum: int


@dataclass(frozen=True)
class SpaceSizes:
    """Sizes of the distinct configurations, of 20,000 of them if there are more."""

    num_measured: int
    parameters: Sizes
    memory_bytes: Sizes


def adjusted_cells(space: SearchSpace) -> list[AdjustedCells]:
    """Every adjustment in the space, with how often it happens; the product is not enumerated."""
    counts: dict[str, int] = {}
    for rule in RULES:
        touched = [
            i for i, parameter in enumerate(space.parameters) if rule.reads & set(parameter.fields)
        ]
        others = prod(size for i, size in enumerate(space.sizes) if i not in touched)
        for cell in _sub_cells(space, touched):
            values, _ = resolve(space.values(cell), space.column_order)
            raw = {**space.values(cell), "input_columns": values["input_columns"]}
            for adjustment in rule.apply(raw):
                text = str(adjustment)
                counts[text] = counts.get(text, 0) + others
    return [AdjustedCells(text, None if space.is_continuous else n) for text, n in counts.items()]


def same_runs(effective: EffectiveSpace, limit: int) -> list[SameRun]:
    """Up to `limit` groups of choices that mean the same run."""
    return [SameRun(tuple(same)) for same in islice(effective.merged_choices(), limit)]


def measure(
    space: SearchSpace, effective: EffectiveSpace, *, most: int = _MAX_MEASURED
) -> SpaceSizes:
    """Parameter counts and rough memory of the distinct configurations, or of so many of them.

    Of ranges whose values are not listed, both ends are measured.
    """
    config = space.config
    n_classes, target_types = config.n_classes or {}, config.target_column_types
    ends: list[Draws] = [{}]
    if effective.is_continuous:
        ends.append({part.name: part.range.last for part in space.parts})
    num_places = min(effective.num_distinct, max(1, most // len(ends)))
    counts: list[int] = []
    memory: list[int] = []
    for place, draws in product(range(num_places), ends):
        cell = effective.representative(place)
        values, _ = resolve(space.values(cell, draws), space.column_order)
        counts.append(num_parameters(values, n_classes, target_types))
        memory.append(training_bytes(values, counts[-1], n_classes, target_types))
    return SpaceSizes(len(counts), _sizes(counts), _sizes(memory))


def _sizes(numbers: Sequence[int]) -> Sizes:
    return Sizes(min(numbers), round(median(numbers)), max(numbers))


def _sub_cells(space: SearchSpace, touched: Iterable[int]) -> Iterator[Cell]:
    """Cells in which only the touched parameters vary."""
    chosen = set(touched)
    ranges = [range(size) if i in chosen else range(1) for i, size in enumerate(space.sizes)]
    return product(*ranges)
