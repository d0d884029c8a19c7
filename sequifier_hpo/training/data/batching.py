"""Deals the windows of a split out in batches, on the device of the run.

Axes: B batch, T = `seq_length`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.data.windows import SplitWindows, used_columns

# A split is copied to the GPU if that leaves it this many times as much free memory.
_DEVICE_RESERVE = 4


@dataclass(frozen=True)
class Batch:
    """Some windows: what the network reads and what it should say."""

    inputs: dict[str, Tensor]
    """Per input column (B, T): ids as integers, reals as float32."""
    targets: dict[str, Tensor]
    """Per target (B, T), the inputs shifted by one item: ids as int64, reals as float32."""


class WindowBatches:
    """One split, cut to the columns and the window length of one run."""

    def __init__(self, split: SplitWindows, config: TrainConfig, device: torch.device) -> None:
        self.num_windows = split.num_windows
        self.window_length = config.seq_length
        self._device = device
        self._holds_ids = used_columns(config)
        self._inputs = [*config.categorical_columns, *config.real_columns]
        self._targets = config.target_column_types
        # The newest T + 1 items; slices share the memory of the stored windows.
        self._values = {
            column: split.columns[column].values[:, -(config.seq_length + 1) :]
            for column in self._holds_ids
        }
        self._is_resident = _fits_on_device(self._values, device)
        if self._is_resident:
            self._values = {name: values.to(device) for name, values in self._values.items()}

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """All windows in the order of the file, the last batch as long as it comes."""
        return self._deal(torch.arange(self.num_windows), batch_size)

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
        for start in range(0, len(rows), batch_size):
            yield self._gather(rows[start : start + batch_size])

    def _gather(self, rows: Tensor) -> Batch:
        windows = {}
        for column, values in self._values.items():
            window = values.index_select(0, rows)
            if not self._is_resident:
                # Pinned memory lets the copy run while the GPU still works on the last batch.
                pinned = window.pin_memory() if self._device.type == "cuda" else window
                window = pinned.to(self._device, non_blocking=self._device.type == "cuda")
            windows[column] = window
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
        return Batch(inputs, targets)


def epoch_order(num_windows: int, *, seed: int, epoch: int) -> Tensor:
    """The order of the training windows in an epoch: a function of (seed, epoch) alone."""
    mixed = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])
    return torch.randperm(num_windows, generator=torch.Generator().manual_seed(mixed))


def _fits_on_device(values: dict[str, Tensor], device: torch.device) -> bool:
    """Whether the windows can stay on the device for the whole run."""
    if device.type != "cuda":
        return True  # on the CPU they are there already, and MPS shares its memory
    free_bytes, _ = torch.cuda.mem_get_info(device)
    needed = sum(tensor.numel() * tensor.element_size() for tensor in values.values())
    return needed * _DEVICE_RESERVE <= free_bytes
