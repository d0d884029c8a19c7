"""Requirements on a raw table before it can be windowed; every fault names a column and a row."""

from collections.abc import Iterator

import polars as pl

from sequifier_hpo.config.preprocess import ID_COLUMNS
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.raw_files import RawTable
from sequifier_hpo.words import counted

INTEGER_TYPES = frozenset(
    {pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64}
)
REAL_TYPES = frozenset({pl.Float32, pl.Float64})

# How programs write "no value" into a column of numbers. polars reads such a column as text, and
# text would silently become categories.
_MISSING = ["", "na", "n/a", "#n/a", "<na>", "null", "none", "-", "?"]


def check_table(table: RawTable) -> None:
    """Check types and values of all columns.

    Raises:
        InputError: With every fault of the table.
    """
    faults = [fault for column in ID_COLUMNS for fault in id_faults(table, column)]
    faults += [fault for column in table.features for fault in _feature_faults(table, column)]
    if faults:
        headline = f"the table in {table.files[0][0].parent} cannot be preprocessed:"
        if len(table.files) == 1:
            headline = f"{table.files[0][0]} cannot be preprocessed:"
        raise InputError(
            "\n".join([headline, *(f"  - {fault}" for fault in faults)]),
            "prepare the table first: fill empty cells or drop their rows, and number sequences "
            "and items with whole numbers (docs/tutorial.md shows how)",
        )


def sort_items(table: RawTable) -> pl.DataFrame:
    """The rows ordered by sequence and item, checked to have something to predict.

    Raises:
        InputError: If two items of a sequence have one position, or no sequence has two items.
    """
    ordered = order_items(table)
    ids = ordered["sequenceId"]
    if not (ids == ids.shift(1)).any():
        raise InputError(
            f"none of the {len(ids):,} sequences has two items: there is nothing to predict",
            "check that `sequenceId` is the same for all items of a sequence",
        )
    return ordered


def order_items(table: RawTable) -> pl.DataFrame:
    """The rows ordered by sequence and item, checked to be distinct.

    Raises:
        InputError: If two items of a sequence have one position.
    """
    ordered = table.frame.sort(ID_COLUMNS)
    is_repeated = ordered.select(
        pl.all_horizontal(pl.col(column) == pl.col(column).shift(1) for column in ID_COLUMNS)
    ).to_series()
    if is_repeated.any():
        raise InputError(_repetition(table), "give every item of a sequence its own itemPosition")
    return ordered


def _repetition(table: RawTable) -> str:
    is_later = ~pl.struct(ID_COLUMNS).is_first_distinct()
    later = table.frame.select(pl.row_index().filter(is_later)).to_series()
    row = later[0]
    sequence_id, position = table.frame.select(ID_COLUMNS).row(row)
    return (
        f"two items have the same place: {counted(len(later), 'row')} repeat a sequenceId and "
        f"itemPosition, the first is {table.place(row)} (sequenceId {sequence_id}, itemPosition {position})"
    )


def id_faults(table: RawTable, column: str) -> Iterator[str]:
    """What keeps an id column from being whole numbers."""
    values = table.frame[column]
    yield from faults_of(table, column, values.is_null(), "has no value")
    if values.dtype.is_integer():
        is_lost = values.cast(pl.Int64, strict=False).is_null() & values.is_not_null()
        yield from faults_of(table, column, is_lost, "is beyond 64 bits", show=True)
        return
    wanted = "is not a whole number"
    is_wrong = values.is_not_null()
    if values.dtype == pl.String:
        is_wrong &= values.cast(pl.Int64, strict=False).is_null()
    elif values.dtype in REAL_TYPES and (values.round() == values).all():
        wanted = f"is stored as {values.dtype}, not as a whole number"
    elif values.dtype in REAL_TYPES:
        is_wrong &= ~(values.round() == values)
    yield from faults_of(table, column, is_wrong, wanted, show=True)


def _feature_faults(table: RawTable, column: str) -> Iterator[str]:
    values = table.frame[column]
    dtype = values.dtype
    yield from faults_of(table, column, values.is_null(), "has no value")
    if dtype in REAL_TYPES:
        is_number = values.is_finite()
        yield from faults_of(table, column, ~is_number, "is not a finite number", show=True)
    elif dtype == pl.String and table.is_csv:
        yield from faults_of(
            table, column, _gaps_among_numbers(values), "is not a number", show=True
        )
    elif dtype.is_integer() and dtype not in INTEGER_TYPES:
        is_lost = values.cast(pl.Int64, strict=False).is_null() & values.is_not_null()
        yield from faults_of(table, column, is_lost, "is beyond 64 bits", show=True)
    elif dtype not in INTEGER_TYPES and dtype not in (pl.String, pl.Boolean, pl.Null):
        others = [other for other in table.features if other != column]
        yield (
            f"`{column}`: {dtype} is neither a category nor a number; leave the column out with "
            f"`selected_columns: [{', '.join(others)}]`, or store it as text, integer or float"
        )


def _gaps_among_numbers(values: pl.Series) -> pl.Series:
    """Marks of missing values in a text column that otherwise holds only numbers."""
    texts = values.str.strip_chars().str.to_lowercase()
    is_gap = texts.is_in(_MISSING)
    is_number = texts.cast(pl.Float64, strict=False).is_not_null()
    is_column_of_numbers = is_number.any() and (is_gap | is_number | values.is_null()).all()
    return is_gap & is_column_of_numbers


def faults_of(
    table: RawTable, column: str, is_wrong: pl.Series, what: str, *, show: bool = False
) -> Iterator[str]:
    """One line if a column is wrong in some rows: in how many, and in which first."""
    rows = is_wrong.fill_null(False).arg_true()  # noqa: FBT003 - the value to fill in
    if not len(rows):
        return
    value = f" ({table.frame[column][rows[0]]})" if show else ""
    yield f"`{column}` {what} in {counted(len(rows), 'row')}, first in {table.place(rows[0])}{value}"
