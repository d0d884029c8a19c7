"""The distinct values of a column: numbered in their order, counted, and where each occurs first."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from sequifier_hpo.preprocessing.event_table import ROW, EventTable
from sequifier_hpo.preprocessing.windows import Ints

INTEGER_TYPES = frozenset(
    {pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64}
)
CATEGORY_TYPES = INTEGER_TYPES | {pl.String, pl.Boolean}
"""Types of the columns that have categories."""

# Codes of whole numbers are looked up in a table if that is no larger than so many entries.
_TABLE_ENTRIES = 2**22
MISSING = ""
"""What the id map calls a cell without a value, where those are a class of their own."""


@dataclass(frozen=True)
class Categories:
    """What occurs in a column."""

    values: pl.Series
    """Each value once, ascending; at last null, if cells without a value are a class."""
    counts: Ints
    """(values,) rows."""
    first_rows: Ints
    """(values,) number of the first row."""

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def texts(self) -> list[str]:
        """The values as the keys of an id map: integers and texts as they are, `false`, `true`."""
        if self.values.dtype == pl.Boolean:
            return ["false", "true"] + [MISSING] * (len(self) - 2)
        return [MISSING if value is None else str(value) for value in self.values.to_list()]

    def codes(self, values: pl.Series) -> Ints:
        """The place of each value in `self.values`.

        Args:
            values: Of the same column, with no value that is not there.
        """
        known = self.values.drop_nulls()
        missing = np.int64(len(known))
        if values.dtype == pl.Boolean:
            codes = values.cast(pl.Int64)
        elif values.dtype.is_integer():
            return _codes_of_integers(values, known, missing)
        else:
            codes = values.cast(self._enum).to_physical().cast(pl.Int64)
        numbers: Ints = codes.fill_null(int(missing)).to_numpy()
        return numbers

    @cached_property
    def _enum(self) -> pl.Enum:
        return pl.Enum(self.values.drop_nulls())


def _codes_of_integers(values: pl.Series, distinct: pl.Series, missing: np.int64) -> Ints:
    if not len(distinct):
        return np.full(len(values), missing)
    dtype = pl.UInt64 if values.dtype == pl.UInt64 else pl.Int64
    known = distinct.cast(dtype).to_numpy()
    numbers = values.fill_null(distinct[0]).cast(dtype).to_numpy()
    lowest, highest = distinct[0], distinct[-1]
    codes: Ints
    if highest - lowest < _TABLE_ENTRIES:
        table = np.zeros(highest - lowest + 1, dtype=np.int64)
        table[(known - known[0]).astype(np.int64)] = np.arange(len(known))
        codes = table[(numbers - known[0]).astype(np.int64)]
    else:
        codes = np.searchsorted(known, numbers).astype(np.int64)
    if values.null_count():
        codes[values.is_null().to_numpy()] = missing
    return codes


def find_categories(table: EventTable, column: str) -> Categories:
    """Count the values of a column of whole numbers, texts or booleans.

    Of booleans, both are there, even if only one occurs.
    """
    counted = (
        table.rows.group_by(pl.col(column).alias("value"))
        .agg(pl.len().alias("count"), pl.col(ROW).min().alias("row"))
        .collect(engine="streaming")
    )
    if counted.schema["value"] == pl.Boolean:
        both = pl.DataFrame({"value": [False, True]})
        rest = counted.filter(pl.col("value").is_null())
        counted = pl.concat(
            [both.join(counted, on="value", how="left", maintain_order="left"), rest]
        )
    else:
        counted = counted.sort("value", nulls_last=True)
    return Categories(
        counted["value"],
        counted["count"].fill_null(0).cast(pl.Int64).to_numpy(),
        counted["row"].fill_null(0).cast(pl.Int64).to_numpy(),
    )
