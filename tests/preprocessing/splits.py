"""Small splits in all formats, written without `preprocess`."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from sequifier_hpo.preprocessing.shard_job import shard_index

Windows = dict[str, NDArray[Any]]
"""Column -> windows, (windows, L + 1)."""


def windows_of(num_windows: int = 6, length: int = 4, seed: int = 0) -> Windows:
    rng = np.random.default_rng(seed)
    return {
        "product": rng.integers(0, 4, (num_windows, length)).astype(np.float64),
        "price": rng.normal(size=(num_windows, length)),
    }


def starts_of(windows: Windows) -> list[int]:
    """The first window has two items of padding."""
    num_windows = len(next(iter(windows.values())))
    return [-2, *range(1, num_windows)]


def write_table(path: Path, windows: Windows, **options: Any) -> Path:
    columns = list(windows)
    num_windows, length = windows[columns[0]].shape
    starts = starts_of(windows)
    places = list(itertools.product(range(num_windows), columns))
    rows: dict[str, Any] = {
        "sequenceId": [0] * len(places),
        "subsequenceId": [i for i, _ in places],
        "startItemPosition": [starts[i] for i, _ in places],
        "inputCol": [column for _, column in places],
    }
    for j in range(length):
        rows[str(length - 1 - j)] = [float(windows[column][i, j]) for i, column in places]
    frame = pl.DataFrame(rows)
    if path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_parquet(path, **options)
    return path


def write_table_folder(folder: Path, windows: Windows, *sizes: int) -> Path:
    """Parquet files of so many windows, and one with what is left."""
    whole = pl.read_parquet(write_table(folder.with_suffix(".whole"), windows))
    folder.mkdir()
    num_windows = len(next(iter(windows.values())))
    files: list[tuple[str, int]] = []
    for begin, end in itertools.pairwise([0, *itertools.accumulate(sizes), num_windows]):
        name = f"t{len(files)}.parquet"
        rows = whole.slice(begin * len(windows), (end - begin) * len(windows))
        rows.write_parquet(folder / name)
        files.append((name, end - begin))
    (folder / "metadata.json").write_text(shard_index(files))
    return folder


def write_shards(folder: Path, windows: Windows, *sizes: int, whole: bool = False) -> Path:
    """Shards of these sizes, and one with what is left; whole numbers are ids in them.

    With `whole`, each holds whole windows, as Sequifier 1.2 stores them.
    """
    folder.mkdir()
    num_windows = len(next(iter(windows.values())))
    bounds = [0, *itertools.accumulate(sizes), num_windows]
    starts, shards = torch.tensor(starts_of(windows)), []
    for k, (begin, end) in enumerate(itertools.pairwise(bounds)):
        inputs, targets, both = {}, {}, {}
        for name in reversed(windows) if k % 2 else windows:
            is_whole = all(abs(x) < 1e6 and x == int(x) for x in windows[name].flat)
            dtype = torch.int64 if is_whole else torch.float32
            rows = torch.tensor(windows[name][begin:end]).to(dtype)
            inputs[name], targets[name], both[name] = rows[:, :-1], rows[:, 1:], rows
        numbers = [starts[begin:end]] * 3
        content = (both, *numbers) if whole else (inputs, targets, *numbers)
        torch.save(content, folder / f"s{k}.pt")
        shards.append((f"s{k}.pt", end - begin))
    (folder / "metadata.json").write_text(shard_index(shards))
    return folder
