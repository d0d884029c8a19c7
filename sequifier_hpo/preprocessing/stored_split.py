"""What a stored split holds, found without loading it and without torch."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sequifier_hpo.compressed import require_not_compressed
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.long_table import WINDOW_COLUMNS
from sequifier_hpo.preprocessing.raw_files import POLARS_FAULTS
from sequifier_hpo.preprocessing.shard_file import INDEX, read_listing, read_shard
from sequifier_hpo.words import first_line

_REWRITE = "run `sequifier-hpo preprocess` again, or correct the path"
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
        path: Long table, or folder of shards.
        read_format: csv, parquet or pt.

    Raises:
        InputError: If the split is missing, holds no window, or is not what preprocess writes.
    """
    if not path.exists():
        raise InputError(f"the data {path} does not exist", _REWRITE)
    if path.is_dir() != (read_format == "pt"):
        kind = "a folder" if path.is_dir() else "a file"
        wanted = "a folder of shards" if read_format == "pt" else "one file"
        raise InputError(
            f"{path} is {kind}, but `read_format: {read_format}` needs {wanted}",
            "correct `read_format` or the path",
        )
    return _describe_shards(path) if read_format == "pt" else _describe_table(path, read_format)


def scan_table(
    path: Path, read_format: str, types: Mapping[str, pl.DataType] | None = None
) -> pl.LazyFrame:
    """A long table that is read when it is collected.

    Args:
        path: The file.
        read_format: csv or parquet.
        types: Of columns, if it is a CSV file, which does not say them itself.
    """
    if read_format == "csv":
        return pl.scan_csv(path, schema_overrides=types, glob=False)
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _describe_table(path: Path, read_format: str) -> StoredSplit:
    try:
        if read_format == "csv":
            require_not_compressed(path)
        table = scan_table(path, read_format)
        schema = table.collect_schema()
        items = _item_columns(path, schema)
        num_rows = table.select(pl.len()).collect().item()
        columns = _first_columns(path, table, num_rows)
    except (*POLARS_FAULTS, OSError) as error:
        raise InputError(
            f"{path} cannot be read as {read_format}: {first_line(error)}",
            f"correct `read_format`, or {_REWRITE}",
        ) from error
    if num_rows % len(columns):
        raise not_a_split(
            path, f"{num_rows} rows are not a whole number of windows with {len(columns)} columns"
        )
    no_number = [name for name in items if not schema[name].is_numeric()]
    if no_number:
        name = no_number[0]
        raise not_a_split(path, f"its column `{name}` holds {schema[name]}, not numbers")
    return StoredSplit(len(items) - 1, columns, num_rows // len(columns))


def _item_columns(path: Path, schema: pl.Schema) -> list[str]:
    """The columns L, L-1, ... 1, 0."""
    missing = [name for name in WINDOW_COLUMNS if name not in schema]
    if missing:
        raise not_a_split(path, f"it has no column `{missing[0]}`")
    items = [name for name in schema if name not in WINDOW_COLUMNS]
    if items != [str(i) for i in range(len(items) - 1, -1, -1)] or len(items) < 2:
        raise not_a_split(
            path, "besides the window's ids, its columns must be L, L-1, ... 1, 0 in this order"
        )
    return items


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
    index = folder / INDEX
    try:
        listing = read_listing(folder)
    except FileNotFoundError as error:
        raise InputError(f"the shard folder {folder} has no {INDEX}", _REWRITE) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise not_a_split(index, f"it is not an index of shards: {error}") from error
    shards, total = listing.shards, listing.num_windows
    missing = [shard for shard, _ in shards if not shard.is_file()]
    if missing:
        raise InputError(f"the shard {missing[0]} is listed in {index}, but missing", _REWRITE)
    if sum(samples for _, samples in shards) != total:
        raise not_a_split(index, f"the samples of its files do not sum to the total of {total}")
    if not total:
        raise InputError(
            f"{folder} holds no windows", "give this split a larger share of `split_ratios`"
        )
    first, samples = next((shard, samples) for shard, samples in shards if samples)
    window_length, columns = _describe_shard(first, samples)
    return StoredSplit(window_length, columns, total)


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


def not_a_split(path: Path, problem: str) -> InputError:
    """The error for a file that is something else, or damaged."""
    return InputError(f"{path} is not a split as preprocess writes it: {problem}", _REWRITE)
