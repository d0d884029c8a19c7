"""Tables that a program gives: files, or data frames as the files that commands read."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.errors import InputError


class WritesCsv(Protocol):
    """A frame of pandas, or one that writes itself like it."""

    def to_csv(self, path_or_buf: Any, /, *, index: bool) -> Any:
        """Write a CSV file."""


Table = str | Path | pl.DataFrame | WritesCsv
"""A CSV or Parquet file, or a data frame of polars or pandas."""


@contextmanager
def as_file(data: Table) -> Iterator[Path]:
    """The file of a table; that of a frame is there for the block.

    Raises:
        InputError: If it is no table.
    """
    if isinstance(data, str | Path):
        yield expanded_path(str(data))
        return
    with tempfile.TemporaryDirectory(prefix="sequifier-hpo-") as folder:
        if isinstance(data, pl.DataFrame):
            path = Path(folder) / "frame.parquet"
            data.write_parquet(path)
        elif hasattr(data, "to_csv"):
            path = Path(folder) / "frame.csv"
            data.to_csv(path, index=False)  # Parquet would take another package
        else:
            raise InputError(
                f"a {type(data).__name__} is no table",
                "give a data frame of polars or pandas, or the path of a CSV or Parquet file",
            )
        yield path
