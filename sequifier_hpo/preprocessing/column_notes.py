"""What preprocessing made of a table, for its user: each column in a line, and remarks."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.config.train_rules import column_name_problem
from sequifier_hpo.preprocessing.categories import Categories
from sequifier_hpo.preprocessing.encode import ColumnKind, EncodedColumn, Unknown
from sequifier_hpo.preprocessing.windows import Layout
from sequifier_hpo.words import counted

# A category that is nearly unique to each row carries no information.
_SUSPICIOUS_SHARE_OF_CLASSES = 0.5
_SUSPICIOUS_NUM_CLASSES = 1000
# More whole numbers than anybody has names for are probably a quantity.
_MANY_NUMBERS = 100
_DATE = re.compile(r"\d{4}-\d\d-\d\d([ T].*)?")


@dataclass(frozen=True)
class ColumnSummary:
    """What a feature column became."""

    name: str
    kind: str
    """categorical or real"""
    num_classes: int | None
    """Of a categorical column, without that of padding."""
    mean: float | None
    std: float | None
    """Of a real column, in its own units."""
    num_missing: int
    """Cells without a value, in the rows as they were read."""
    unknown: Unknown | None
    """Values that only later splits have, if ids are learned from the training split."""

    def __str__(self) -> str:
        if self.num_classes is not None:
            parts = [f"{self.num_classes:,} class{'' if self.num_classes == 1 else 'es'}"]
        else:
            parts = [f"mean {self.mean:.6g}, deviation {self.std:.6g}"]
        if self.num_missing:
            parts.append(f"{self.num_missing:,} missing")
        if self.unknown is not None:
            values, rows = len(self.unknown.values), self.unknown.num_rows
            parts.append(
                f"in later splits {counted(values, 'unknown value')} ({counted(rows, 'row')})"
            )
        return ", ".join(parts)


def summary_of(column: EncodedColumn, num_missing: int) -> ColumnSummary:
    """A column in short."""
    return ColumnSummary(
        name=column.name,
        kind=str(column.kind),
        num_classes=None if column.id_map is None else len(column.id_map),
        mean=None if column.statistics is None else column.statistics.mean,
        std=None if column.statistics is None else column.statistics.std,
        num_missing=num_missing,
        unknown=column.unknown,
    )


def split_notes(config: PreprocessConfig, splits: Sequence[Layout]) -> Iterator[str]:
    """Splits that lack sequences, or items."""
    for i, layout in enumerate(splits):
        stride = config.stride_by_split[i]
        if not len(layout):
            reason = "is long enough" if config.split_by == "position" else "goes on long enough"
            yield f"split {i} is empty: no sequence {reason} to reach it"
        elif layout.num_absent and config.split_by == "position":
            yield (
                f"split {i}: {layout.num_absent:,} of {len(layout.sequences):,} sequences are too "
                "short to have an item in it"
            )
        elif layout.num_absent:
            yield (
                f"split {i}: {layout.num_absent:,} of {len(layout.sequences):,} sequences have no "
                "item in its time"
            )
        if layout.num_padded:
            yield (
                f"split {i}: padded {counted(layout.num_padded, 'sequence')} shorter than the "
                f"window of {config.seq_length + 1} items in front"
            )
        if stride > config.seq_length:
            yield (
                f"split {i}: the stride {stride} is larger than seq_length {config.seq_length}, "
                "so some items may never be predicted"
            )


def column_notes(
    config: PreprocessConfig,
    columns: Sequence[EncodedColumn],
    categories: Mapping[str, Categories],
    num_rows: int,
) -> Iterator[str]:
    """Columns that are probably not what their owner thinks."""
    for column in columns:
        if problem := column_name_problem(column.name):
            yield f"{problem}: it can be stored, but not trained on"
        if column.statistics is not None and column.statistics.std == 0:
            yield _constant_note(column)
        if column.unknown is not None:
            yield (
                f"{column.unknown} after the training split: they get id 0, "
                "which no model learns to predict"
            )
        if column.kind is ColumnKind.CATEGORICAL and column.name not in config.column_types:
            yield from _class_notes(column, categories[column.name], num_rows)


def _constant_note(column: EncodedColumn) -> str:
    if column.largest < 1:  # not exactly 0: means are rounded
        return f"column `{column.name}` is constant and becomes all zeros"
    return (
        f"column `{column.name}` is constant in the training split and varies later, by up to "
        f"{column.largest:.0e} standard deviations: leave it out with `selected_columns`"
    )


def _class_notes(column: EncodedColumn, categories: Categories, num_rows: int) -> Iterator[str]:
    """Columns with more classes than a category has, or whose classes are times."""
    assert column.id_map is not None
    number = len(column.id_map)
    name, is_whole = column.name, categories.values.dtype.is_integer()
    suspicious = max(_SUSPICIOUS_NUM_CLASSES, int(_SUSPICIOUS_SHARE_OF_CLASSES * num_rows))
    if number > 1 and not is_whole and all(map(_DATE.fullmatch, column.id_map)):
        yield (
            f"column `{name}` holds times: {number:,} classes, and later ones are unknown to any "
            "model; name it in `order_column`, or leave it out with `selected_columns`"
        )
    elif is_whole and number > _MANY_NUMBERS:
        yield (
            f"column `{name}` has {number:,} categories in {num_rows:,} rows, each a whole number: if "
            f"it is a quantity, say `column_types: {{{name}: real}}`; if not, `{name}: categorical` "
            "there ends this note"
        )
    elif number > suspicious:
        yield (
            f"column `{name}` has {number:,} categories in {num_rows:,} rows; leave it out with "
            "`selected_columns`, or store it as a number, if it is not a category (a time, for "
            "example)"
        )
