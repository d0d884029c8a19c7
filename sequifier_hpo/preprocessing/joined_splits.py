"""Two stored splits as one, for a model that is to learn from both."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.shard_job import shard_index
from sequifier_hpo.preprocessing.staging import StagedOutputs, disk_faults
from sequifier_hpo.stored_tables import (
    INDEX,
    TABLE_FAULTS,
    checked_listing,
    scan_windows,
    unreadable,
)


def joined_path(first: Path, second: Path) -> Path:
    """Where the windows of both are: `data/shop-split0-and-split1.parquet`."""
    return first.with_name(f"{first.stem}-and-{second.stem.rpartition('-')[2]}{first.suffix}")


def join_splits(splits: Sequence[Path], form: str, target: Path) -> None:
    """Write the windows of all splits, one split after the other.

    Args:
        splits: Long tables, or folders of shards or of Parquet files.
        form: csv, parquet or pt.
        target: The file, which is replaced; or the folder, of links to the shards where the file
            system has them.

    Raises:
        InputError: If a split cannot be read, or the folder is there and holds something else.
        EnvironmentFaultError: If the result cannot be written.
    """
    if splits[0].is_dir():
        _join_folders(splits, target)
        return
    tables = [scan_windows(path, form)[0] for path in splits]
    with StagedOutputs() as outputs:
        staged = outputs.stage(target)
        try:
            table = pl.concat(tables, how="vertical_relaxed")
            with disk_faults(target):
                if form == "csv":
                    table.sink_csv(staged, maintain_order=True)
                else:
                    table.sink_parquet(staged, maintain_order=True)
        except TABLE_FAULTS as error:
            raise unreadable(splits[0], form, error) from error
        outputs.publish()


def _join_folders(splits: Sequence[Path], target: Path) -> None:
    files = [shard for path in splits for shard in checked_listing(path).shards]
    index = shard_index([(path.name, samples) for path, samples in files])
    if target.exists():
        if (target / INDEX).is_file() and (target / INDEX).read_text(encoding="utf-8") == index:
            return
        raise InputError(f"{target} exists, and holds other shards", "move it away, or remove it")
    with StagedOutputs() as outputs:
        staged = outputs.stage(target)
        with disk_faults(target):
            staged.mkdir()
            for path, _ in files:
                _link(path, staged / path.name)
            (staged / INDEX).write_text(index, encoding="utf-8")
            staged.rename(target)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
