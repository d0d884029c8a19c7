"""New events in the numbers that a model was trained with: the encoding of preprocessing, again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.encode import EncodedColumn, Unknown
from sequifier_hpo.preprocessing.long_table import write_long_table
from sequifier_hpo.preprocessing.new_rows import (
    RowOrder,
    named_by,
    order_rows,
    refuse,
    rows_of,
    sequences_in,
    without_dropped,
    without_empty_sequences,
)
from sequifier_hpo.preprocessing.new_values import EncodedValues, encode_values
from sequifier_hpo.preprocessing.number_columns import NumberColumn
from sequifier_hpo.preprocessing.raw_files import RawTable
from sequifier_hpo.preprocessing.raw_text import read_as_text
from sequifier_hpo.preprocessing.remarks import Remarks
from sequifier_hpo.preprocessing.sequence_names import sequence_table
from sequifier_hpo.preprocessing.windows import Ints, Sequences, gather_items, lay_windows
from sequifier_hpo.words import counted

_MOST_SHOWN = 5


@dataclass(frozen=True)
class Histories:
    """The newest events of some sequences, as a model reads them."""

    sequence_ids: npt.NDArray[Any]
    """(sequences,), ascending: whole numbers, or texts if those said so in training."""
    inputs: Mapping[str, npt.NDArray[Any]]
    """Column -> int64 ids or float32 standardised values, (sequences, length), the oldest first;
    shorter histories begin with padding, 0."""
    unknown: tuple[Unknown, ...]
    """Per column, values without an id: all of them are the same to the model."""
    notes: tuple[str, ...]
    """What a person should know: the unknown values, missing ones, and rows that were dropped."""


@dataclass(frozen=True)
class NewEvents:
    """The newest events of some sequences, encoded, and not yet laid out as a model reads them."""

    sequences: pl.Series
    """(sequences,), ascending: texts or whole numbers."""
    last_places: Ints
    """(sequences,): what ordered the newest event, `itemPosition` if it is that; -1 = no event."""
    remarks: Remarks
    """What is to be said of their values."""
    length: int
    """Number of events that the model sees."""
    _values: Mapping[str, npt.NDArray[Any]]
    """Column -> its values in the order of sequences and events, and at last the padding."""
    _first_rows: Ints
    _end_rows: Ints

    def __len__(self) -> int:
        return len(self.sequences)

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
            Of its columns only the ids, those asked for and those without which rows are dropped
            are read.
        columns: Input columns of the model.
        length: Number of events that the model sees.
        metadata: What preprocessing has learned about the columns.
        sequence_id: The only sequence that is wanted; None = all.

    Raises:
        InputError: If the table cannot be read, lacks a column or the sequence, or has a value among
            these events that cannot be encoded.
    """
    wanted = None if sequence_id is None else [str(sequence_id)]
    table = read_as_text(path, columns, metadata)
    events = encode_events(table, length, metadata, sequence_ids=wanted)
    return Histories(
        events.sequences.to_numpy(),
        events.inputs(0, len(events)),
        events.remarks.unknown,
        tuple(events.remarks.lines(metadata)),
    )


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
    whole = table
    if sequence_ids is not None:
        wanted = named_by(sequence_ids, metadata).drop_nulls()
        of_rows = sequences_in(table.frame.to_series(0), metadata)
        table = rows_of(table, of_rows.is_in(wanted.to_list()).fill_null(value=False))
    events, named = without_empty_sequences(table)
    left, lacking = without_dropped(events, metadata)
    newest = order_rows(left, metadata).newest(length)
    begun = _without_events([*(sequence_ids or []), *named], newest, metadata)
    if len(begun) and not (allows_empty and begun["sequence"].null_count() == 0):
        refused = begun if not allows_empty else begun.filter(pl.col("sequence").is_null())
        raise _no_events(whole, refused["text"].to_list(), metadata)
    encoded = _encoded(left, newest.rows, metadata)
    remarks = Remarks.of(encoded, lacking, events.frame.height, left.frame.height)
    return _laid_out(newest, begun["sequence"].unique(), encoded, remarks, length)


@dataclass(frozen=True)
class WrittenWindows:
    """What came of a table that was written as a split."""

    remarks: Remarks
    names: pl.DataFrame | None
    """`sequenceId` and `sequence`: which text a number of the split stands for; None = the numbers
    are those of the table."""


