"""A table that is written piece by piece, and appears under its name when it is whole."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import polars as pl

from sequifier_hpo.atomic import StagedFiles, explaining

_ROWS_AT_ONCE = 250_000


def write_table(frames: Iterable[pl.DataFrame], path: Path | None) -> int:
    """Write the pieces of a table one after the other.

    Args:
        frames: The pieces; at least one.
        path: Parquet if its name ends so, else CSV; None = as CSV to standard output.

    Returns:
        The number of rows.

    Raises:
        EnvironmentFaultError: If it cannot be written.
    """
    if path is None:
        return _as_csv(frames, sys.stdout.write)
    if path.suffix == ".parquet":
        return _as_parquet(frames, path)
    with StagedFiles() as files, files.open(path) as file:
        return _as_csv(frames, lambda text: file.write(text.encode()))


def _as_csv(frames: Iterable[pl.DataFrame], write: Callable[[str], object]) -> int:
    # Polars would write past a stream of Python, and so past what escapes control characters.
    num_rows = 0
    for frame in frames:
        write(frame.write_csv(include_header=not num_rows))
        num_rows += frame.height
    return num_rows


def _as_parquet(frames: Iterable[pl.DataFrame], path: Path) -> int:
    """Polars writes a Parquet file in one go: from many that are read again, a part at a time."""
    num_rows = 0
    held: list[pl.DataFrame] = []
    parts: list[Path] = []
    with tempfile.TemporaryDirectory(prefix="sequifier-hpo-") as name:
        folder = Path(name)

        def put_aside() -> None:
            parts.append(folder / f"{len(parts)}.parquet")
            pl.concat(held).write_parquet(parts[-1])
            held.clear()

        for frame in frames:
            held.append(frame)
            num_rows += frame.height
            if sum(part.height for part in held) >= _ROWS_AT_ONCE:
                put_aside()
        if held:
            put_aside()
        with StagedFiles() as files, files.open(path) as file:
            if len(parts) > 1:
                pl.scan_parquet(parts).sink_parquet(folder / "all.parquet", maintain_order=True)
            with (
                explaining(path),
                (folder / "all.parquet" if parts[1:] else parts[0]).open("rb") as whole,
            ):
                shutil.copyfileobj(whole, file)
    return num_rows
