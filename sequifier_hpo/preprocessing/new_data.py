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
from sequifier_hpo.preprocessing.categories import INTEGER_TYPES
from sequifier_hpo.preprocessing.encode import (
    ColumnKind,
    EncodedColumn,
    Unknown,
    standardise,
    unknown_values,
)
from sequifier_hpo.preprocessing.event_table import EventTable
from sequifier_hpo.preprocessing.long_table import write_long_table
from sequifier_hpo.preprocessing.number_columns import NumberColumn
from sequifier_hpo.preprocessing.raw_files import RawTable
from sequifier_hpo.preprocessing.raw_text import read_as_text
from sequifier_hpo.preprocessing.table_checks import (
    REAL_TYPES,
    faults_of,
    number_faults,
    order_items,
)
from sequifier_hpo.preprocessing.windows import Ints, find_sequences, gather_items, lay_windows
from sequifier_hpo.words import counted

_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]*")
_READABLE_TYPES = {*INTEGER_TYPES, *REAL_TYPES, pl.String, pl.Boolean}
_ROW = "row of the table"
_MOST_SHOWN = 5


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


@dataclass(frozen=True)
class NewEvents:
    """The newest events of some sequences, encoded, and not yet laid out as a model reads them."""

    sequence_ids: Ints
    """(sequences,), ascending."""
    last_positions: Ints
    """(sequences,): `itemPosition` of the newest event; -1 where there is none."""
    unknown: tuple[Unknown, ...]
    """As of `Histories`."""
    length: int
    """Number of events that the model sees."""
    _values: Mapping[str, npt.NDArray[Any]]
    """Column -> its values in the order of sequences and events, and at last the padding."""
    _first_rows: Ints
    _end_rows: Ints

    def __len__(self) -> int:
        return len(self.sequence_ids)

    def inputs(self, begin: int, end: int) -> dict[str, npt.NDArray[Any]]:
        """The inputs of a model for some of the sequences, as in `Histories`."""
        lower_rows = self._first_rows[begin:end, None]
        first_rows = self._end_rows[begin:end, None] - self.length
        places = np.arange(self.length)
        return {
            column: gather_items(values, first_rows, lower_rows, places)
            for column, values in self._values.items()
        }


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
    wanted = None if sequence_id is None else [str(sequence_id)]
    events = encode_events(read_as_text(path, columns), length, metadata, sequence_ids=wanted)
    return Histories(events.sequence_ids, events.inputs(0, len(events)), events.unknown)


def encode_events(
    table: RawTable,
    length: int,
    metadata: DataMetadata,
    *,
    sequence_ids: Sequence[str] | None = None,
    allows_empty: bool = False,
) -> NewEvents:
    """Encode the newest events of each sequence of a table, whose features are a model's inputs.

    A row with a sequence and nothing else names a sequence without events.

    Args:
        table: As text, or with the types of a Parquet file.
        length: Number of events that the model sees.
        metadata: What preprocessing has learned about the columns.
        sequence_ids: The only sequences that are wanted; None = all.
        allows_empty: Whether a sequence without events is one that begins.

    Raises:
        InputError: If a sequence that is wanted has no events, or a value of the newest cannot be
            encoded.
    """
    path, _ = table.files[0]
    columns = table.features
    table, named = _without_empty_sequences(table)
    _refuse(path, _id_faults(table))
    events, empty = _newest(table, length, sequence_ids, named)
    refused = [text for text in empty if not (allows_empty and _WHOLE_NUMBER.fullmatch(text))]
    if refused:
        raise _no_events(table, refused)
    is_read = pl.Series(np.isin(np.arange(table.frame.height), events[_ROW].to_numpy()))
    encoded = [_encode(table, column, is_read, metadata) for column in columns]
    _refuse(path, [fault for each in encoded for fault in each.faults])
    begun = np.unique(np.array([int(text) for text in empty], dtype=np.int64))
    return _laid_out(events, begun, encoded, length)


