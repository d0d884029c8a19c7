"""Stored windows of both splits, independent of what one run uses of them.

Values are kept in the type their content needs: int32 where all are whole numbers, else float32.
Whether a column means ids or reals is up to the configuration that reads it, so the same data
serve runs with other input columns, window lengths and column types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.training.data.window_file import WindowFile

_FLOAT32_MAX = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class StoredColumn:
    """One column of a split."""

    values: Tensor
    """(windows, L + 1), oldest item first; int32 or float32. Of a split with a file, its first
    windows only."""
    smallest: float
    largest: float

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers (of at most 32 bits)."""
        return not self.values.is_floating_point()


@dataclass(frozen=True)
class SplitWindows:
    """All windows of one split."""

    path: str
    """The file or folder, as the configuration names it."""
    columns: Mapping[str, StoredColumn]
    num_windows: int
    window_length: int
    """L: the longest `seq_length` these windows can serve; they hold L + 1 items."""
    num_padding: Tensor
    """(windows,), int32: how many items at the start of each are padding, of all windows."""
    file: WindowFile | None = None
    """Where the windows come from that are not in `columns`; None if all are."""


@dataclass(frozen=True)
class TrainingData:
    """Both splits of a run's data."""

    training: SplitWindows
    validation: SplitWindows

    def check(self, config: TrainConfig) -> None:
        """Make sure that a run can be fed from these windows.

        Raises:
            InputError: If a column is missing, `seq_length` is longer than the windows, an id is
                outside 0 ... n_classes - 1, or a split is empty.
        """
        for split in (self.training, self.validation):
            _check_split(split, config)


def leading_zeros(columns: Sequence[Tensor]) -> Tensor:
    """How many items at the start of each window are 0 in every column.

    This is how padding is known in windows that do not say it themselves.

    Args:
        columns: All columns of a split, or of a part of it: (windows, L + 1) each.

    Returns:
        (windows,), int32.
    """
    # Few windows begin with such an item; only those are looked through.
    begins = reduce(torch.logical_and, (values[:, 0] == 0 for values in columns))
    rows = begins.nonzero().view(-1)
    is_data = reduce(torch.logical_or, (values[rows] != 0 for values in columns))
    found = torch.where(is_data.any(1), is_data.to(torch.uint8).argmax(1), is_data.shape[1])
    return torch.zeros(len(begins), dtype=torch.int32).index_copy_(0, rows, found.to(torch.int32))


def used_columns(config: TrainConfig) -> dict[str, bool]:
    """The columns a run reads, inputs first: column -> whether it holds ids."""
    used = dict.fromkeys(config.categorical_columns, True)
    used.update(dict.fromkeys(config.real_columns, False))
    for target, kind in config.target_column_types.items():
        # An id column may be a real target; as an input it stays what it is.
        used[target] = used.get(target, False) or kind == "categorical"
    return used


def reading_all(config: TrainConfig) -> TrainConfig:
    """The run with its targets among the inputs, for those who want a target's last values."""
    used = used_columns(config)
    return config.model_copy(
        update={
            "categorical_columns": [column for column, holds_ids in used.items() if holds_ids],
            "real_columns": [column for column, holds_ids in used.items() if not holds_ids],
        }
    )


def _check_split(split: SplitWindows, config: TrainConfig) -> None:
    if split.num_windows == 0:
        raise InputError(
            f"{split.path} holds no windows",
            "preprocess again with a larger share for this split, or a smaller seq_length",
        )
    if config.seq_length > split.window_length:
        raise InputError(
            f"seq_length = {config.seq_length} is longer than the stored windows of "
            f"{split.path}, which allow up to {split.window_length}",
            f"use seq_length <= {split.window_length}, or preprocess again with a larger one",
        )
    for column, holds_ids in used_columns(config).items():
        if column not in split.columns:
            raise InputError(
                f"{split.path} has no column `{column}`; it has {', '.join(split.columns)}"
            )
        if holds_ids:
            _check_ids(split, column, config.n_classes[column])
        else:
            _check_reals(split, column)


def _check_ids(split: SplitWindows, column: str, num_classes: int) -> None:
    stored = split.columns[column]
    fix = "check that the metadata file belongs to this data, or preprocess again"
    if not stored.is_whole:
        raise InputError(f"column `{column}` of {split.path} holds values that are not ids", fix)
    if stored.smallest < 0 or stored.largest >= num_classes:
        wrong = stored.smallest if stored.smallest < 0 else stored.largest
        raise InputError(
            f"column `{column}` of {split.path} holds the id {wrong:.0f}, "
            f"but its ids go from 0 to {num_classes - 1}",
            fix,
        )


def _check_reals(split: SplitWindows, column: str) -> None:
    stored = split.columns[column]
    if not (stored.smallest >= -_FLOAT32_MAX and stored.largest <= _FLOAT32_MAX):
        raise InputError(
            f"column `{column}` of {split.path} holds NaN, or numbers beyond float32",
            "clean the raw data and preprocess again",
        )
