"""What the preprocessing file says of columns: their kind, and what becomes of missing values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl

from sequifier_hpo.config.preprocess import MissingValues, PreprocessConfig
from sequifier_hpo.config.schema import did_you_mean
from sequifier_hpo.preprocessing.categories import INTEGER_TYPES, MISSING
from sequifier_hpo.preprocessing.event_table import EventTable
from sequifier_hpo.preprocessing.table_checks import REAL_TYPES, Fault, find_faults, is_gap
from sequifier_hpo.words import counted


@dataclass(frozen=True)
class Roles:
    """A table with its columns as they were meant."""

    table: EventTable
    """Without the rows that were dropped."""
    num_missing: dict[str, int]
    """Column -> cells without a value that are allowed; only where there are any."""
    faults: tuple[Fault | str, ...]
    """What contradicts the preprocessing file."""

    def policy_of(self, config: PreprocessConfig, column: str) -> MissingValues | None:
        """What becomes of missing values in a column of later data; None = they are errors."""
        policy = config.missing_of(column)
        is_real = self.table.schema[column] in REAL_TYPES
        if policy == "drop" or (column in self.table.features and is_real == (policy == "mean")):
            return policy
        return None


def assign_roles(config: PreprocessConfig, table: EventTable) -> Roles:
    """Give every column the kind that the file says, and missing values what it says of them."""
    columns = [table.sequence, table.order, *table.features]
    listing = "it has: " + ", ".join(columns)
    unknown = [
        f"{field}: there is no column `{column}` ({did_you_mean(column, columns) or listing})"
        for field, named in (("column_types", config.column_types), ("missing", config.missing))
        for column in (named if isinstance(named, dict) else ())
        if column not in columns
    ]
    if config.missing is None and not config.column_types:
        return Roles(table, {}, tuple(unknown))
    table, faults = _with_kinds(config, _without_marks(config, table))
    nulls = table.ask(*(pl.col(name).null_count() for name in columns))
    missing = {c: nulls[c] for c in columns if nulls[c] and config.missing_of(c) is not None}
    faults += [fault for column in missing for fault in _missing_faults(config, table, column)]
    dropped = [c for c in columns if config.missing_of(c) == "drop" and nulls[c]]
    if dropped:
        is_whole = pl.all_horizontal(pl.col(dropped).is_not_null())
        num_left = int(table.ask(is_whole.sum().alias("left"))["left"])
        table = replace(table, rows=table.rows.filter(is_whole), num_rows=num_left)
        if not num_left:
            faults.append("no row is left without missing values: drop fewer, or leave columns out")
    texts = [c for c in missing if config.missing_of(c) == "category" and _is_text(table, c)]
    if texts:
        table = replace(
            table, rows=table.rows.with_columns(pl.col(texts).cast(pl.String).fill_null(MISSING))
        )
    return Roles(table, missing, (*unknown, *faults))


def missing_notes(config: PreprocessConfig, roles: Roles) -> Iterator[str]:
    """What became of missing values, with counts."""
    policies = {column: config.missing_of(column) for column in roles.num_missing}
    num_read = roles.table.num_read
    num_dropped = num_read - roles.table.num_rows
    yield from missing_lines(roles.num_missing, policies, num_dropped, num_read)


def missing_lines(
    num_missing: Mapping[str, int],
    policies: Mapping[str, MissingValues | None],
    num_dropped: int,
    num_rows: int,
) -> Iterator[str]:
    """What became of missing values, with counts.

    Args:
        num_missing: Column -> its missing values.
        policies: Of the same columns.
        num_dropped: Rows that were dropped.
        num_rows: Rows that there were.
    """
    words = {
        "category": ("is a class of its own", "are a class of their own"),
        "mean": ("became the mean", "became the mean"),
        "drop": ("was dropped with its row", "were dropped with their rows"),
    }
    for column, number in num_missing.items():
        became = words[str(policies[column])][number > 1]
        yield f"column `{column}`: {counted(number, 'missing value')} {became}"
    if num_dropped:
        yield f"dropped {counted(num_dropped, 'row')} of {num_rows:,}"


def _with_kinds(
    config: PreprocessConfig, table: EventTable
) -> tuple[EventTable, list[Fault | str]]:
    """The columns cast to what `column_types` says."""
    schema, casts, faults = table.schema, [], list[Fault | str]()
    for column, kind in config.column_types.items():
        dtype = schema.get(column)
        values = pl.col(column)
        if kind == "real" and dtype == pl.String:
            number = values.str.strip_chars().cast(pl.Float64, strict=False)
            gap = pl.lit(value=False)
            if config.missing_of(column) is not None:
                gap, number = is_gap(column), number.fill_nan(None)
            is_wrong = values.is_not_null() & number.is_null() & ~gap
            faults += find_faults(table, [(column, "is not a number", is_wrong, True)])
            casts.append(number)
        elif kind == "real" and dtype is not None and dtype.is_integer():
            casts.append(values.cast(pl.Float64))
        elif kind == "real" and dtype not in REAL_TYPES and dtype is not None:
            faults.append(f"`{column}`: {dtype} cannot be `real`, which takes numbers")
        elif kind == "categorical" and dtype in REAL_TYPES:
            finite = pl.when(values.is_finite()).then(values)
            is_whole = table.ask((finite == finite.round()).all().alias("all"))["all"]
            if is_whole:
                casts.append(finite.cast(pl.Int64))
            else:
                casts.append(finite.cast(pl.String))
    return replace(table, rows=table.rows.with_columns(casts)), faults


def _without_marks(config: PreprocessConfig, table: EventTable) -> EventTable:
    """Marks of missing values made null, where those are allowed: `NA` among numbers, NaN."""
    columns = [c for c in table.features if config.missing_of(c) is not None]
    schema = table.schema
    reals = [pl.col(c).fill_nan(None) for c in columns if schema[c] in REAL_TYPES]
    texts = [c for c in columns if schema[c] == pl.String and table.is_csv]
    if not texts:
        return replace(table, rows=table.rows.with_columns(reals))
    numbers = {
        (c, dtype): pl.col(c).str.strip_chars().cast(dtype, strict=False)
        for c in texts
        for dtype in (pl.Int64, pl.Float64)
    }
    found = table.ask(
        *(n.is_not_null().any().alias(f"{c}\0{dtype}\0any") for (c, dtype), n in numbers.items()),
        *(
            (n.is_not_null() | is_gap(c) | pl.col(c).is_null()).all().alias(f"{c}\0{dtype}\0all")
            for (c, dtype), n in numbers.items()
        ),
    )
    kinds: dict[str, pl.Expr] = {}
    for (c, dtype), number in numbers.items():
        if found[f"{c}\0{dtype}\0any"] and found[f"{c}\0{dtype}\0all"]:
            kinds.setdefault(c, number.fill_nan(None) if dtype == pl.Float64 else number)
    marks = [pl.when(~is_gap(c)).then(pl.col(c)).alias(c) for c in texts if c not in kinds]
    return replace(table, rows=table.rows.with_columns(*reals, *kinds.values(), *marks))


def _missing_faults(config: PreprocessConfig, table: EventTable, column: str) -> Iterator[str]:
    policy = config.missing_of(column)
    is_real = table.schema[column] in REAL_TYPES
    is_id = column in (table.sequence, table.order)
    if policy == "drop":
        return
    if is_id or is_real == (policy == "category"):
        what = "orders events or says whose they are" if is_id else ""
        what = what or ("is real, with a mean" if is_real else "is categorical, without a mean")
        allowed = "drop" if is_id else "mean or drop" if is_real else "category or drop"
        quantity = f"; if it is a quantity, say `column_types: {{{column}: real}}`"
        yield (
            f"`{column}` {what}: its missing values cannot become `{policy}`, but {allowed}; "
            f"say so of this column alone: `missing: {{{column}: {allowed.split()[0]}, ...}}`"
            + (quantity if table.schema[column] in INTEGER_TYPES and not is_id else "")
        )


def _is_text(table: EventTable, column: str) -> bool:
    return table.schema[column] in (pl.String, pl.Null)
