"""Tensor shards, for the process that must not load torch: plan, delegate, wait.

The arrays go to `tensor_shards` as .npy files in a scratch folder, mapped there without a copy.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.preprocessing.encode import EncodedColumn
from sequifier_hpo.preprocessing.staging import disk_faults
from sequifier_hpo.preprocessing.windows import Layout
from sequifier_hpo.python_path import python_environment

_WINDOWS_AT_ONCE = 2**18
_WRITER = "sequifier_hpo.preprocessing.tensor_shards"


@dataclass(frozen=True)
class ShardFolder:
    """One split to be written: where, and with which shard names."""

    folder: Path
    name: str
    """File names are `{name}-0-{n}.pt`; 0 is the number of the only writing process."""
    layout: Layout


def write_shards(
    splits: Sequence[ShardFolder],
    columns: Sequence[EncodedColumn],
    *,
    num_sequences: int,
    sequences_per_shard: int,
    scratch: Path,
    on_progress: Callable[[str], None],
) -> None:
    """Write the shards of all splits in a process of its own.

    Raises:
        EnvironmentFaultError: If the disk is full, or the process is lost.
    """
    width = number_width(num_sequences, sequences_per_shard)
    jobs = []
    with disk_faults(scratch):
        files = [
            _column_file(column, scratch / f"column{i}.npy") for i, column in enumerate(columns)
        ]
        for i, split in enumerate(splits):
            split.folder.mkdir()
            shards = plan_shards(split.name, split.layout, sequences_per_shard, width)
            (split.folder / "metadata.json").write_text(shard_index(shards), encoding="utf-8")
            _save_windows(split.layout, scratch / f"split{i}.rows")
            jobs.append({"folder": str(split.folder.absolute()), "shards": shards})
        job = {
            "seq_length": splits[0].layout.seq_length,
            "columns": {c.name: str(file) for c, file in zip(columns, files, strict=True)},
            "splits": jobs,
        }
        (scratch / "job.json").write_text(json.dumps(job), encoding="utf-8")
    on_progress("writing tensor shards")
    _run_writer(scratch)


def number_width(num_sequences: int, sequences_per_shard: int) -> int:
    """Digits of the numbers in the names of shards, so that they sort by number."""
    return len(str(-(-num_sequences // sequences_per_shard) + 1))


def plan_shards(
    name: str, layout: Layout, sequences_per_shard: int, width: int, ending: str = "pt"
) -> list[tuple[str, int]]:
    """(file name, number of windows) of every shard.

    Only sequences that have a window in this split are counted.
    """
    firsts = np.arange(0, len(layout.num_windows), sequences_per_shard)
    counts = np.add.reduceat(layout.num_windows, firsts).tolist() if len(firsts) else []
    return [(f"{name}-0-{number:0{width}d}.{ending}", count) for number, count in enumerate(counts)]


def shard_index(shards: Sequence[tuple[str, int]]) -> str:
    """Content of the folder's `metadata.json`."""
    files = [{"path": path, "samples": samples} for path, samples in shards]
    total = sum(samples for _, samples in shards)
    return json.dumps({"total_samples": total, "batch_files": files}, indent=4)


def _column_file(column: EncodedColumn, path: Path) -> Path:
    """The .npy file with the values of a column, which is written if there is none yet."""
    if column.numbers.path is not None:
        return column.numbers.path.absolute()
    np.save(path, column.values, allow_pickle=False)
    return path


def _save_windows(layout: Layout, path: Path) -> None:
    """Write five numbers for each window, as `make_shard` takes them."""
    with path.open("wb") as file:
        for begin in range(0, len(layout), _WINDOWS_AT_ONCE):
            part = layout.part(begin, begin + _WINDOWS_AT_ONCE)
            rows = np.stack(
                [
                    part.sequence_ids,
                    part.subsequence_ids,
                    part.start_positions,
                    part.first_rows,
                    part.lower_rows,
                ],
                axis=1,
            )
            file.write(np.ascontiguousarray(rows).data)


def _run_writer(scratch: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", _WRITER, str(scratch)],
        env=python_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if finished.returncode:
        reason = finished.stderr.strip() or "it printed no message"
        raise EnvironmentFaultError(
            f"the process that writes tensor shards ended with {finished.returncode}: "
            + reason.splitlines()[-1],
            "check free disk space and memory; `write_format: parquet` needs no such process",
        )
