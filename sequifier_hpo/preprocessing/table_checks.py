"""Requirements on a raw table before it can be windowed; every fault names a column and a row."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from sequifier_hpo.config.preprocess import ID_COLUMNS, PreprocessConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.categories import INTEGER_TYPES, Categories
from sequifier_hpo.preprocessing.event_table import ROW, EventTable
from sequifier_hpo.preprocessing.order_numbers import NO_TIME, order_numbers
from sequifier_hpo.preprocessing.raw_files import RawTable
from sequifier_hpo.words import counted

REAL_TYPES = frozenset({pl.Float32, pl.Float64})

_NO_VALUE = "has no value"
_NO_NUMBER = "is not a number"
_TOO_LONG = "is beyond 64 bits"
# How programs write "no value" into a column of numbers. polars reads such a column as text, and
# text would silently become categories.
_GAPS = ["", "na", "n/a", "#n/a", "<na>", "null", "none", "-", "?"]


@dataclass(frozen=True)
class Fault:
    """What is wrong with a column, in how many rows, and in which first."""

    column: str
    what: str
    num_rows: int
    place: str
    value: str

    def __str__(self) -> str:
        rows = counted(self.num_rows, "row")
        return f"`{self.column}` {self.what} in {rows}, first in {self.place}{self.value}"


Question = tuple[str, str, pl.Expr, bool]
"""Column, what is wrong with it, in which rows, and whether to show the value."""


def find_faults(table: EventTable, questions: Sequence[Question]) -> list[Fault | str]:
    """The faults that a table has of those that are asked for; if it has none, in one pass."""
    if not questions:
        return []
    wrong = {str(i): is_wrong for i, (_, _, is_wrong, _) in enumerate(questions)}
    counts = table.ask(*(is_wrong.sum().alias(i) for i, is_wrong in wrong.items()))
    found = [i for i in wrong if counts[i]]
    rows = table.ask(*(pl.col(ROW).filter(wrong[i]).min().alias(i) for i in found))
    faults: list[Fault | str] = []
    for i in found:
        column, what, _, shows = questions[int(i)]
        value = f" ({_value(table, column, rows[i])})" if shows else ""
        faults.append(Fault(column, what, counts[i], table.place(rows[i]), value))
    return faults


def _value(table: EventTable, column: str, row: int) -> object:
    found = table.rows.filter(pl.col(ROW) == row).select(column).collect(engine="streaming")
    return found.to_series()[0]


def check_events(
    config: PreprocessConfig,
    table: EventTable,
    categories: Mapping[str, Categories],
    found: Sequence[Fault | str] = (),
) -> None:
    """Check types and values of all columns.

    Args:
        config: What the columns are, and which values may be missing.
        table: The table.
        categories: Of every feature that can have some.
        found: Faults that are known already.

    Raises:
        InputError: With every fault of the table.
    """
    faults = list(found)
    faults += id_faults(
        table,
        allows_names=config.sequence_column is not None,
        allows_times=config.order_column is not None,
    )
    questions: list[Question] = []
    for column in table.features:
        asked = _feature_questions(config, table, column, categories)
        questions += [question for question in asked if isinstance(question, tuple)]
        faults += [fault for fault in asked if isinstance(fault, str)]
    faults += find_faults(table, questions)
    if faults:
        headline = f"the table in {table.files[0][0].parent} cannot be preprocessed:"
        if len(table.files) == 1:
            headline = f"{table.files[0][0]} cannot be preprocessed:"
        raise InputError(
            "\n".join([headline, *(f"  - {fault}" for fault in faults)]),
            _fix(config, faults, table.schema),
        )


def _fix(config: PreprocessConfig, faults: Sequence[Fault | str], schema: pl.Schema) -> str:
    whats = {fault.column: fault.what for fault in faults if isinstance(fault, Fault)}
    gaps = {c: what for c, what in whats.items() if what in (_NO_VALUE, _NO_NUMBER)}
    named = (*ID_COLUMNS, config.sequence_column, config.order_column)
    fixes = [_fix_of_gaps(gaps, named, schema)] if gaps else []
    ids = whats.keys() & set(ID_COLUMNS)
    if ids and not (config.sequence_column and config.order_column):
        fixes.append(
            "number sequences and items with whole numbers, or name text and times as they are in "
            "`sequence_column` and `order_column`"
        )
    return "; ".join(fixes) or (
        "correct these values or the preprocessing file, or leave columns out with `selected_columns`"
    )


def _fix_of_gaps(gaps: Mapping[str, str], ids: Container[str | None], schema: pl.Schema) -> str:
    """What may become of empty cells, in the words of the preprocessing file."""
    become, quantities = [], []
    for column, what in gaps.items():
        always = column in ids or what == _NO_NUMBER
        is_real = schema[column] in REAL_TYPES
        become.append(f"{column}: {'drop' if always else 'mean' if is_real else 'category'}")
        if schema[column] in INTEGER_TYPES and not always:
            quantities.append(f"{column}: real")
    fix = (
        "say in `missing` what becomes of empty cells, or fill them: "
        f"`missing: {{{', '.join(become)}}}`; `drop` leaves their rows out"
    )
    if quantities:
        fix += f"; quantities become their `mean`, with `column_types: {{{', '.join(quantities)}}}`"
    return fix


def id_faults(table: EventTable, *, allows_names: bool, allows_times: bool) -> list[Fault | str]:
    """What keeps the first two columns from saying whose events the rows are, and in which order.

    Args:
        table: The table.
        allows_names: Whether texts may say whose event a row is, beside whole numbers.
        allows_times: Whether times and decimal numbers may order them, and events have one place.
    """
    sequence, order = table.sequence, table.order
    return [
        *(_sequence_faults(table) if allows_names else _number_faults(table, sequence)),
        *(_order_faults(table) if allows_times else _number_faults(table, order)),
    ]


def _number_faults(table: EventTable, column: str) -> list[Fault | str]:
    """What keeps a column from being whole numbers."""
    values, dtype = pl.col(column), table.schema[column]
    questions: list[Question] = [(column, _NO_VALUE, values.is_null(), False)]
    if dtype.is_integer():
        questions.append((column, _TOO_LONG, _is_beyond_64_bits(column), True))
        return find_faults(table, questions)
    wanted, is_wrong = "is not a whole number", values.is_not_null()
    if dtype == pl.String:
        is_wrong &= values.cast(pl.Int64, strict=False).is_null()
    elif dtype in REAL_TYPES:
        if table.ask((values.round() == values).all().alias("all"))["all"]:
            wanted = f"is stored as {dtype}, not as a whole number"
        else:
            is_wrong &= ~(values.round() == values)
    return find_faults(table, [*questions, (column, wanted, is_wrong, True)])


def _sequence_faults(table: EventTable) -> list[Fault | str]:
    """What keeps a column from saying whose events the rows are."""
    column, dtype = table.sequence, table.schema[table.sequence]
    if dtype in (pl.String, pl.Boolean, pl.Date):
        return find_faults(table, [(column, _NO_VALUE, pl.col(column).is_null(), False)])
    return _number_faults(table, column)


def _order_faults(table: EventTable) -> list[Fault | str]:
    """What keeps a column from ordering events by time or number."""
    column, dtype = table.order, table.schema[table.order]
    values = pl.col(column)
    questions: list[Question] = [(column, _NO_VALUE, values.is_null(), False)]
    if dtype in REAL_TYPES:
        questions.append((column, "is not a finite number", ~values.is_finite(), True))
    elif dtype == pl.String:
        is_wrong = values.is_not_null() & order_numbers(column, dtype).is_null()
        questions.append((column, NO_TIME, is_wrong, True))
    elif dtype.is_integer():
        questions.append((column, _TOO_LONG, _is_beyond_64_bits(column), True))
    elif not dtype.is_temporal() or dtype == pl.Duration:
        return [f"`{column}`: {dtype} is neither a time nor a number, and cannot order events"]
    return find_faults(table, questions)


def _is_beyond_64_bits(column: str) -> pl.Expr:
    values = pl.col(column)
    return values.cast(pl.Int64, strict=False).is_null() & values.is_not_null()


def _feature_questions(
    config: PreprocessConfig, table: EventTable, column: str, categories: Mapping[str, Categories]
) -> list[Question | str]:
    dtype, values = table.schema[column], pl.col(column)
    questions: list[Question | str] = []
    if config.missing_of(column) is None:
        questions.append((column, _NO_VALUE, values.is_null(), False))
    if dtype in REAL_TYPES:
        questions.append((column, "is not a finite number", ~values.is_finite(), True))
    elif dtype == pl.String and table.is_csv:
        if config.missing_of(column) is None and _has_gaps_among_numbers(categories[column]):
            questions.append((column, _NO_NUMBER, is_gap(column), True))
    elif dtype.is_integer() and dtype not in INTEGER_TYPES:
        questions.append((column, _TOO_LONG, _is_beyond_64_bits(column), True))
    elif dtype not in INTEGER_TYPES and dtype not in (pl.String, pl.Boolean, pl.Null):
        others = [other for other in table.features if other != column]
        questions.append(
            f"`{column}`: {dtype} is neither a category nor a number; leave the column out with "
            f"`selected_columns: [{', '.join(others)}]`, or store it as text, integer or float"
        )
    return questions


def is_gap(column: str) -> pl.Expr:
    """Rows in which a text column has a mark of a missing value."""
    return pl.col(column).str.strip_chars().str.to_lowercase().is_in(_GAPS)


def _has_gaps_among_numbers(categories: Categories) -> bool:
    """Whether all texts of a column are numbers, or marks of missing ones."""
    texts = categories.values.drop_nulls().str.strip_chars().str.to_lowercase()
    is_number = texts.cast(pl.Float64, strict=False).is_not_null()
    return bool(is_number.any() and (texts.is_in(_GAPS) | is_number).all())


def faults_of(
    table: RawTable, column: str, is_wrong: pl.Series, what: str, *, show: bool = False
) -> Iterator[str]:
    """One line if a column is wrong in some rows: in how many, and in which first."""
    rows = is_wrong.fill_null(False).arg_true()  # noqa: FBT003 - the value to fill in
    if not len(rows):
        return
    value = f" ({table.frame[column][rows[0]]})" if show else ""
    yield f"`{column}` {what} in {counted(len(rows), 'row')}, first in {table.place(rows[0])}{value}"
