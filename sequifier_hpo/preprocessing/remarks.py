"""What is to be said of the values of a new table, gathered from its parts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.preprocessing.column_roles import missing_lines
from sequifier_hpo.preprocessing.encode import Unknown
from sequifier_hpo.preprocessing.new_values import EncodedValues

_MOST_VALUES = 1_000_000  # unknown ones, kept to name them


@dataclass
class Remarks:
    """Values that the model was not trained with, missing ones, and rows that were left out."""

    num_missing: dict[str, int] = field(default_factory=dict)
    """Column -> cells without a value, where that is allowed: among the events that are read, or,
    where the row is left out, among all."""
    num_rows: int = 0
    num_dropped: int = 0
    _unknown_rows: dict[str, int] = field(default_factory=dict)
    _unknown_values: dict[str, dict[str, None]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        encoded: Sequence[EncodedValues],
        lacking: Mapping[str, int],
        num_read: int,
        num_left: int,
    ) -> "Remarks":
        """Those of a part.

        Args:
            encoded: Its columns.
            lacking: Column -> rows that were left out for what they lack in it.
            num_read: Its rows.
            num_left: Those that were not left out.
        """
        missing = {each.column: each.num_missing for each in encoded if each.num_missing}
        remarks = cls({**lacking, **missing}, num_read, num_read - num_left)
        for each in encoded:
            if each.unknown is not None:
                remarks._add_unknown(each.unknown)
        return remarks

    def add(self, other: "Remarks") -> None:
        """Add those of another part of the table."""
        for column, number in other.num_missing.items():
            self.num_missing[column] = self.num_missing.get(column, 0) + number
        self.num_rows += other.num_rows
        self.num_dropped += other.num_dropped
        for unknown in other.unknown:
            self._add_unknown(unknown)

    def _add_unknown(self, found: Unknown) -> None:
        rows = self._unknown_rows
        rows[found.column] = rows.get(found.column, 0) + found.num_rows
        values = self._unknown_values.setdefault(found.column, {})
        if len(values) < _MOST_VALUES:
            values.update(dict.fromkeys(found.values))

    @property
    def unknown(self) -> tuple[Unknown, ...]:
        """One per column that has any."""
        return tuple(
            Unknown(column, number, tuple(self._unknown_values[column]))
            for column, number in self._unknown_rows.items()
        )

    def lines(self, metadata: DataMetadata) -> Iterator[str]:
        """A line for each thing that a person should know."""
        for unknown in self.unknown:
            yield f"{unknown}; the model was not trained with them"
        policies = {column: metadata.missing[column] for column in self.num_missing}
        yield from missing_lines(self.num_missing, policies, self.num_dropped, self.num_rows)
