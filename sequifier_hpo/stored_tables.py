"""The long table of a split: the one way in which all that read it find its windows.

It is a file, or, of Parquet, a folder with the `metadata.json` that lists its files. Columns are
found by their names; any others are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sequifier_hpo.compressed import require_not_compressed
from sequifier_hpo.errors import InputError
from sequifier_hpo.plain_files import read_json, require_file
from sequifier_hpo.words import first_line

WINDOW_COLUMNS = ("sequenceId", "subsequenceId", "startItemPosition", "inputCol")

TABLE_FAULTS = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)
"""What reading a file that is no table can raise."""

REWRITE = "run `sequifier-hpo preprocess` again, or correct the path"


INDEX = "metadata.json"
"""The file of a folder that lists its shards."""


@dataclass(frozen=True)
class Listing:
    """What the index of a folder of shards or tables says."""

    shards: list[tuple[Path, int]]
    """(file, number of windows), in the order of the split."""
    num_windows: int


def read_listing(folder: Path) -> Listing:
    """Read the index of a folder.

    Raises:
        OSError, ValueError, KeyError, TypeError, OverflowError: If it is missing, or no index.
    """
    content = read_json(folder / INDEX)
    shards = [(folder / str(file["path"]), int(file["samples"])) for file in content["batch_files"]]
    return Listing(shards, int(content["total_samples"]))


def checked_listing(folder: Path) -> Listing:
    """Read the index of a folder that holds windows.

    Raises:
        InputError: If there is no such index, it does not add up, or a file is missing.
    """
    index = folder / INDEX
    try:
        listing = read_listing(folder)
    except FileNotFoundError as error:
        raise InputError(f"the shard folder {folder} has no {INDEX}", REWRITE) from error
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise not_a_split(index, f"it is not an index of shards: {error}") from error
    total = listing.num_windows
    missing = [shard for shard, _ in listing.shards if not shard.is_file()]
    if missing:
        raise InputError(f"the shard {missing[0]} is listed in {index}, but missing", REWRITE)
    if sum(samples for _, samples in listing.shards) != total:
        raise not_a_split(index, f"the samples of its files do not sum to the total of {total}")
    if not total:
        raise InputError(
            f"{folder} holds no windows", "give this split a larger share of `split_ratios`"
        )
    return listing


def scan_windows(path: Path, read_format: str) -> tuple[pl.LazyFrame, list[str]]:
    """The long table, and the names of its items.

    Args:
        path: The file, or the folder of Parquet files.
        read_format: csv or parquet.

    Returns:
        The columns of `WINDOW_COLUMNS` and the items L, L-1, ... 1, 0, which are numbers; and the
        names of these, oldest first.

    Raises:
        InputError: If it is no such table. That its rows cannot be read shows when they are.
    """
    files = [file for file, _ in checked_listing(path).shards] if path.is_dir() else [path]
    try:
        for file in files:
            require_file(file)
        if read_format == "csv":
            require_not_compressed(path)
        items = _item_columns(files[0], _raw(files[0], read_format))
        tables = [_scan(file, read_format, items) for file in files]
        return (pl.concat(tables, how="vertical_relaxed") if tables[1:] else tables[0]), items
    except TABLE_FAULTS as error:
        raise unreadable(path, read_format, error) from error


def unreadable(path: Path, read_format: str, error: BaseException) -> InputError:
    """The error for a file that is no table of the format, or is cut off."""
    problem = f"{path} cannot be read as {read_format}: {first_line(error)}"
    return InputError(problem, f"correct `read_format`, or {REWRITE}")


def not_a_split(path: Path, problem: str) -> InputError:
    """The error for a file that is something else, or damaged."""
    return InputError(f"{path} is not a split as preprocess writes it: {problem}", REWRITE)


def _raw(path: Path, read_format: str) -> pl.LazyFrame:
    if read_format == "csv":
        return pl.scan_csv(path, glob=False)
    return pl.scan_parquet(path, glob=False, hive_partitioning=False)


def _item_columns(path: Path, table: pl.LazyFrame) -> list[str]:
    schema = table.collect_schema()
    missing = [name for name in WINDOW_COLUMNS if name not in schema]
    if missing:
        raise not_a_split(path, f"it has no column `{missing[0]}`")
    items = sorted((name for name in schema if _is_item(name)), key=int, reverse=True)
    if items != [str(i) for i in range(len(items) - 1, -1, -1)] or len(items) < 2:
        raise not_a_split(path, "it lacks columns of items: they are called L, L-1, ... 1, 0")
    no_number = [name for name in items if not schema[name].is_numeric()]
    # All columns of a CSV file without rows are texts to polars.
    if no_number and not table.head(1).collect().is_empty():
        name = no_number[0]
        raise not_a_split(path, f"its column `{name}` holds {schema[name]}, not numbers")
    return items


def _is_item(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _scan(path: Path, read_format: str, items: Iterable[str]) -> pl.LazyFrame:
    if read_format == "csv":
        # Types are given: a column that starts with whole numbers may go on with reals.
        numbers = dict.fromkeys(["startItemPosition", *items], pl.Float64())
        types = {**numbers, "inputCol": pl.String()}
        table = pl.scan_csv(path, schema_overrides=types, glob=False)
    else:
        table = _raw(path, read_format)
    return table.select(*WINDOW_COLUMNS, *items).with_columns(pl.col("inputCol").cast(pl.String))
