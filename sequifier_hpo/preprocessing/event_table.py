"""A table of events, in memory or on disk: what is asked of it is asked in the same words."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from sequifier_hpo.preprocessing.raw_files import RawTable, place_of

ROW = "row of the table"
"""Column that numbers the rows as they were read, from 0; messages find them by it."""


@dataclass(frozen=True)
class EventTable:
    """The columns that are read of a raw table, under the names that they have there."""

    rows: pl.LazyFrame
    """`ROW`, sequence, order and features; rows in the order of the files."""
    num_rows: int
    features: list[str]
    """Feature columns, in the order in which the metadata lists them."""
    sequence: str
    """Column that says whose event a row is."""
    order: str
    """Column that orders the events of a sequence."""
    files: tuple[tuple[Path, int], ...]
    """Every file with its number of rows."""
    is_csv: bool
    index: Mapping[str, list[str]] = field(default_factory=dict)
    """Columns that hold the row index of pandas and were left out -> their first values."""
    is_stored: bool = False
    """Whether the rows are on disk, because they are too many for memory."""

    @classmethod
    def of(cls, raw: RawTable) -> "EventTable":
        """A table of new events."""
        sequence, order = raw.frame.columns[:2]
        rows = raw.frame.lazy().with_row_index(ROW)
        if raw.rows is not None:
            rows = rows.with_columns(raw.rows.alias(ROW))
        return cls(
            *(rows, raw.frame.height, raw.features, sequence, order),
            *(raw.files, raw.is_csv),
        )

    @property
    def num_read(self) -> int:
        """Rows of the files; of these, some may be no part of the table."""
        return sum(number for _, number in self.files)

    @property
    def schema(self) -> pl.Schema:
        """Types of the columns."""
        return self.rows.collect_schema()

    def ask(self, *questions: pl.Expr) -> dict[str, Any]:
        """Answers about the whole table, each one value, found in one pass."""
        if not questions:
            return {}
        return self.rows.select(questions).collect(engine="streaming").row(0, named=True)

    def place(self, row: int) -> str:
        """Where a row stands, for messages: rows count from 1, without the header."""
        return place_of(self.files, row)

    def batches(self, columns: Iterable[str], num_rows: int) -> Iterator[pl.DataFrame]:
        """Some columns of all rows, in order; in one piece if the table is in memory."""
        chosen = self.rows.select(columns)
        if self.is_stored:
            yield from chosen.collect_batches(chunk_size=num_rows, maintain_order=True)
        else:
            yield chosen.collect()
