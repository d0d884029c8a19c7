"""Opens the data of a run: long tables through a reader process, tensor shards directly or lazily."""

import json
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.plain_files import what_else
from sequifier_hpo.python_path import python_environment
from sequifier_hpo.training.data.lazy import open_lazily
from sequifier_hpo.training.data.shards import read_shards
from sequifier_hpo.training.data.windows import (
    SplitWindows,
    StoredColumn,
    TrainingData,
    leading_zeros,
)

DataKey = tuple[tuple[str, str, int, int, int | None, bool], ...]


def open_training_data(config: TrainConfig, *, padding_is_stored: bool = False) -> TrainingData:
    """Open both splits, with all their columns.

    The tensors lie in memory that forked children share until they write to it. This process
    starts no thread and does not load the table library. With `load_full_data_to_ram: false`,
    shards take up to `max_ram_gb`; tables are loaded in any case.

    Args:
        config: A run that reads them.
        padding_is_stored: Whether start positions below 0 say how many items of a window are
            padding; else leading items that are 0 in every column are.

    Raises:
        InputError: If a file is missing or not what `preprocess` writes.
        EnvironmentFaultError: If the reading process is killed, for example for lack of memory, or
            the file for lazy reading cannot be written.
    """
    paths = [config.training_data_path, config.validation_data_path]
    for path in paths:
        if not Path(path).exists():
            raise InputError(
                f"the data {path} does not exist",
                "run `sequifier-hpo preprocess` first, or correct the path; "
                f"relative paths start at {Path.cwd()}",
            )
        if (kind := what_else(Path(path))) not in {None, "a folder"}:
            raise InputError(f"the data {path} are {kind}, not a file", "correct the path")
    memory_bytes = _lazy_memory_bytes(config)
    if memory_bytes is not None:
        cache = config.paths.window_cache
        lazy = open_lazily(paths, cache, memory_bytes, padding_is_stored=padding_is_stored)
        return TrainingData(*lazy)
    if config.read_format == "pt":
        splits = (read_shards(path, padding_is_stored=padding_is_stored) for path in paths)
        return TrainingData(*splits)
    return TrainingData(
        *_read_tables(paths, config.read_format, padding_is_stored=padding_is_stored)
    )


def data_key(config: TrainConfig, *, padding_is_stored: bool = False) -> DataKey:
    """Equal for two runs whose data are the same files, unchanged in between, read alike."""
    how = (_lazy_memory_bytes(config), padding_is_stored)
    return tuple(
        (config.read_format, path, *_version(Path(path)), *how)
        for path in (config.training_data_path, config.validation_data_path)
    )


def _lazy_memory_bytes(config: TrainConfig) -> int | None:
    """Memory that the windows may take; None if they are all loaded."""
    spec = config.training_spec
    is_lazy = config.read_format == "pt" and not spec.load_full_data_to_ram
    return int(spec.max_ram_gb * 1e9) if is_lazy else None


def _version(path: Path) -> tuple[int, int]:
    """Time of the last change and size, of a file or of all files in a folder."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    stats = [file.stat() for file in files if file.exists()]
    return max((stat.st_mtime_ns for stat in stats), default=0), sum(s.st_size for s in stats)


def _read_tables(
    paths: list[str], read_format: str, *, padding_is_stored: bool
) -> list[SplitWindows]:
    request = {
        "paths": paths,
        "read_format": read_format,
        "padding_is_stored": padding_is_stored,
    }
    descriptor = _anonymous_file()
    try:
        answer = _ask_reader(descriptor, request)
        return [
            _mapped(descriptor, path, split)
            for path, split in zip(paths, answer["splits"], strict=True)
        ]
    finally:
        os.close(descriptor)


def _anonymous_file() -> int:
    """A descriptor of a file without a name: it vanishes with its last user."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sequifier-hpo-data")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _ask_reader(descriptor: int, request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the reader process to its end and return its answer."""
    command = [sys.executable, "-m", "sequifier_hpo.training.data.read_table", str(descriptor)]
    done = subprocess.run(
        command,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=python_environment(),
        pass_fds=[descriptor],
        check=False,
    )
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise EnvironmentFaultError(
            f"reading the data failed: {last_line}",
            "if the machine is short of memory, free some" if done.returncode < 0 else "",
        )
    answer: dict[str, Any] = json.loads(done.stdout)
    if "problem" in answer:
        raise InputError(answer["problem"], answer["fix"])
    return answer


def _mapped(descriptor: int, path: str, split: Mapping[str, Any]) -> SplitWindows:
    """Tensors over the reader's arrays, without a copy."""
    num_windows, window_length = split["num_windows"], split["window_length"]
    if num_windows == 0:
        return SplitWindows(path, {}, 0, window_length, torch.zeros(0, dtype=torch.int32))
    # Private: torch wants memory it could write to, and a write must not reach other trials.
    memory = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)

    def numbers(dtype: str, offset: int, count: int) -> Tensor:
        return torch.frombuffer(memory, dtype=getattr(torch, dtype), count=count, offset=offset)

    columns = {}
    for name, column in split["columns"].items():
        flat = numbers(column["dtype"], column["offset"], num_windows * (window_length + 1))
        values = flat.view(num_windows, window_length + 1)
        columns[name] = StoredColumn(values, column["smallest"], column["largest"])
    offset = split["num_padding_offset"]
    num_padding = (
        leading_zeros([column.values for column in columns.values()])
        if offset is None
        else numbers("int32", offset, num_windows)
    )
    return SplitWindows(path, columns, num_windows, window_length, num_padding)
