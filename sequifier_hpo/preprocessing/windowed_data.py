"""From a checked table to everything that is written: numbers by row, and where windows lie."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.categories import Categories, find_categories
from sequifier_hpo.preprocessing.encode import (
    EncodedColumn,
    IsLearned,
    encode_categories,
    encode_numbers,
)
from sequifier_hpo.preprocessing.event_table import EventTable
from sequifier_hpo.preprocessing.id_maps import IdMap
from sequifier_hpo.preprocessing.order_numbers import moment_text, order_numbers
from sequifier_hpo.preprocessing.row_order import OrderedRows, Places, order_rows
from sequifier_hpo.preprocessing.time_cuts import moments_at
from sequifier_hpo.preprocessing.windows import (
    Ints,
    Layout,
    Sequences,
    bounds_in_time,
    lay_windows,
    rows_of_first_split,
    split_bounds,
)
from sequifier_hpo.words import counted


@dataclass(frozen=True)
class WindowedData:
    """Everything to be written, still as columns and positions in them."""

    sequences: Sequences
    sequence_names: pl.Series | None
    """Texts of the sequences 1, 2, ...; None = the raw table has numbers for them."""
    columns: list[EncodedColumn]
    splits: list[Layout]
    notes: tuple[str, ...]
    """Remarks on order and time."""


def window_data(
    config: PreprocessConfig,
    table: EventTable,
    categories: Mapping[str, Categories],
    maps: Mapping[str, IdMap],
    scratch: Path | None,
    on_progress: Callable[[str], None],
) -> WindowedData:
    """Order and encode a table, and lay windows over it.

    Args:
        config: How to cut it.
        table: It, checked.
        categories: Of every feature that is not real.
        maps: Ids that the user gives, by column.
        scratch: Folder for what does not fit into memory; None = all does.
        on_progress: Takes a line of text whenever a step begins.

    Raises:
        InputError: If the data cannot be windowed as asked.
    """
    rows, features = counted(table.num_rows, "row"), len(table.features)
    on_progress(f"encoding {rows}, {counted(features, 'feature column')}")
    names = _sequence_names(config, table)
    ordered = order_rows(
        table,
        categories,
        Places(names, _order(config, table), allows_ties=config.order_column is not None),
        keeps_orders=config.split_by == "time",
        scratch=scratch,
    )
    bounds, notes = _bounds(config, table, ordered)
    splits = _lay_all_windows(config, ordered.sequences, bounds)
    is_learned = None
    if config.statistics_from == "training":
        is_learned = partial(rows_of_first_split, ordered.sequences, bounds)
    columns = list(_encoded(ordered, categories, maps, is_learned, scratch))
    return WindowedData(
        sequences=ordered.sequences,
        sequence_names=None if names is None else names.values,
        columns=columns,
        splits=splits,
        notes=(*notes, *_tie_notes(table, ordered)),
    )


def _tie_notes(table: EventTable, ordered: OrderedRows) -> Iterator[str]:
    if ordered.num_ties:
        yield (
            f"{counted(ordered.num_ties, 'event')} of the same sequence and `{table.order}` as the "
            "one before: they keep the order of their rows"
        )


def _order(config: PreprocessConfig, table: EventTable) -> pl.Expr:
    if config.order_column is None:
        return pl.col(table.order).cast(pl.Int64)
    return order_numbers(table.order, table.schema[table.order])


def _sequence_names(config: PreprocessConfig, table: EventTable) -> Categories | None:
    """The texts of a sequence column, which get numbers; None = it holds numbers."""
    if config.sequence_column is None or table.schema[table.sequence].is_integer():
        return None
    texts = table.rows.with_columns(pl.col(table.sequence).cast(pl.String))
    return find_categories(replace(table, rows=texts), table.sequence)


def _bounds(
    config: PreprocessConfig, table: EventTable, ordered: OrderedRows
) -> tuple[Ints, list[str]]:
    """Where the splits of each sequence begin and end; and when, if they do so by time."""
    if ordered.orders is None:
        return split_bounds(ordered.sequences.lengths, config.exact_ratios()), []
    orders = ordered.orders

    def parts() -> Iterator[Ints]:
        return (part for _, part in orders.parts())

    cuts = moments_at(parts, table.num_rows, config.exact_ratios())
    bounds = bounds_in_time(parts(), ordered.sequences, cuts)
    sizes = (bounds[:, 1:] - bounds[:, :-1]).sum(axis=0)
    dtype = table.schema[table.order]
    notes = [
        f"split {i} begins at {moment_text(cut, dtype)}, and holds {sizes[i] / table.num_rows:.1%} of the "
        "events"
        for i, cut in enumerate(cuts, start=1)
    ]
    return bounds, notes


def _lay_all_windows(config: PreprocessConfig, sequences: Sequences, bounds: Ints) -> list[Layout]:
    splits = [
        lay_windows(
            sequences,
            bounds,
            split,
            seq_length=config.seq_length,
            stride=stride,
            mode=config.subsequence_start_mode,
        )
        for split, stride in enumerate(config.stride_by_split)
    ]
    if not len(splits[0]):
        what = (
            f"{config.split_ratios[0]:g} of the longest sequence ({sequences.lengths.max()} items)"
        )
        if config.split_by == "time":
            what = f"{config.split_ratios[0]:g} of all events, up to a whole moment,"
        raise InputError(
            f"the training split is empty: {what} is less than one item",
            "raise the first of `split_ratios`, or use longer sequences",
        )
    return splits


def _encoded(
    ordered: OrderedRows,
    categories: Mapping[str, Categories],
    maps: Mapping[str, IdMap],
    is_learned: IsLearned,
    scratch: Path | None,
) -> Iterator[EncodedColumn]:
    for i, (name, numbers) in enumerate(ordered.columns.items()):
        path = None if scratch is None else scratch / f"column{i}.npy"
        if name in categories:
            yield encode_categories(
                name, numbers, categories[name], is_learned, given=maps.get(name), path=path
            )
        else:
            yield encode_numbers(name, numbers, is_learned, path=path)
        if numbers.path is not None:
            numbers.path.unlink()
