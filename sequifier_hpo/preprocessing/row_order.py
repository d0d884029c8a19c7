"""Rows in the order of sequences and items, as numbers; on disk, if they exceed the memory.

A table on disk is dealt into buckets, each a range of places that fits into memory, which are
sorted one after the other. The result is the same.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.categories import Categories
from sequifier_hpo.preprocessing.event_table import ROW, EventTable
from sequifier_hpo.preprocessing.number_columns import NumberColumn, Numbers
from sequifier_hpo.preprocessing.staging import disk_faults
from sequifier_hpo.preprocessing.windows import Ints, Sequences, find_sequences, joined
from sequifier_hpo.words import counted

_BATCH_ROWS = 2**18
# Of the numbers of a bucket; up to four times as much is in memory while it is sorted.
_BUCKET_BYTES = 32 * 2**20
_MOST_BUCKETS = 250
# So many of each bucket's rows, on average, decide where the next one begins.
_SAMPLED_ROWS = 2000


@dataclass(frozen=True)
class Places:
    """What rows are ordered by, as whole numbers."""

    sequence_categories: Categories | None
    """Texts of the sequence column, which are numbered from 1; None = it holds numbers."""
    order: pl.Expr
    """What orders the items of a sequence, as Int64."""
    allows_ties: bool
    """Whether items of one place keep the order of their rows; else they are refused."""


@dataclass(frozen=True)
class OrderedRows:
    """The table in its final order."""

    sequences: Sequences
    orders: NumberColumn | None
    """What orders the items, of all rows, if it was asked for."""
    columns: dict[str, NumberColumn]
    """Feature -> codes of its categories, or its numbers, where NaN has no value."""
    num_ties: int
    """Rows that have the place of the row before."""


def order_rows(
    table: EventTable,
    categories: Mapping[str, Categories],
    places: Places,
    *,
    keeps_orders: bool,
    scratch: Path | None,
) -> OrderedRows:
    """Put the rows in order, with a number for every value.

    Args:
        table: It, checked.
        categories: Of every feature that is not real.
        places: What it is ordered by.
        keeps_orders: Whether `orders` is asked for.
        scratch: Folder for what does not fit into memory; None = all does.

    Raises:
        InputError: If two items of a sequence have one place, or no sequence has two items.
    """
    batches = _numbered(table, categories, places)
    buckets = batches if scratch is None else _dealt(table, batches, places, scratch)
    num_rows = table.num_rows
    columns = {
        name: NumberColumn(
            np.int64 if name in categories else np.float64, num_rows, _file(scratch, f"sorted{i}")
        )
        for i, name in enumerate(table.features)
    }
    orders = NumberColumn(np.int64, num_rows, _file(scratch, "orders")) if keeps_orders else None
    found: list[Sequences] = []
    ties: list[pl.DataFrame] = []
    num_ties = 0
    for bucket in buckets:
        by_place = _sorted(bucket[0], bucket[1], is_stable=places.allows_ties)
        ids, items = bucket[0][by_place], bucket[1][by_place]
        is_tie = np.flatnonzero((ids[1:] == ids[:-1]) & (items[1:] == items[:-1])) + 1
        num_ties += len(is_tie)
        if len(is_tie) and not places.allows_ties:
            ties.append(pl.DataFrame({"id": ids[is_tie], "item": items[is_tie]}).unique())
        found.append(find_sequences(ids))
        if orders is not None:
            orders.append(items)
        for (name, numbers), values in zip(columns.items(), bucket[2:], strict=True):
            ordered = values[by_place]
            numbers.append(ordered if name in categories else ordered.view(np.float64))
    if ties:
        raise _repetition(table, places, pl.concat(ties), num_ties)
    return OrderedRows(_checked(joined(found), table), orders, columns, num_ties)


def _file(scratch: Path | None, name: str) -> Path | None:
    return None if scratch is None else scratch / f"{name}.npy"


def _checked(sequences: Sequences, table: EventTable) -> Sequences:
    if (sequences.lengths > 1).any():
        return sequences
    raise InputError(
        f"none of the {len(sequences):,} sequences has two items: there is nothing to predict",
        f"check that `{table.sequence}` is the same for all items of a sequence",
    )


def _numbered(
    table: EventTable, categories: Mapping[str, Categories], places: Places
) -> Iterator[list[Numbers]]:
    """Sequence, order and features of some rows, each as numbers of 64 bits."""
    names = [table.sequence, table.order, *table.features]
    for batch in _with_order(table, places).batches(names, _BATCH_ROWS):
        yield [
            _sequence_numbers(batch[table.sequence], places),
            batch[table.order].to_numpy(),
            *(_feature_numbers(batch[name], categories.get(name)) for name in table.features),
        ]


def _with_order(table: EventTable, places: Places) -> EventTable:
    """The table with whole numbers for what orders its events."""
    return replace(table, rows=table.rows.with_columns(places.order.alias(table.order)))


def _sequence_numbers(values: pl.Series, places: Places) -> Ints:
    if places.sequence_categories is None:
        return values.cast(pl.Int64).to_numpy()
    return places.sequence_categories.codes(values.cast(pl.String)) + 1


def _feature_numbers(values: pl.Series, categories: Categories | None) -> Numbers:
    if categories is not None:
        return categories.codes(values)
    return values.cast(pl.Float64).fill_null(float("nan")).to_numpy().view(np.int64)


def _sorted(ids: Ints, items: Ints, *, is_stable: bool) -> Ints:
    """The rows in order; if asked for, those of one place as they came."""
    if not len(ids):
        return np.empty(0, dtype=np.int64)
    lowest_id, lowest_item = ids.min(), items.min()
    num_ids, num_items = (int(n.max()) - int(n.min()) + 1 for n in (ids, items))
    if num_ids * num_items >= 2**63:
        return np.lexsort((items, ids))
    # One number is sorted several times faster than two.
    places = (ids - lowest_id) * num_items + (items - lowest_item)
    return np.argsort(places, kind="stable" if is_stable else None)


def _dealt(
    table: EventTable, batches: Iterator[list[Numbers]], places: Places, scratch: Path
) -> Iterator[list[Numbers]]:
    """Every row in the file of its bucket; then the buckets, one after the other."""
    width = 2 + len(table.features)
    num_bytes = 8 * width * table.num_rows
    num_buckets = min(-(-num_bytes // _BUCKET_BYTES), _MOST_BUCKETS)
    ids, items = _bounds(table, places, num_buckets)
    files = [scratch / f"bucket{i}.rows" for i in range(len(ids) + 1)]
    for file in files:
        file.touch()
    for batch in batches:
        buckets = _bucket_of(batch[0], batch[1], ids, items)
        by_bucket = np.argsort(buckets, kind="stable")
        rows = np.empty((len(by_bucket), width), dtype=np.int64)
        for i, numbers in enumerate(batch):
            rows[:, i] = numbers
        rows = rows[by_bucket]
        ends = np.cumsum(np.bincount(buckets, minlength=len(files)))
        for file, begin, end in zip(files, [0, *ends[:-1]], ends, strict=True):
            if end > begin:
                with disk_faults(file), file.open("ab") as opened:
                    opened.write(rows[begin:end].data)
    for file in files:
        rows = np.fromfile(file, np.int64).reshape(-1, width)
        file.unlink()
        if len(rows):
            yield list(np.ascontiguousarray(rows.T))


def _bounds(table: EventTable, places: Places, num_buckets: int) -> tuple[Ints, Ints]:
    """The first place of each bucket but the first, found from some of the rows."""
    one_of = max(table.num_rows // (num_buckets * _SAMPLED_ROWS), 1)
    sample = (
        _with_order(table, places)
        .rows.filter(pl.col(ROW).hash() % one_of == 0)
        .select(table.sequence, table.order)
        .collect(engine="streaming")
    )
    ids = _sequence_numbers(sample[table.sequence], places)
    items = sample[table.order].to_numpy()
    by_place = _sorted(ids, items, is_stable=False)
    chosen = by_place[(np.arange(1, num_buckets) * len(by_place)) // num_buckets]
    return ids[chosen], items[chosen]


def _bucket_of(ids: Ints, items: Ints, first_ids: Ints, first_items: Ints) -> Numbers:
    """The bucket of each row: the number of buckets that begin at its place or before."""
    buckets = np.searchsorted(first_ids, ids, side="left")
    end = np.searchsorted(first_ids, ids, side="right")
    # Where buckets begin within its sequence, the item decides.
    rows = np.flatnonzero(buckets < end)
    while len(rows):
        is_beyond = items[rows] >= first_items[buckets[rows]]
        rows = rows[is_beyond]
        buckets[rows] += 1
        rows = rows[buckets[rows] < end[rows]]
    return buckets.astype(np.uint8)


def _repetition(table: EventTable, places: Places, ties: pl.DataFrame, num_ties: int) -> InputError:
    """The error for rows of one place, which names the first that repeats another."""
    names = [table.sequence, table.order]
    numbers = _with_order(table, places).rows.select(ROW, *names)
    wanted = ties.rename(dict(zip(("id", "item"), names, strict=True)))
    numbers = numbers.with_columns(pl.col(names[0]).cast(pl.Int64))
    rows = numbers.join(wanted.lazy(), on=names, how="semi").collect(engine="streaming").sort(ROW)
    later = rows.filter(~pl.struct(names).is_first_distinct())
    row, sequence_id, position = later.row(0)
    return InputError(
        f"two items have the same place: {counted(num_ties, 'row')} repeat a {names[0]} and "
        f"{names[1]}, the first is {table.place(row)} ({names[0]} {sequence_id}, {names[1]} "
        f"{position})",
        f"give every item of a sequence its own {names[1]}",
    )
