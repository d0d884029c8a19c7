"""Columns as numbers: ids for categories, standardised values for reals.

Id maps and statistics are taken over all rows of all splits, as Sequifier does, or over those of
the training split. Id 0 is padding, and what has no id of its own: "unknown".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sequifier_hpo.config.metadata import ColumnStatistics
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.table_checks import REAL_TYPES
from sequifier_hpo.words import counted

# Added to the standard deviation, so that a constant column becomes zeros.
SMALLEST_DIVISOR = 1e-9
_MAX_SHOWN = 5


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
        shown = ", ".join(f"`{value}`" for value in self.values[:_MAX_SHOWN])
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
    values: npt.NDArray[Any]
    """int64 ids or float64 standardised values, one per row; one more entry, 0, is the padding."""
    id_map: Mapping[str, int] | None = None
    """Raw value as text -> id, of a categorical column."""
    statistics: ColumnStatistics | None = None
    """Mean and standard deviation, of a real column."""
    unknown: Unknown | None = None
    """The values that have no id, of a categorical column, if there are any."""


def encode_column(
    values: pl.Series, learned_from: npt.NDArray[np.bool_] | None = None
) -> EncodedColumn:
    """Encode one checked feature column.

    Args:
        values: The column.
        learned_from: The rows that its ids or statistics are learned from, (rows,); None = all.

    Raises:
        InputError: If the numbers are too large for a standard deviation.
    """
    known = values if learned_from is None else values.filter(pl.Series(learned_from))
    if values.dtype in REAL_TYPES:
        return _standardised(values, known)
    return _mapped(values, known)


def _mapped(values: pl.Series, known: pl.Series) -> EncodedColumn:
    if values.dtype == pl.Boolean:
        # Both have their id, even if only one occurs.
        distinct = pl.Series([False, True])
        texts = ["false", "true"]
    else:
        distinct = known.unique().sort()
        texts = [str(value) for value in distinct.to_list()]
    numbers = pl.Series(range(1, len(distinct) + 1), dtype=pl.Int64)
    ids = values.replace_strict(distinct, numbers, default=0, return_dtype=pl.Int64)
    return EncodedColumn(
        values.name,
        ColumnKind.CATEGORICAL,
        np.append(ids.to_numpy(), np.int64(0)),
        id_map=dict(zip(texts, numbers.to_list(), strict=True)),
        unknown=unknown_values(values, ids),
    )


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


def _standardised(values: pl.Series, known: pl.Series) -> EncodedColumn:
    raw, learned_from = (series.cast(pl.Float64).to_numpy() for series in (values, known))
    with np.errstate(over="ignore", invalid="ignore"):
        std = float(learned_from.std(ddof=1)) if len(learned_from) > 1 else 0.0
        statistics = ColumnStatistics(std=std, mean=float(learned_from.mean()))
        standardised = standardise(raw, statistics)
    if not (np.isfinite(std) and np.isfinite(standardised).all()):
        raise InputError(
            f"the numbers of column `{values.name}` are too large to be standardised "
            f"(between {raw.min():g} and {raw.max():g})",
            "rescale the column, or leave it out with `selected_columns`",
        )
    return EncodedColumn(
        values.name,
        ColumnKind.REAL,
        np.append(standardised, 0.0),
        statistics=statistics,
    )