def write_windows(
    path: Path, table: RawTable, length: int, stride: int, metadata: DataMetadata
) -> tuple[Unknown, ...]:
    """Write all events of a table as the windows of a split, a Parquet file.

    Args:
        path: The file.
        table: As of `encode_events`; all its features are written.
        length: Number of events that the model sees.
        stride: Largest distance between two windows of a sequence.
        metadata: What preprocessing has learned about the columns.

    Returns:
        Per column, values without an id.

    Raises:
        InputError: If a value cannot be encoded, or the table has no events.
        EnvironmentFaultError: If the file cannot be written.
    """
    source, _ = table.files[0]
    _refuse(source, _id_faults(table))
    ids = table.frame.select(pl.col(ID_COLUMNS).cast(pl.Int64)).with_row_index(_ROW)
    ordered = order_items(replace(table, frame=ids))
    if not ordered.height:
        raise InputError(f"{source} holds no events", "name a table that does")
    everything = pl.repeat(value=True, n=table.frame.height, eager=True)
    encoded = [_encode(table, column, everything, metadata) for column in table.features]
    _refuse(source, [fault for each in encoded for fault in each.faults])
    sequences = find_sequences(ordered[ID_COLUMNS[0]].to_numpy())
    bounds = np.stack([np.zeros_like(sequences.lengths), sequences.lengths], axis=1)
    windows = lay_windows(sequences, bounds, 0, seq_length=length, stride=stride, mode="distribute")
    rows = ordered[_ROW].to_numpy()
    columns = [
        EncodedColumn(
            each.column,
            ColumnKind.CATEGORICAL if each.column in metadata.id_maps else ColumnKind.REAL,
            NumberColumn.of(np.append(each.values[rows], each.values.dtype.type(0))),
        )
        for each in encoded
    ]
    write_long_table(path, "parquet", windows, columns)
    return tuple(each.unknown for each in encoded if each.unknown is not None)


def _id_faults(table: RawTable) -> list[str]:
    events = EventTable.of(table)
    return [str(fault) for column in ID_COLUMNS for fault in number_faults(events, column)]


def _laid_out(
    events: pl.DataFrame, begun: Ints, encoded: Sequence["_Encoded"], length: int
) -> NewEvents:
    """The events to read, in their order, and the sequences without any."""
    rows = events[_ROW].to_numpy()
    sequences = find_sequences(events[ID_COLUMNS[0]].to_numpy())
    ends = sequences.first_rows + sequences.lengths
    ids = np.concatenate([sequences.ids, begun])
    order = np.argsort(ids, kind="stable")

    def with_begun(numbers: Ints, of_begun: int) -> Ints:
        return np.concatenate([numbers, np.full(len(begun), of_begun, dtype=np.int64)])[order]

    return NewEvents(
        sequence_ids=ids[order],
        last_positions=with_begun(events[ID_COLUMNS[1]].to_numpy()[ends - 1], -1),
        unknown=tuple(each.unknown for each in encoded if each.unknown is not None),
        length=length,
        _values={
            each.column: np.append(each.values[rows], each.values.dtype.type(0)) for each in encoded
        },
        _first_rows=with_begun(sequences.first_rows, len(rows)),
        _end_rows=with_begun(ends, len(rows)),
    )


def _without_empty_sequences(table: RawTable) -> tuple[RawTable, list[str]]:
    """The table without rows that only name a sequence, and the sequences that these name."""
    others = [column for column in table.frame.columns if column != ID_COLUMNS[0]]
    names_only = pl.col(ID_COLUMNS[0]).is_not_null() & pl.all_horizontal(pl.col(others).is_null())
    named = table.frame.select(names_only.alias("")).to_series()
    if not named.any():
        return table, []
    rows = pl.Series(range(table.frame.height)) if table.rows is None else table.rows
    rest = replace(table, frame=table.frame.filter(~named), rows=rows.filter(~named))
    return rest, table.frame.filter(named)[ID_COLUMNS[0]].cast(pl.String).to_list()


def _newest(
    table: RawTable, length: int, sequence_ids: Sequence[str] | None, named: Sequence[str]
) -> tuple[pl.DataFrame, list[str]]:
    """The ids of the events to read, in order, with their row of the table; and who has none."""
    ids = table.frame.select(pl.col(ID_COLUMNS).cast(pl.Int64)).with_row_index(_ROW)
    ordered = order_items(replace(table, frame=ids))
    asked = [text.strip() for text in [*(sequence_ids or []), *named]]
    numbers = pl.Series(asked, dtype=pl.String).cast(pl.Int64, strict=False)
    if sequence_ids is not None:
        ordered = ordered.filter(pl.col(ID_COLUMNS[0]).is_in(numbers.drop_nulls().to_list()))
    is_empty = numbers.is_null() | ~numbers.is_in(ordered[ID_COLUMNS[0]].unique().to_list())
    events = ordered.group_by(ID_COLUMNS[0], maintain_order=True).tail(length)
    return events, list(dict.fromkeys(pl.Series(asked, dtype=pl.String).filter(is_empty)))


def _no_events(table: RawTable, empty: Sequence[str]) -> InputError:
    path, _ = table.files[0]
    shown = ", ".join(empty[:_MOST_SHOWN]) + (", ..." if len(empty) > _MOST_SHOWN else "")
    problem = f"{path} has no event of the sequence{'s' if empty[1:] else ''} {shown}"
    if table.rows is not None:  # a part of it, which does not know of the others
        return InputError(problem, "choose sequences of the table, or add --allow-empty-history")
    present = table.frame[ID_COLUMNS[0]].cast(pl.Int64).unique().sort()
    known = f", from {present[0]} to {present[-1]}" if len(present) else ""
    return InputError(problem, f"choose one of its {counted(len(present), 'sequence')}{known}")


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
