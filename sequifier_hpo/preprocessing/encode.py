"""Columns as numbers: ids for categories, standardised values for reals.

Id maps and statistics are taken over all rows of all splits, as Sequifier does, or over those of
the training split. Id 0 is padding, and what has no id of its own: "unknown".
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from sequifier_hpo.config.metadata import ColumnStatistics, unknown_id
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.categories import Categories
from sequifier_hpo.preprocessing.number_columns import NumberColumn, Numbers, sum_pairwise
from sequifier_hpo.words import counted

# Added to the standard deviation, so that a constant column becomes zeros.
SMALLEST_DIVISOR = 1e-9
_MAX_SHOWN = 5

Mask = npt.NDArray[np.bool_]
IsLearned = Callable[[int, int], Mask] | None
"""Says which of the rows from one to before another are learned from; None = all."""


class ColumnKind(StrEnum):
    """What the values of a feature column mean."""

    CATEGORICAL = "categorical"
    REAL = "real"


@dataclass(frozen=True)
class Unknown:
    """Values of a categorical column that have no id, so that they get the 0 of padding."""

    column: str
    num_rows: int
    values: tuple[str, ...]
    """Each of them once, in the order in which they occur."""

    def __str__(self) -> str:
        first = self.values[:_MAX_SHOWN]
        shown = ", ".join(f"`{value}`" if value else "no value" for value in first)
        more = ", ..." if len(self.values) > _MAX_SHOWN else ""
        return (
            f"column `{self.column}`: {counted(len(self.values), 'unknown value')} in "
            f"{counted(self.num_rows, 'row')} ({shown}{more})"
        )


@dataclass(frozen=True)
class EncodedColumn:
    """One feature column in the form in which it is windowed."""

    name: str
    kind: ColumnKind
    numbers: NumberColumn
    """int64 ids or float64 standardised values, one per row; one more entry, 0, is the padding."""
    id_map: Mapping[str, int] | None = None
    """Raw value as text -> id, of a categorical column."""
    statistics: ColumnStatistics | None = None
    """Mean and standard deviation, of a real column."""
    unknown: Unknown | None = None
    """The values that have no id, of a categorical column, if there are any."""
    largest: float = 0.0
    """Largest distance of a value from the mean, in standard deviations, of a real column."""

    @property
    def values(self) -> Numbers:
        """The numbers as one array."""
        return self.numbers.values


def encode_categories(
    name: str,
    codes: NumberColumn,
    categories: Categories,
    is_learned: IsLearned = None,
    *,
    given: Mapping[str, int] | None = None,
    path: Path | None = None,
) -> EncodedColumn:
    """Give the values of a column their ids.

    Args:
        name: Of the column.
        codes: Which of the categories each row has.
        categories: All that occur.
        is_learned: Which rows the ids are learned from.
        given: The ids that the user gives; None = they are learned.
        path: File for the result; None = memory.
    """
    if given is not None:
        other = unknown_id(given)
        ids = np.array([given.get(text, other) for text in categories.texts], dtype=np.int64)
        id_map = given
    else:
        is_known = _is_known(codes, categories, is_learned)
        ids = np.where(is_known, np.cumsum(is_known), 0)
        id_map = {
            text: int(number) for text, number in zip(categories.texts, ids, strict=True) if number
        }
    encoded = NumberColumn(np.int64, codes.length + 1, path)
    num_unknown, unknown = 0, dict[int, None]()
    for _, part in codes.parts():
        numbers = ids[part]
        encoded.append(numbers)
        without_id = part[numbers == 0]
        num_unknown += len(without_id)
        distinct, first = np.unique(without_id, return_index=True)
        unknown |= dict.fromkeys(distinct[np.argsort(first)].tolist())
    encoded.append(np.zeros(1, dtype=np.int64))
    values = tuple(categories.texts[code] for code in unknown) if given is None else ()
    return EncodedColumn(
        name,
        ColumnKind.CATEGORICAL,
        encoded,
        id_map=id_map,
        unknown=Unknown(name, num_unknown, values) if values else None,
    )


def _is_known(codes: NumberColumn, categories: Categories, is_learned: IsLearned) -> Mask:
    always = np.zeros(len(categories), dtype=np.bool_)
    if categories.values.dtype == pl.Boolean:
        always[:2] = True
    if is_learned is None:
        return always | (categories.counts > 0)
    counts = np.zeros(len(categories), dtype=np.int64)
    for begin, part in codes.parts():
        learned = part[is_learned(begin, begin + len(part))]
        counts += np.bincount(learned, minlength=len(categories))
    return always | (counts > 0)


def unknown_values(values: pl.Series, ids: pl.Series) -> Unknown | None:
    """What has no id among the values of a column, or None if everything has."""
    without_id = values.filter(ids == 0)
    if not len(without_id):
        return None
    return Unknown(
        values.name, len(without_id), tuple(map(str, without_id.unique(maintain_order=True)))
    )


def standardise(
    raw: npt.NDArray[np.float64], statistics: ColumnStatistics
) -> npt.NDArray[np.float64]:
    """Numbers in units of the standard deviation, from the mean."""
    return (raw - statistics.mean) / (statistics.std + SMALLEST_DIVISOR)


def encode_numbers(
    name: str, raw: NumberColumn, is_learned: IsLearned = None, *, path: Path | None = None
) -> EncodedColumn:
    """Standardise a column.

    Args:
        name: Of the column.
        raw: Its numbers; NaN = no value, which becomes the mean.
        is_learned: Which rows mean and deviation are learned from.
        path: File for the result; None = memory.

    Raises:
        InputError: If the numbers are too large for a standard deviation.
    """

    def learned() -> Iterator[npt.NDArray[np.float64]]:
        for begin, part in raw.parts():
            chosen = part if is_learned is None else part[is_learned(begin, begin + len(part))]
            is_missing = np.isnan(chosen)
            yield chosen[~is_missing] if is_missing.any() else chosen

    encoded = NumberColumn(np.float64, raw.length + 1, path)
    lowest, highest, largest, is_finite = np.inf, -np.inf, 0.0, True
    with np.errstate(over="ignore", invalid="ignore"):
        statistics = _statistics(learned)
        for _, part in raw.parts():
            standardised = standardise(part, statistics)
            is_missing = np.isnan(part)
            standardised[is_missing] = 0.0
            encoded.append(standardised)
            is_finite &= bool(np.isfinite(standardised).all())
            present = part[~is_missing]
            lowest = min(lowest, present.min(initial=np.inf))
            highest = max(highest, present.max(initial=-np.inf))
            largest = max(largest, float(np.abs(standardised).max(initial=0)))
    if not (np.isfinite(statistics.std) and is_finite):
        raise InputError(
            f"the numbers of column `{name}` are too large to be standardised "
            f"(between {lowest:g} and {highest:g})",
            "rescale the column, or leave it out with `selected_columns`",
        )
    encoded.append(np.zeros(1))
    return EncodedColumn(name, ColumnKind.REAL, encoded, statistics=statistics, largest=largest)


def _statistics(learned: Callable[[], Iterator[npt.NDArray[np.float64]]]) -> ColumnStatistics:
    """Mean and sample deviation, to the last digit those of numpy."""
    count = sum(len(part) for part in learned())
    if not count:
        return ColumnStatistics(std=0.0, mean=0.0)
    mean = sum_pairwise(learned(), count) / count

    def squares() -> Iterator[npt.NDArray[np.float64]]:
        for part in learned():
            distances = part - mean
            yield distances * distances

    variance = sum_pairwise(squares(), count) / (count - 1) if count > 1 else 0.0
    return ColumnStatistics(std=float(np.sqrt(variance)), mean=float(mean))
