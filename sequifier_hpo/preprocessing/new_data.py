"""New events in the numbers that a model was trained with: the encoding of preprocessing, again.

Preprocessing looks at a whole column to find out what it holds. Here the metadata know it, and each
value is read as what its column is: `00501` as the number 501, `True` as a boolean.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sequifier_hpo.config.metadata import DataMetadata, unknown_id
from sequifier_hpo.config.preprocess import ID_COLUMNS
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.encode import Unknown, standardise, unknown_values
from sequifier_hpo.preprocessing.raw_files import RawTable, read_as_text
from sequifier_hpo.preprocessing.table_checks import (
    INTEGER_TYPES,
    REAL_TYPES,
    faults_of,
    id_faults,
    order_items,
)
from sequifier_hpo.preprocessing.windows import Ints, find_sequences, gather_items
from sequifier_hpo.words import counted

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
_READABLE_TYPES = {*INTEGER_TYPES, *REAL_TYPES, pl.String, pl.Boolean}
_ROW = "row of the table"


@dataclass(frozen=True)
class Histories:
    """The newest events of some sequences, as a model reads them."""

    sequence_ids: Ints
    """(sequences,), ascending."""
    inputs: Mapping[str, npt.NDArray[Any]]
    """Column -> int64 ids or float32 standardised values, (sequences, length), the oldest first;
    shorter histories begin with padding, 0."""
    unknown: tuple[Unknown, ...]
    """Per column, values without an id: all of them are the same to the model."""


def read_histories(
    path: Path,
    columns: Sequence[str],
    length: int,
    metadata: DataMetadata,
    *,
    sequence_id: int | str | None = None,
) -> Histories:
    """Read and encode the newest events of sequences, to predict what comes next.

    Args:
        path: Table of events like those that are preprocessed: Parquet if its name ends so, else CSV.
            Of its columns only the ids and those asked for are read.
        columns: Input columns of the model.
        length: Number of events that the model sees.
        metadata: What preprocessing has learned about the columns.
        sequence_id: The only sequence that is wanted; None = all.

    Raises:
        InputError: If the table cannot be read, lacks a column or the sequence, or has a value among
            these events that cannot be encoded.
    """
    table = read_as_text(path, columns)
    _refuse(path, [fault for column in ID_COLUMNS for fault in id_faults(table, column)])
    events = _newest(table, sequence_id, length)
    rows = events[_ROW]
    is_read = pl.Series(np.isin(np.arange(table.frame.height), rows.to_numpy()))
    encoded = [_encode(table, column, is_read, metadata) for column in columns]
    _refuse(path, [fault for each in encoded for fault in each.faults])
    sequences = find_sequences(events["sequenceId"].to_numpy())
    lower_rows = sequences.first_rows[:, None]
    first_rows = lower_rows + sequences.lengths[:, None] - length
    places = np.arange(length)
    return Histories(
        sequence_ids=sequences.ids,
        inputs={
            each.column: gather_items(
                np.append(each.values[rows.to_numpy()], each.values.dtype.type(0)),
                first_rows,
                lower_rows,
                places,
            )
            for each in encoded
        },
        unknown=tuple(each.unknown for each in encoded if each.unknown is not None),
    )


def _newest(table: RawTable, sequence_id: int | str | None, length: int) -> pl.DataFrame:
    """The ids of the events to read, in order, with their row of the table."""
    path, _ = table.files[0]
    ids = table.frame.select(pl.col(ID_COLUMNS).cast(pl.Int64)).with_row_index(_ROW)
    ordered = order_items(replace(table, frame=ids))
    if sequence_id is not None:
        present = ordered["sequenceId"]
        wanted = pl.Series([str(sequence_id)]).str.strip_chars().cast(pl.Int64, strict=False)
        ordered = ordered.filter(pl.col("sequenceId").is_in(wanted.drop_nulls().to_list()))
        if not ordered.height:
            known = f", from {present[0]} to {present[-1]}" if len(present) else ""
            raise InputError(
                f"{path} has no event of the sequence {sequence_id}",
                f"choose one of its {counted(present.n_unique(), 'sequence')}{known}",
            )
    return ordered.group_by("sequenceId", maintain_order=True).tail(length)


@dataclass(frozen=True)
class _Encoded:
    """A column of a table, of which only some rows are read."""

    column: str
    values: npt.NDArray[Any]
    """Of all rows; meaningless where a row is not read."""
    faults: list[str]
    unknown: Unknown | None = None


def _encode(table: RawTable, column: str, is_read: pl.Series, metadata: DataMetadata) -> _Encoded:
    values = table.frame[column]
    faults = list(faults_of(table, column, values.is_null() & is_read, "has no value"))
    if values.dtype not in _READABLE_TYPES:
        faults.append(f"`{column}`: {values.dtype} is neither a category nor a number")
        return _Encoded(column, np.zeros(len(values)), faults)
    if column in metadata.id_maps:
        ids = _ids(values, metadata.id_maps[column])
        unknown = unknown_values(values.filter(is_read), ids.filter(is_read))
        ids = ids.replace(0, unknown_id(metadata.id_maps[column]))
        return _Encoded(column, ids.to_numpy(), faults, unknown)
    if column not in metadata.selected_columns_statistics:
        raise InputError(
            f"the metadata do not know the column `{column}`",
            "use the metadata of the data that the model was trained with",
        )
    numbers = _numbers(values)
    is_wrong = values.is_not_null() & ~numbers.is_finite().fill_null(value=False) & is_read
    faults += faults_of(table, column, is_wrong, "is not a finite number", show=True)
    raw = numbers.fill_null(0).to_numpy()
    standardised = standardise(raw, metadata.selected_columns_statistics[column])
    return _Encoded(column, standardised.astype(np.float32), faults)


def _ids(values: pl.Series, id_map: Mapping[str, int]) -> pl.Series:
    """Ids by the text of a value as it stands there, or else by how its kind of column writes it."""
    known, numbers = list(id_map), list(id_map.values())

    def find(texts: pl.Series) -> pl.Series:
        return texts.replace_strict(known, numbers, default=None, return_dtype=pl.Int64)

    texts = values.cast(pl.String)
    ids = find(texts)
    if set(known) <= {"false", "true"}:
        ids = ids.fill_null(find(texts.str.strip_chars().str.to_lowercase()))
    elif all(_WHOLE_NUMBER.fullmatch(text) for text in known):
        whole = texts.str.strip_chars().cast(pl.Int64, strict=False)
        # A column with gaps in another row may come as decimal numbers: 3.0.
        decimal = _numbers(values)
        integral = decimal.cast(pl.Int64, strict=False)
        whole = whole.fill_null(integral.set(integral != decimal, None))
        ids = ids.fill_null(find(whole.cast(pl.String)))
    return ids.fill_null(0)


def _numbers(values: pl.Series) -> pl.Series:
    if values.dtype == pl.Boolean:
        return pl.Series(values.name, [None] * len(values), dtype=pl.Float64)
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Float64, strict=False)


def _refuse(path: Path, faults: Sequence[str]) -> None:
    if faults:
        raise InputError(
            "\n".join([f"{path} cannot be read as new events:", *(f"  - {f}" for f in faults)]),
            "give every event a value in each column, and write decimal numbers with a point, as in "
            "the table that was preprocessed",
        )
