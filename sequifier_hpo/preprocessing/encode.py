"""Columns as numbers: ids for categories, standardised values for reals.

Id maps and statistics are taken over all rows of all splits: that is the meaning of the format,
and what inference inverts. Id 0 is padding, and "unknown" at inference.
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

# Added to the standard deviation, so that a constant column becomes zeros.
_SMALLEST_DIVISOR = 1e-9


class ColumnKind(StrEnum):
    """What the values of a feature column mean."""

    CATEGORICAL = "categorical"
    REAL = "real"


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


def encode_column(values: pl.Series) -> EncodedColumn:
    """Encode one checked feature column.

    Raises:
        InputError: If the numbers are too large for a standard deviation.
    """
    if values.dtype in REAL_TYPES:
        return _standardised(values)
    return _mapped(values)


def _mapped(values: pl.Series) -> EncodedColumn:
    if values.dtype == pl.Boolean:
        # Both have their id, even if only one occurs.
        distinct = pl.Series([False, True])
        texts = ["false", "true"]
    else:
        distinct = values.unique().sort()
        texts = [str(value) for value in distinct.to_list()]
    numbers = pl.Series(range(1, len(distinct) + 1), dtype=pl.Int64)
    ids = values.replace_strict(distinct, numbers, return_dtype=pl.Int64).to_numpy()
    return EncodedColumn(
        values.name,
        ColumnKind.CATEGORICAL,
        np.append(ids, np.int64(0)),
        id_map=dict(zip(texts, numbers.to_list(), strict=True)),
    )


def _standardised(values: pl.Series) -> EncodedColumn:
    raw = values.cast(pl.Float64).to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(raw.mean()), float(raw.std(ddof=1))
    if not np.isfinite([mean, std]).all():
        raise InputError(
            f"the numbers of column `{values.name}` are too large to be standardised "
            f"(between {raw.min():g} and {raw.max():g})",
            "rescale the column, or leave it out with `selected_columns`",
        )
    return EncodedColumn(
        values.name,
        ColumnKind.REAL,
        np.append((raw - mean) / (std + _SMALLEST_DIVISOR), 0.0),
        statistics=ColumnStatistics(std=std, mean=mean),
    )
