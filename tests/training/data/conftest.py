"""Small stored splits, as functions that write them."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from numpy.typing import NDArray

from sequifier_hpo.config.train import TrainConfig

Arrays = dict[str, NDArray[Any]]
Config = Callable[..., TrainConfig]
WriteTable = Callable[..., None]
MakeArrays = Callable[[int, int, int], Arrays]


def write_shards(
    folder: Path, values: Arrays, sizes: list[int], starts: Sequence[int] = ()
) -> None:
    """A folder of shards as `preprocess` writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    files, start = [], 0
    for i, size in enumerate(sizes):
        rows = {
            name: torch.tensor(
                array[start : start + size],
                dtype=torch.int64 if array.dtype.kind == "i" else torch.float32,
            )
            for name, array in values.items()
        }
        ids = torch.arange(size)
        positions = torch.tensor(starts[start : start + size]) if starts else ids
        content = (
            {name: rows[name][:, :-1] for name in reversed(rows)},
            {name: value[:, 1:] for name, value in rows.items()},
            *(ids, ids, positions),
        )
        torch.save(content, folder / f"part-{i}.pt")
        files.append({"path": f"part-{i}.pt", "samples": size})
        start += size
    listing = {"total_samples": start, "batch_files": files}
    (folder / "metadata.json").write_text(json.dumps(listing))


@pytest.fixture
def stored(
    tmp_path: Path, make_config: Config, write_table: WriteTable, make_arrays: MakeArrays
) -> Callable[..., TrainConfig]:
    """A function that writes both splits in a format and returns a config for them."""

    def store(
        read_format: str = "parquet",
        starts: Sequence[int] = (),
        change: Callable[[Arrays], None] = lambda _: None,
        **changes: Any,
    ) -> TrainConfig:
        paths = []
        for i, number in enumerate((10, 6)):
            values = make_arrays(number, 6, i)
            change(values)
            suffix = "" if read_format == "pt" else f".{read_format}"
            path = tmp_path / "data" / f"small-split{i}{suffix}"
            if read_format == "pt":
                write_shards(path, values, [4, number - 4], starts[:number])
            else:
                write_table(path, values, starts[:number])
            paths.append(str(path))
        return make_config(
            read_format=read_format,
            training_data_path=paths[0],
            validation_data_path=paths[1],
            **changes,
        )

    return store
