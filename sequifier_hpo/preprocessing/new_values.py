"""Values of new events in the numbers that a model was trained with.

Preprocessing looks at a whole column to find out what it holds. Here the metadata know it, and each
value is read as what its column is: `00501` as the number 501, `True` as a boolean.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sequifier_hpo.config.metadata import DataMetadata, unknown_id
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.categories import INTEGER_TYPES, MISSING
from sequifier_hpo.preprocessing.encode import ColumnKind, Unknown, standardise, unknown_values
from sequifier_hpo.preprocessing.raw_files import RawTable
from sequifier_hpo.preprocessing.table_checks import REAL_TYPES, faults_of, is_gap

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
_READABLE_TYPES = {*INTEGER_TYPES, *REAL_TYPES, pl.String, pl.Boolean}


@dataclass(frozen=True)
class EncodedValues:
    """A column of a table, of which only some rows are read."""

    column: str
    values: npt.NDArray[Any]
    """Of all rows, int64 ids or float32 standardised; meaningless where a row is not read."""
    faults: list[str]
    unknown: Unknown | None = None
    num_missing: int = 0
    """Rows that are read and have no value, where that is allowed."""

    @property
    def kind(self) -> ColumnKind:
        """What the numbers mean."""
        return ColumnKind.CATEGORICAL if self.values.dtype == np.int64 else ColumnKind.REAL


def encode_values(
    table: RawTable, column: str, is_read: pl.Series, metadata: DataMetadata
) -> EncodedValues:
    """Encode a feature.

    Args:
        table: As text, or with the types of a Parquet file.
        column: The feature.
        is_read: Of every row, whether its value is needed.
        metadata: What preprocessing has learned about the column.

    Raises:
        InputError: If it has learned nothing.
    """
    kind = _kind_of(column, metadata)
    values = table.frame[column]
    num_missing, faults = 0, list[str]()
    if column in metadata.missing:
        if values.dtype == pl.Null:
            values = values.cast(pl.String)
        gaps = _gaps(values, kind, is_csv=table.is_csv)
        values = values.set(gaps, None)
        num_missing = int((gaps & is_read).sum())
    else:
        faults += faults_of(table, column, values.is_null() & is_read, "has no value")
    if values.dtype not in _READABLE_TYPES:
        faults.append(f"`{column}`: {values.dtype} is neither a category nor a number")
        return EncodedValues(column, np.zeros(len(values)), faults)
    if kind is not _Kind.REAL:
        id_map = metadata.id_maps[column]
        ids = _ids(values, id_map, kind)
        texts = values.cast(pl.String).fill_null(MISSING)
        unknown = unknown_values(texts.filter(is_read), ids.filter(is_read))
        ids = ids.replace(0, unknown_id(id_map))
        return EncodedValues(column, ids.to_numpy(), faults, unknown, num_missing)
    numbers = _numbers(values)
    is_wrong = values.is_not_null() & ~numbers.is_finite().fill_null(value=False) & is_read
    faults += faults_of(table, column, is_wrong, "is not a finite number", show=True)
    standardised = standardise(
        numbers.fill_null(0).to_numpy(), metadata.selected_columns_statistics[column]
    )
    standardised[values.is_null().to_numpy()] = 0  # the mean
    return EncodedValues(column, standardised.astype(np.float32), faults, num_missing=num_missing)


def without_value(table: RawTable, column: str, metadata: DataMetadata) -> pl.Series:
    """The rows that preprocessing drops for what they lack in a column."""
    values = table.frame[column]
    if column in metadata.id_columns:
        return values.is_null()
    return _gaps(values, _kind_of(column, metadata), is_csv=table.is_csv)


class _Kind(Enum):
    """What the values of a column are."""

    REAL = auto()
    WHOLE = auto()
    DECIMAL = auto()
    BOOLEAN = auto()
    TEXT = auto()


def _kind_of(column: str, metadata: DataMetadata) -> _Kind:
    """What a column holds; of categories, their texts say it."""
    if column not in metadata.id_maps:
        if column in metadata.selected_columns_statistics:
            return _Kind.REAL
        raise InputError(
            f"the metadata do not know the column `{column}`",
            "use the metadata of the data that the model was trained with",
        )
    texts = [text for text in metadata.id_maps[column] if text != MISSING]
    if {text.lower() for text in texts} <= {"false", "true"}:
        return _Kind.BOOLEAN
    if all(_WHOLE_NUMBER.fullmatch(text) for text in texts):
        return _Kind.WHOLE
    decimal = pl.Series(texts).cast(pl.Float64, strict=False).cast(pl.String)
    return _Kind.DECIMAL if decimal.to_list() == texts else _Kind.TEXT


def _gaps(values: pl.Series, kind: _Kind, *, is_csv: bool) -> pl.Series:
    """The cells without a value where those are allowed: empty ones, NaN, marks such as `NA`."""
    gaps = values.is_null()
    if values.dtype in REAL_TYPES:
        return gaps | values.is_nan().fill_null(value=False)
    if values.dtype == pl.String:
        if is_csv or kind is _Kind.REAL:
            marks = values.to_frame().select(is_gap(values.name)).to_series()
            gaps |= marks.fill_null(value=False)
        if kind in {_Kind.REAL, _Kind.WHOLE, _Kind.DECIMAL}:
            gaps |= _numbers(values).is_nan().fill_null(value=False)
    return gaps


def _ids(values: pl.Series, id_map: Mapping[str, int], kind: _Kind) -> pl.Series:
    """Ids by the text of a value as it stands there, or else by how its kind of column writes it."""

    def find(texts: pl.Series, ids: Mapping[str, int]) -> pl.Series:
        return texts.replace_strict(
            list(ids), list(ids.values()), default=None, return_dtype=pl.Int64
        )

    texts = values.cast(pl.String).fill_null(MISSING)
    ids = find(texts, id_map)
    if kind is _Kind.BOOLEAN:
        lower = {text.lower(): number for text, number in id_map.items()}
        ids = ids.fill_null(find(texts.str.strip_chars().str.to_lowercase(), lower))
    elif kind is _Kind.WHOLE:
        whole = texts.str.strip_chars().cast(pl.Int64, strict=False)
        # A column with gaps in another row may come as decimal numbers: 3.0.
        decimal = _numbers(values)
        integral = decimal.cast(pl.Int64, strict=False)
        whole = whole.fill_null(integral.set(integral != decimal, None))
        ids = ids.fill_null(find(whole.cast(pl.String), id_map))
    elif kind is _Kind.DECIMAL:
        ids = ids.fill_null(find(_numbers(values).cast(pl.String), id_map))
    return ids.fill_null(0)


def _numbers(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        return pl.Series(values.name, [None] * len(values), dtype=pl.Float64)
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False)