def write_windows(
    path: Path, table: RawTable, length: int, stride: int, metadata: DataMetadata
) -> WrittenWindows:
    """Write all events of a table as the windows of a split, a Parquet file.

    Args:
        path: The file.
        table: As of `encode_events`; all its features are written.
        length: Number of events that the model sees.
        stride: Largest distance between two windows of a sequence.
        metadata: What preprocessing has learned about the columns.

    Raises:
        InputError: If a value cannot be encoded, or the table has no events.
        EnvironmentFaultError: If the file cannot be written.
    """
    left, lacking = without_dropped(table, metadata)
    order = order_rows(left, metadata)
    if not len(order.rows):
        raise InputError(f"{table.files[0][0]} holds no events", "name a table that does")
    encoded = _encoded(left, order.rows, metadata)
    names = None
    ids = order.sequences
    if metadata.has_named_sequences:
        ids = pl.Series(range(1, len(ids) + 1), dtype=pl.Int64)
        names = sequence_table(order.sequences)
    sequences = Sequences(ids.to_numpy(), order.first_rows, order.lengths)
    bounds = np.stack([np.zeros_like(sequences.lengths), sequences.lengths], axis=1)
    windows = lay_windows(sequences, bounds, 0, seq_length=length, stride=stride, mode="distribute")
    columns = [
        EncodedColumn(
            each.column,
            each.kind,
            NumberColumn.of(_with_padding(each, order.rows)),
        )
        for each in encoded
    ]
    write_long_table(path, "parquet", windows, columns)
    remarks = Remarks.of(encoded, lacking, table.frame.height, left.frame.height)
    return WrittenWindows(remarks, names)


def _encoded(table: RawTable, rows: Ints, metadata: DataMetadata) -> list[EncodedValues]:
    """The features of a table, of which some rows are read.

    Raises:
        InputError: If a value cannot be encoded.
    """
    is_read = np.zeros(table.frame.height, dtype=np.bool_)
    is_read[rows] = True
    chosen = pl.Series(is_read)
    encoded = [encode_values(table, column, chosen, metadata) for column in table.features]
    refuse(table.files[0][0], [fault for each in encoded for fault in each.faults])
    return encoded


def _with_padding(encoded: EncodedValues, rows: Ints) -> npt.NDArray[Any]:
    values = encoded.values
    return np.append(values[rows], values.dtype.type(0))


def _laid_out(
    newest: RowOrder,
    begun: pl.Series,
    encoded: Sequence[EncodedValues],
    remarks: Remarks,
    length: int,
) -> NewEvents:
    """The events to read, in their order, and the sequences without any."""
    names = pl.concat([newest.sequences, begun])
    order: Ints = names.arg_sort().cast(pl.Int64).to_numpy()

    def with_begun(numbers: Ints, of_begun: int) -> Ints:
        every = np.concatenate([numbers, np.full(len(begun), of_begun, dtype=np.int64)])
        return every[order]

    num_rows = len(newest.rows)
    return NewEvents(
        sequences=names.gather(order),
        last_places=with_begun(newest.places[newest.end_rows - 1], -1),
        remarks=remarks,
        length=length,
        _values={each.column: _with_padding(each, newest.rows) for each in encoded},
        _first_rows=with_begun(newest.first_rows, num_rows),
        _end_rows=with_begun(newest.end_rows, num_rows),
    )


def _without_events(asked: Sequence[str], newest: RowOrder, metadata: DataMetadata) -> pl.DataFrame:
    """Those who are asked for and have no events: `text`, and `sequence`, null if none can be so."""
    sequences = named_by(asked, metadata)
    named = pl.DataFrame({"text": pl.Series(asked, dtype=pl.String), "sequence": sequences})
    is_there = sequences.is_in(newest.sequences.to_list()).fill_null(value=False)
    return named.filter(~is_there).unique(maintain_order=True)


def _no_events(table: RawTable, texts: Sequence[str], metadata: DataMetadata) -> InputError:
    path, _ = table.files[0]
    shown = ", ".join(texts[:_MOST_SHOWN]) + (", ..." if len(texts) > _MOST_SHOWN else "")
    problem = f"{path} has no event of the sequence{'s' if texts[1:] else ''} {shown}"
    if table.rows is not None:  # a part of it, which does not know of the others
        return InputError(problem, "choose sequences of the table, or add --allow-empty-history")
    present = sequences_in(table.frame.to_series(0), metadata).drop_nulls().unique().sort()
    known = f", from {present[0]} to {present[-1]}" if len(present) else ""
    return InputError(problem, f"choose one of its {counted(len(present), 'sequence')}{known}")
