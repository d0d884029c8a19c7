"""Values handed between rooms: what happened in a run, without any library's types."""

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from sequifier_hpo.config.schema import FrozenModel


class Counted(FrozenModel):
    """Which positions of a window the validation loss counts."""

    last_positions: int | None = None
    """That many at the end of every window, whatever comes before; None = all."""
    padding_is_stored: bool = False
    """Whether the windows say themselves how many of their items are padding."""


class SplitDigest(FrozenModel):
    """What a stored split holds, independent of its format and of where it lies."""

    num_windows: int
    window_length: int
    """L: windows hold L + 1 items."""
    columns: dict[str, str]
    """Column -> SHA-256 of its values in window order and of what decides their meaning."""
    padding: str = ""
    """SHA-256 of the number of padding items of every window; "" = the windows do not say."""


class DataDigest(FrozenModel):
    """What a run, or all runs of a study, are trained and judged on."""

    training: SplitDigest
    validation: SplitDigest


class RunIdentity(FrozenModel):
    """What a run is, for those who would continue or overwrite it."""

    study_id: str | None
    """Unique id of the study that the run belongs to; None = it is trained alone."""
    key: str
    """Digest of the train config as it was asked, and of the data."""
    data: DataDigest
    """Of the columns that the run reads."""


class Baseline(FrozenModel):
    """The validation loss of a trivial predictor."""

    name: str
    loss: float


class BatchPlan(FrozenModel):
    """What an out-of-memory retry has come down to."""

    batch_size: int
    accumulation_steps: int | None
    """None = not known: studies of 0.1.0 did not store it."""
    oom_retries: int


class OutcomeKind(StrEnum):
    """How an attempt at a run ended."""

    COMPLETED = "completed"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    CRASHED = "crashed"
    INVALID = "invalid"
    INTERRUPTED = "interrupted"


class EpochReport(FrozenModel):
    """One finished epoch. Losses are in nats (or the criterion's unit), times in seconds."""

    epoch: int
    """From 1."""
    train_loss: float
    """Token-weighted mean over the epoch's batches, before `loss_weights` are learned from."""
    validation_loss: float
    """Weighted sum over targets of the token-weighted mean over the whole validation split."""
    validation_loss_all_positions: float | None = None
    """The same over all of the run's own positions; None = those are the ones that count."""
    validation_loss_by_target: dict[str, float]
    """The unweighted mean of each target."""
    learning_rate: float
    """Of the epoch's last step."""
    is_best: bool
    """Whether the validation loss is strictly smaller than in every epoch before."""
    seconds: float
    tokens_per_second: float
    """Training positions per second, padding included."""
    peak_memory_bytes: int


class BatchReport(FrozenModel):
    """Progress inside an epoch."""

    epoch: int
    batch: int
    num_batches: int
    train_loss: float
    learning_rate: float
    tokens_per_second: float


class TrainingResult(FrozenModel):
    """What a run ended with; losses as in `EpochReport`."""

    kind: OutcomeKind
    reason: str = ""
    """Why, for every kind but completed."""
    best_epoch: int | None = None
    best_validation_loss: float | None = None
    best_validation_loss_all_positions: float | None = None
    """Of the best epoch."""
    last_epoch: int = 0
    last_validation_loss: float | None = None
    batch_size: int
    num_parameters: int = 0
    seconds: float = 0.0
    tokens_per_second: float = 0.0
    peak_memory_bytes: int = 0
    model_files: list[str] = Field(default=[])


def result_of_exit(exit_code: int, batch_size: int) -> TrainingResult:
    """The outcome of a trial whose process ended without saying how.

    Args:
        exit_code: As Python gives it: negative for the signal that ended the process.
        batch_size: The trial's.
    """
    if exit_code == -signal.SIGKILL:
        return TrainingResult(
            kind=OutcomeKind.OUT_OF_MEMORY,
            reason="killed with SIGKILL, as the kernel does when memory runs out",
            batch_size=batch_size,
        )
    if exit_code < 0:
        reason = f"the trial's process was ended by {signal.Signals(-exit_code).name}"
    else:
        reason = f"the trial's process ended with exit code {exit_code} before it was done"
    return TrainingResult(kind=OutcomeKind.CRASHED, reason=reason, batch_size=batch_size)


class RunState(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    COMPLETE = "complete"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """To be continued: stopped by the user, or its coordinator died."""


@dataclass(frozen=True)
class Run:
    """One run as a reader of the study sees it."""

    number: int
    trial_number: int
    """Its newest trial."""
    state: RunState
    validation_loss: float | None
    labels: Mapping[str, str]
    """Parameter -> label of the chosen value."""
    losses: Mapping[int, float]
    """Validation loss per epoch, of all attempts."""
    attributes: Mapping[str, Any]
    """User attributes of the newest trial."""
    reason: str
    duplicate_of: int | None
    started: datetime | None
    ended: datetime | None
    num_attempts: int
