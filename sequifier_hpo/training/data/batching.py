"""Serves the windows of a split in batches, on the device of the run.

Axes: B batch, T = `seq_length`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.data.ahead import read_ahead
from sequifier_hpo.training.data.window_file import WindowFile
from sequifier_hpo.training.data.windows import SplitWindows, used_columns

# A split is copied to the GPU if that leaves it this many times as much free memory.
_DEVICE_RESERVE = 4
_BYTES_PER_ITEM = 4
_COPY_BYTES = 32 * 2**20


@dataclass(frozen=True)
class Batch:
    """Some windows: the network's inputs and targets."""

    inputs: dict[str, Tensor]
    """Per input column (B, T): ids as integers, reals as float32."""
    targets: dict[str, Tensor]
    """Per target (B, T), the inputs shifted by one item: ids as int64, reals as float32."""
    num_padding: Tensor
    """(B,), integers: how many of the window's T + 1 items, the oldest, are padding; none if <= 0."""


class WindowBatches:
    """One split, cut to the columns and the window length of one run."""

    def __init__(self, split: SplitWindows, config: TrainConfig, device: torch.device) -> None:
        self.num_windows = split.num_windows
        self.window_length = config.seq_length
        self._device = device
        self._holds_ids = used_columns(config)
        self._inputs = [*config.categorical_columns, *config.real_columns]
        self._targets = config.target_column_types
        self._file = split.file
        self._num_padding = split.num_padding
        self._num_cut = split.window_length - config.seq_length
        # The newest T + 1 items; slices share the memory of the stored windows.
        self._values = {
            column: split.columns[column].values[:, -(config.seq_length + 1) :]
            for column in self._holds_ids
        }
        window_bytes = len(self._values) * (config.seq_length + 1) * _BYTES_PER_ITEM
        self._is_resident = _can_be_resident(split, self.num_windows * window_bytes, device)
        if self._is_resident and self._file is not None:
            self._values, self._file = self._copied(max(1, _COPY_BYTES // window_bytes)), None
        elif self._is_resident:
            self._values = {name: values.to(device) for name, values in self._values.items()}
        if self._is_resident:
            self._num_padding = self._num_padding.to(device)
        # Windows in memory are dealt faster than a thread could be asked for them.
        has_to_wait = self._file is not None or not self._is_resident
        self._num_threads = config.training_spec.num_workers if has_to_wait else 0

    def in_order(self, batch_size: int, *, step: int = 1) -> Iterator[Batch]:
        """Every `step`-th window in the order of the file, the last batch as long as it comes."""
        return self._deal(torch.arange(0, self.num_windows, step), batch_size)

    def shuffled(
        self, batch_size: int, *, seed: int, epoch: int, first_batch: int = 0
    ) -> Iterator[Batch]:
        """All windows in the order of an epoch, from `first_batch` on; no window is dropped."""
        rows = epoch_order(self.num_windows, seed=seed, epoch=epoch)
        return self._deal(rows[first_batch * batch_size :], batch_size)

    def num_batches(self, batch_size: int) -> int:
        """Number of batches that cover all windows."""
        return -(-self.num_windows // batch_size)

    def _deal(self, rows: Tensor, batch_size: int) -> Iterator[Batch]:
        if self._is_resident:
            rows = rows.to(self._device)
        parts = (rows[start : start + batch_size] for start in range(0, len(rows), batch_size))
        if self._num_threads:
            return read_ahead(self._gather, parts, self._num_threads)
        return map(self._gather, parts)

    def _gather(self, rows: Tensor) -> Batch:
        windows, num_padding = self._select(rows), self._num_padding.index_select(0, rows)
        if not self._is_resident:
            windows = {column: self._sent(window) for column, window in windows.items()}
            num_padding = self._sent(num_padding)
        inputs = {
            column: windows[column][:, :-1]
            if self._holds_ids[column]
            else windows[column][:, :-1].float()
            for column in self._inputs
        }
        targets = {
            target: windows[target][:, 1:].long()
            if kind == "categorical"
            else windows[target][:, 1:].float()
            for target, kind in self._targets.items()
        }
        return Batch(inputs, targets, num_padding - self._num_cut)

    def _select(self, rows: Tensor) -> dict[str, Tensor]:
        """These windows, from where they are: column -> (B, T + 1)."""
        if self._file is not None:
            is_mapped = rows < self._file.num_mapped
            if not bool(is_mapped.all()):
                return self._put_together(self._file, rows, is_mapped)
        return {column: values.index_select(0, rows) for column, values in self._values.items()}

    def _put_together(self, file: WindowFile, rows: Tensor, is_mapped: Tensor) -> dict[str, Tensor]:
        """Windows from memory and windows from the disk."""
        mapped, unmapped = is_mapped.nonzero().view(-1), (~is_mapped).nonzero().view(-1)
        read = file.read(rows[unmapped], self._values)
        windows = {}
        for column, values in self._values.items():
            window = values.new_empty((len(rows), values.shape[1]))
            window.index_copy_(0, mapped, values.index_select(0, rows[mapped]))
            window.index_copy_(0, unmapped, read[column][:, -values.shape[1] :])
            windows[column] = window
        return windows

    def _sent(self, window: Tensor) -> Tensor:
        if self._device.type != "cuda":
            return window.to(self._device)
        # Pinned memory lets the copy run while the GPU still works on the last batch.
        return window.pin_memory().to(self._device, non_blocking=True)

    def _copied(self, num_rows: int) -> dict[str, Tensor]:
        """All windows on the device, `num_rows` at a time, so that few are in memory."""
        copies = {
            column: values.new_empty((self.num_windows, values.shape[1]), device=self._device)
            for column, values in self._values.items()
        }
        for start in range(0, self.num_windows, num_rows):
            rows = torch.arange(start, min(start + num_rows, self.num_windows))
            for column, window in self._select(rows).items():
                copies[column][start : start + num_rows] = window
        return copies


def epoch_order(num_windows: int, *, seed: int, epoch: int) -> Tensor:
    """The order of the training windows in an epoch: a function of (seed, epoch) alone."""
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
    return torch.randperm(num_windows, generator=torch.Generator().manual_seed(mixed))


def _can_be_resident(split: SplitWindows, needed_bytes: int, device: torch.device) -> bool:
    """Whether the windows can stay on the device for the whole run."""
    if device.type != "cuda":
        # On the CPU they are there already unless they are in a file, and MPS shares its memory.
        return split.file is None
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return needed_bytes * _DEVICE_RESERVE <= free_bytes
