"""Reads the long tables of both splits in a process of its own, and leaves raw arrays in a file.

Run as `python -m sequifier_hpo.training.data.read_table FD`, with a JSON request on stdin and a
JSON answer on stdout. The table library starts threads, and a process that has threads cannot be
forked safely; the process that asks forks one trial after the other. So the library lives here,
and dies here, and the arrays are mapped from the open file `FD`.
"""

import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sequifier_hpo.errors import InputError
from sequifier_hpo.stored_tables import TABLE_FAULTS, scan_windows, unreadable

_INT32 = np.iinfo(np.int32)


def read_splits(
    paths: list[str], read_format: str, file: BinaryIO, *, padding_is_stored: bool
) -> list[dict[str, Any]]:
    """Write the windows of every split into `file`.

    Returns:
        Per split: `window_length`, `num_windows`, `columns`: name -> `dtype`, `offset` in bytes,
        `smallest`, `largest`; and the `num_padding_offset` of an int32 per window, None unless
        the padding is stored.

    Raises:
        InputError: If a file is not a table of windows.
    """
    return [
        _read_split(Path(path), read_format, file, padding_is_stored=padding_is_stored)
        for path in paths
    ]


def _read_split(
    path: Path, read_format: str, file: BinaryIO, *, padding_is_stored: bool
) -> dict[str, Any]:
    scan, items = scan_windows(path, read_format)
    try:
        table = scan.collect()
    except TABLE_FAULTS as error:
        raise unreadable(path, read_format, error) from error
    by_column = {
        str(name[0]): part
        for name, part in table.partition_by("inputCol", as_dict=True, maintain_order=True).items()
    }
    _check_same_windows(path, by_column)
    columns = {
        name: _write(file, _values(path, name, part.select(items)))
        for name, part in by_column.items()
    }
    first = next(iter(by_column.values()), None)
    return {
        "window_length": len(items) - 1,
        "num_windows": 0 if first is None else first.height,
        "columns": columns,
        "num_padding_offset": _write_padding(path, file, first)
        if padding_is_stored and first is not None
        else None,
    }


def _check_same_windows(path: Path, by_column: dict[str, pl.DataFrame]) -> None:
    """Rows of different columns belong together by their place only: make sure they do."""
    keys = ["sequenceId", "subsequenceId"]
    first_name, first = "", None
    for name, part in by_column.items():
        if first is None:
            first_name, first = name, part.select(keys)
        elif part.height != first.height:
            raise InputError(
                f"{path} has {first.height} windows of column `{first_name}`, "
                f"but {part.height} of `{name}`",
                "preprocess again",
            )
        elif not first.equals(part.select(keys)):
            raise InputError(
                f"{path} holds the windows of `{first_name}` and `{name}` in different orders",
                "preprocess again",
            )


def _values(path: Path, name: str, items: pl.DataFrame) -> NDArray[Any]:
    """One column's windows, (windows, L + 1)."""
    if sum(items.null_count().row(0)):
        raise InputError(f"column `{name}` of {path} holds empty items", "preprocess again")
    return items.to_numpy(order="c")


def _write(file: BinaryIO, values: NDArray[Any]) -> dict[str, Any]:
    smallest, largest = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
    dtype = np.int32 if _is_whole(values, smallest, largest) else np.float32
    offset = file.tell()
    if values.size:
        file.write(np.ascontiguousarray(values, dtype=dtype).data.cast("B"))
    return {
        "dtype": np.dtype(dtype).name,
        "offset": offset,
        "smallest": smallest,
        "largest": largest,
    }


def _write_padding(path: Path, file: BinaryIO, windows: pl.DataFrame) -> int:
    """How many items of each window are padding: as many as lie before the first position, 0."""
    starts = windows["startItemPosition"]
    if not starts.dtype.is_numeric() or starts.null_count() or (starts.round() != starts).any():
        raise InputError(
            f"the startItemPosition of {path} holds a value that is not a whole number",
            "preprocess again",
        )
    offset = file.tell()
    num_padding = np.maximum(-starts.cast(pl.Int64).to_numpy(), 0).astype(np.int32)
    file.write(num_padding.data.cast("B"))
    return offset


def _is_whole(values: NDArray[Any], smallest: float, largest: float) -> bool:
    if not (_INT32.min <= smallest and largest <= _INT32.max):
        return False  # NaN ends here too
    return values.dtype.kind in "iu" or bool((values == np.rint(values)).all())


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    with open(int(sys.argv[1]), "wb", closefd=False) as file:
        try:
            answer: dict[str, Any] = {
                "splits": read_splits(
                    request["paths"],
                    request["read_format"],
                    file,
                    padding_is_stored=request["padding_is_stored"],
                )
            }
        except InputError as error:
            answer = {"problem": error.problem, "fix": error.fix}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
