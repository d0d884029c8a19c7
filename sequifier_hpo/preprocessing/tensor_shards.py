"""The process that writes tensor shards: the only file of this package that imports torch.

Started as `python -m sequifier_hpo.preprocessing.tensor_shards SCRATCH` by `shard_job`, and never
imported: the control process stays without torch.
"""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sequifier_hpo.preprocessing.windows import gather_items

Columns = dict[str, npt.NDArray[Any]]
Shard = tuple[
    dict[str, torch.Tensor], dict[str, torch.Tensor], torch.Tensor, torch.Tensor, torch.Tensor
]


def write_all(scratch: Path) -> None:
    """Write every shard of the job that `shard_job` left in the scratch folder."""
    job = json.loads((scratch / "job.json").read_text(encoding="utf-8"))
    for i, split in enumerate(job["splits"]):
        begin = 0
        for path, samples in split["shards"]:
            # Mapped anew for each shard, so that no more of the columns stays in memory.
            columns = {name: np.load(file, mmap_mode="r") for name, file in job["columns"].items()}
            numbers = np.fromfile(
                scratch / f"split{i}.rows", np.int64, 5 * samples, offset=8 * 5 * begin
            )
            rows = numbers.reshape(samples, 5).T
            # Through memory, because torch's own writer does not say what is wrong with the disk.
            content = io.BytesIO()
            torch.save(make_shard(columns, rows, job["seq_length"]), content)
            (Path(split["folder"]) / path).write_bytes(content.getbuffer())
            begin += samples


def make_shard(columns: Columns, window_rows: npt.NDArray[np.int64], seq_length: int) -> Shard:
    """Inputs, targets, and the three numbers of every window.

    Args:
        columns: Values per feature column, with the padding as extra last entry.
        window_rows: Per window its sequence, subsequence, start position, first and lower row;
            shape (5, n).
        seq_length: Length L of inputs and targets, which have shape (n, L).
    """
    sequence_ids, subsequence_ids, start_positions, first_rows, lower_rows = window_rows
    inputs, targets = {}, {}
    for name, values in columns.items():
        items = [gather_items(values, first_rows, lower_rows, i) for i in range(seq_length + 1)]
        window = torch.from_numpy(np.stack(items, axis=1))
        if window.dtype == torch.float64:
            window = window.to(torch.float32)
        inputs[name] = window[:, :-1].contiguous()
        targets[name] = window[:, 1:].contiguous()
    numbers = (torch.from_numpy(n.copy()) for n in (sequence_ids, subsequence_ids, start_positions))
    return (inputs, targets, *numbers)  # type: ignore[return-value] # a generator of three


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
