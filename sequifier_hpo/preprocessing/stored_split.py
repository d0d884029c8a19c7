"""What a stored split holds, found without loading it and without torch."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sequifier_hpo.errors import InputError
from sequifier_hpo.plain_files import what_else
from sequifier_hpo.preprocessing.shard_file import read_shard
from sequifier_hpo.stored_tables import (
    REWRITE,
    TABLE_FAULTS,
    WINDOW_COLUMNS,
    checked_listing,
    not_a_split,
    scan_windows,
    unreadable,
)

_FIRST_ROWS = 4096


@dataclass(frozen=True)
class StoredSplit:
    """Shape of one split on disk."""

    window_length: int
    """Longest `seq_length` a model can be trained with: the items of a window, less one."""
    columns: list[str]
    """Feature columns, in the order of the file."""
    num_windows: int


def describe_split(path: Path, read_format: str) -> StoredSplit:
    """Inspect a split without reading its values.

    Args:
        path: Long table, or folder of shards or of Parquet files.
        read_format: csv, parquet or pt.

    Raises:
        InputError: If the split is missing, holds no window, or is not what preprocess writes.
    """
    if not path.exists():
        raise InputError(f"the data {path} does not exist", REWRITE)
    if (kind := what_else(path)) not in {None, "a folder"}:
        raise InputError(f"the data {path} are {kind}, not a file", REWRITE)
    may_be = {"csv": {False}, "parquet": {False, True}, "pt": {True}}[read_format]
    if path.is_dir() not in may_be:
        kind = "a folder" if path.is_dir() else "a file"
        wanted = "a folder of shards" if read_format == "pt" else "one file"
        raise InputError(
            f"{path} is {kind}, but `read_format: {read_format}` needs {wanted}",
            "correct `read_format` or the path",
        )
    return _describe_shards(path) if read_format == "pt" else _describe_table(path, read_format)


def _describe_table(path: Path, read_format: str) -> StoredSplit:
    table, items = scan_windows(path, read_format)
    try:
        num_rows = table.select(pl.len()).collect().item()
        columns = _first_columns(path, table, num_rows)
    except TABLE_FAULTS as error:
        raise unreadable(path, read_format, error) from error
    if num_rows % len(columns):
        raise not_a_split(
            path, f"{num_rows} rows are not a whole number of windows with {len(columns)} columns"
        )
    num_windows = num_rows // len(columns)
    if path.is_dir() and num_windows != (listed := checked_listing(path).num_windows):
        raise not_a_split(path, f"it holds {num_windows} windows, not {listed} as its index says")
    return StoredSplit(len(items) - 1, columns, num_windows)


def _first_columns(path: Path, table: pl.LazyFrame, num_rows: int) -> list[str]:
    """The feature columns: those of the first window, which every window must repeat."""
    if not num_rows:
        raise InputError(
            f"{path} holds no windows", "give this split a larger share of `split_ratios`"
        )
    num_read = _FIRST_ROWS
    while True:
        head = (
            table.select(WINDOW_COLUMNS[0], WINDOW_COLUMNS[1], "inputCol").head(num_read).collect()
        )
        window = head.select(pl.struct(WINDOW_COLUMNS[0], WINDOW_COLUMNS[1]).rle_id()).to_series()
        num_columns = int((window == 0).sum())
        if num_columns < head.height or head.height == num_rows:
            break
        num_read *= 8
    names = head["inputCol"].cast(pl.String).to_list()
    columns = names[:num_columns]
    num_whole = len(names) // num_columns
    if len(set(columns)) < num_columns or names[: num_whole * num_columns] != columns * num_whole:
        raise not_a_split(path, "its windows do not all list the same columns in the same order")
    return columns


def _describe_shards(folder: Path) -> StoredSplit:
    listing = checked_listing(folder)
    first, samples = next((shard, samples) for shard, samples in listing.shards if samples)
    window_length, columns = _describe_shard(first, samples)
    return StoredSplit(window_length, columns, listing.num_windows)


def _describe_shard(path: Path, num_samples: int) -> tuple[int, list[str]]:
    """(L, feature columns) of one shard, whose tensors must all have `num_samples` rows."""
    try:
        inputs, targets, *numbers = read_shard(path)
        shapes = {tensor.shape for part in (inputs, targets) for tensor in part.values()}
        columns = [str(name) for name in inputs]
        is_sound = (
            len(shapes) == 1
            and set(inputs) == set(targets)
            and [tensor.shape for tensor in numbers] == [(num_samples,)] * 3
            and all(len(shape) == 2 and shape[0] == num_samples for shape in shapes)
        )
    except (OSError, zipfile.BadZipFile) as error:
        raise not_a_split(path, f"it is not a torch file: {error}") from error
    except Exception as error:
        raise not_a_split(path, f"its content is not that of a shard: {error}") from error
    if not is_sound:
        raise not_a_split(
            path, f"its tensors do not have one shape for all columns and {num_samples} rows"
        )
    return shapes.pop()[1], columns
