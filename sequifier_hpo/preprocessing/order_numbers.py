"""Times and numbers that order events, as whole numbers in the same order."""

from typing import Any

import numpy as np
import polars as pl

from sequifier_hpo.preprocessing.windows import Ints

# Times as texts: with or without seconds and their parts, and with a zone that counts.
_DATE = "%Y-%m-%d"
_CLOCKS = ("%H:%M", "%H:%M:%S%.f")
_FORMATS = [_DATE, *(f"{_DATE}{gap}{clock}" for clock in _CLOCKS for gap in (" ", "T"))]
_ZONED = [f"{text}%#z" for text in _FORMATS[1:]]

NO_TIME = "is neither a number nor a time like 2013-01-31, 2013-01-31 17:05 or 2013-01-31T17:05:00Z"


def order_numbers(column: str, dtype: Any) -> pl.Expr:
    """The values of an order column as Int64: of times, microseconds since 1970 in UTC.

    Null is what has no place in an order. Decimal numbers become numbers of the same order, with
    no other meaning.

    Args:
        column: Its name.
        dtype: Its type, of polars.
    """
    values = pl.col(column)
    if dtype == pl.String:
        return values.map_batches(_times, return_dtype=pl.Int64, is_elementwise=True)
    if dtype in (pl.Float32, pl.Float64):
        numbers = values.cast(pl.Float64)
        return numbers.map_batches(_ordered_bits, return_dtype=pl.Int64, is_elementwise=True)
    if dtype == pl.Time:
        return values.cast(pl.Int64)
    if dtype.is_temporal():
        return values.cast(pl.Datetime("us")).dt.timestamp("us")
    return values.cast(pl.Int64)


def _times(values: pl.Series) -> pl.Series:
    """Microseconds since 1970 in UTC; null where a text has none of the forms."""
    texts = values.str.strip_chars()
    first = texts.drop_nulls().head(1)
    # All times of a table are mostly of one form: to try them all takes nine times as long.
    forms = sorted((*_FORMATS, *_ZONED), key=lambda form: not _parsed(first, form).count())
    found = _parsed(texts, forms[0])
    for form in forms[1:]:
        others = found.is_null() & texts.is_not_null()
        if not others.any():
            break
        found = found.scatter(others.arg_true(), _parsed(texts.filter(others), form))
    return found


def _parsed(texts: pl.Series, form: str) -> pl.Series:
    return texts.str.to_datetime(form, strict=False, time_unit="us").dt.timestamp("us")


def _ordered_bits(values: pl.Series) -> pl.Series:
    bits = (values.to_numpy() + 0.0).view(np.int64)  # -0.0 is 0.0
    return pl.Series(values.name, _turned(bits))


def _turned(bits: Ints) -> Ints:
    """Bits of decimal numbers as numbers of the same order, or back.

    Those of negative numbers grow as they fall.
    """
    return np.where(bits < 0, bits ^ np.int64(2**63 - 1), bits)


def moment_text(number: int, dtype: Any) -> str:
    """What a number of an order column means to its reader."""
    if dtype in (pl.Float32, pl.Float64):
        bits = _turned(np.array([number], dtype=np.int64))
        return f"{bits.view(np.float64)[0]:g}"
    if dtype == pl.Time:
        return str(pl.Series([number]).cast(pl.Time)[0])
    if dtype == pl.String or dtype.is_temporal():
        return str(pl.Series([number]).cast(pl.Datetime("us"))[0])
    return str(number)
