"""Whose events the rows of a new table are, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.event_table import EventTable
from sequifier_hpo.preprocessing.new_values import without_value
from sequifier_hpo.preprocessing.order_numbers import order_numbers
from sequifier_hpo.preprocessing.raw_files import RawTable, numbers_of_text
from sequifier_hpo.preprocessing.table_checks import id_faults
from sequifier_hpo.preprocessing.windows import Ints, find_sequences
from sequifier_hpo.words import counted

_ROW = "row of the table"
_SEQUENCE, _PLACE = "sequence", "place"


def sequences_in(values: pl.Series, metadata: DataMetadata) -> pl.Series:
    """Whose event each row is, a text or a whole number as in training; null = it does not say.

    Args:
        values: The sequence column, as it was read; or texts that name sequences.
        metadata: Of the data that the model was trained with.
    """
    if metadata.has_named_sequences:
        return values.cast(pl.String, strict=False)
    if values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.Int64, strict=False)


def named_by(texts: Sequence[str], metadata: DataMetadata) -> pl.Series:
    """The sequences of these names; null = none can have it."""
    return sequences_in(pl.Series(texts, dtype=pl.String), metadata)


def rows_of(table: RawTable, is_kept: pl.Series) -> RawTable:
    """The table with some of its rows, which know where they stand in the file."""
    if is_kept.all():
        return table
    rows = pl.Series(range(table.frame.height)) if table.rows is None else table.rows
    return replace(table, frame=table.frame.filter(is_kept), rows=rows.filter(is_kept))


def without_empty_sequences(table: RawTable) -> tuple[RawTable, list[str]]:
    """The table without rows that only name a sequence, and the sequences that these name."""
    sequence, *others = table.frame.columns
    names_only = pl.col(sequence).is_not_null() & pl.all_horizontal(pl.col(others).is_null())
    named = table.frame.select(names_only.alias("")).to_series()
    texts = table.frame.filter(named)[sequence].cast(pl.String).to_list() if named.any() else []
    return rows_of(table, ~named), texts


def without_dropped(table: RawTable, metadata: DataMetadata) -> tuple[RawTable, dict[str, int]]:
    """The table without the rows that preprocessing drops, and what these lack: column -> rows."""
    gaps = {
        column: without_value(table, column, metadata)
        for column, policy in metadata.missing.items()
        if policy == "drop" and column in table.frame.columns
    }
    is_dropped = pl.repeat(value=False, n=table.frame.height, eager=True)
    for of_column in gaps.values():
        is_dropped |= of_column
    found = {column: int(of_column.sum()) for column, of_column in gaps.items()}
    return rows_of(table, ~is_dropped), {
        column: number for column, number in found.items() if number
    }


@dataclass(frozen=True)
class RowOrder:
    """The rows of a table by sequence, ascending, and within a sequence as its events came."""

    rows: Ints
    """(rows,) of the table."""
    places: Ints
    """(rows,) what ordered them: the numbers of the order column, or of times."""
    sequences: pl.Series
    """(sequences,) texts or numbers, ascending."""
    first_rows: Ints
    """(sequences,) places in `rows`."""
    lengths: Ints

    @property
    def end_rows(self) -> Ints:
        """(sequences,) before which place in `rows` each ends."""
        return self.first_rows + self.lengths

    def newest(self, length: int) -> "RowOrder":
        """The newest rows of each sequence, at most so many."""
        ends = np.repeat(self.end_rows, self.lengths)
        is_new = ends - np.arange(len(self.rows)) <= length
        lengths = np.minimum(self.lengths, length)
        first_rows = np.cumsum(lengths) - lengths
        return RowOrder(self.rows[is_new], self.places[is_new], self.sequences, first_rows, lengths)


def order_rows(table: RawTable, metadata: DataMetadata) -> RowOrder:
    """Order the rows of a table as preprocessing does.

    Raises:
        InputError: If a row does not say whose event it is or when it was, or two have one place.
    """
    path, _ = table.files[0]
    sequence, order = table.frame.columns[:2]
    numbers = [order] if metadata.has_named_sequences else [sequence, order]
    texts = [table.frame[c] for c in numbers if table.frame.schema[c] == pl.String]
    table = replace(table, frame=table.frame.with_columns(map(numbers_of_text, texts)))
    has_times = metadata.order_column is not None
    refuse(
        path,
        id_faults(
            EventTable.of(table), allows_names=metadata.has_named_sequences, allows_times=has_times
        ),
    )
    place = order_numbers(order, table.frame.schema[order]) if has_times else pl.col(order)
    ids = table.frame.select(
        sequences_in(table.frame[sequence], metadata).alias(_SEQUENCE),
        place.cast(pl.Int64).alias(_PLACE),
    ).with_row_index(_ROW)
    ordered = ids.sort(_SEQUENCE, _PLACE, maintain_order=True)
    if not has_times:
        _require_distinct(table, ordered)
    found = find_sequences(ordered[_SEQUENCE].rle_id().cast(pl.Int64).to_numpy())
    return RowOrder(
        rows=ordered[_ROW].cast(pl.Int64).to_numpy(),
        places=ordered[_PLACE].to_numpy(),
        sequences=ordered[_SEQUENCE].gather(found.first_rows),
        first_rows=found.first_rows,
        lengths=found.lengths,
    )


def _require_distinct(table: RawTable, ordered: pl.DataFrame) -> None:
    """Make sure that no two events have one place.

    Raises:
        InputError: If two have.
    """
    is_repeated = ordered.select(
        pl.all_horizontal(pl.col(c) == pl.col(c).shift(1) for c in (_SEQUENCE, _PLACE))
    ).to_series()
    if not is_repeated.any():
        return
    later = ordered.filter(is_repeated).sort(_ROW)
    row, sequence, place = later.row(0)
    names = table.frame.columns[:2]
    raise InputError(
        f"two items have the same place: {counted(later.height, 'row')} repeat a {names[0]} and "
        f"{names[1]}, the first is {table.place(row)} ({names[0]} {sequence}, {names[1]} {place})",
        f"give every item of a sequence its own {names[1]}",
    )


def refuse(path: Path, faults: Sequence[object]) -> None:
    """Refuse a table for its faults.

    Raises:
        InputError: If there are any.
    """
    if faults:
        raise InputError(
            "\n".join([f"{path} cannot be read as new events:", *(f"  - {f}" for f in faults)]),
            "give every event a value in each column, and write numbers and times as in the table that "
            "was preprocessed, decimal numbers with a point",
        )
