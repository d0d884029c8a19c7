"""Values passed between packages: what happened in a run, without any library's types."""

import json
import signal
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from pydantic import ConfigDict, Field, FiniteFloat

from sequifier_hpo.config.schema import FrozenModel


class Counted(FrozenModel):
    """Which positions of a window the validation loss counts."""

    last_positions: int | None = None
    """That many at the end of every window, whatever comes before; None = all."""
    padding_is_stored: bool = False
    """Whether the windows say themselves how many of their items are padding."""


ALL_POSITIONS = Counted()


@dataclass(frozen=True)
class Recount:
    """Which positions the losses of a study count from now on."""

    counted: Counted
    formerly: int
    """So many at the end of every window counted so far."""

    @property
    def is_over_fewer(self) -> bool:
        """Whether losses so far would have to be evaluated anew."""
        last = self.counted.last_positions
        return last is not None and last < self.formerly


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

    def reading(self, columns: Collection[str]) -> Self:
        """The same of those who read some of the columns only."""
        return self.model_copy(
            update={
                name: split.model_copy(
                    update={"columns": {c: d for c, d in split.columns.items() if c in columns}}
                )
                for name, split in (("training", self.training), ("validation", self.validation))
            }
        )

    def with_columns_of(self, other: Self) -> Self:
        """The same with the columns that only another digest of the same data has."""
        return self.model_copy(
            update={
                name: split.model_copy(update={"columns": {**new.columns, **split.columns}})
                for name, split, new in (
                    ("training", self.training, other.training),
                    ("validation", self.validation, other.validation),
                )
            }
        )


class RunIdentity(FrozenModel):
    """What a run is, for those who would continue or overwrite it."""

    study_id: str | None
    """Unique id of the study that the run belongs to; None = it is trained alone."""
    key: str
    """Digest of the train config as it was asked, and of the data."""
    data: DataDigest
    """Of the columns that the run reads."""


class Checkpoints(StrEnum):
    """What to do with checkpoints under a run's name that are not known to be its own."""

    OWN = "own"
    """Only the run's own are continued or removed; any other fails the run before it begins."""
    TRUSTED = "trusted"
    """One that does not record its data is assumed to belong to the present data."""
    REMOVED = "removed"
    """The run starts afresh, and all of them are removed, its own too."""


class Baseline(FrozenModel):
    """The validation loss of a trivial predictor."""

    name: str
    loss: float


class BatchPlan(FrozenModel):
    """The batches that out-of-memory retries have left a run with."""

    batch_size: int
    accumulation_steps: int | None
    """None = not known: studies of 0.1.0 did not store it."""
    oom_retries: int


class MemoryNeed(FrozenModel):
    """What the training steps of a run take, as far as it can be compared with what others take."""

    device: str
    """The kind of device, and how much memory it has."""
    like: str
    """Digest of all that must be equal for two runs to be compared."""
    sizes: dict[str, int]
    """With each of these the memory grows."""

    def is_at_least(self, other: Self) -> bool:
        """Whether it is certain that it is as much as another, or more."""
        return (
            (self.device, self.like, self.sizes.keys())
            == (other.device, other.like, other.sizes.keys())
        ) and all(size >= other.sizes[name] for name, size in self.sizes.items())


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
    num_parameters: int
    total_seconds: float
    """Spent on training and validation since the run began."""


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
    is_certain: bool = False
    """Whether it would have run out of memory whatever else there was on the device."""
    model_files: list[str] = Field(default=[])


@dataclass(frozen=True)
class Failure:
    """A trial that failed in a way that may stop the search."""

    trial_number: int
    reason: str


def result_of_exit(exit_code: int, batch_size: int) -> TrainingResult:
    """The outcome of a trial whose process ended without reporting one.

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
        reason = f"the trial's process exited with code {exit_code} before it was done"
    return TrainingResult(kind=OutcomeKind.CRASHED, reason=reason, batch_size=batch_size)


class AsTrained(FrozenModel):
    """What a run had come to before its study counted fewer positions."""

    last_positions: int
    """So many at the end of every window counted then."""
    loss: float | None
    """Its validation loss; None if it had none yet."""
    losses: dict[int, float] = Field(default={})
    """By epoch."""


@dataclass(frozen=True)
class EvaluatedLoss:
    """What a kept model is found to be worth on the validation split."""

    compared: float
    """Over the positions that count in the study."""
    all_positions: float
    """Over all positions of the run's own window."""


class RunFigures(FrozenModel):
    """What was measured of a run, as its newest trial stores it; None = not known, or not yet.

    The last two are kept beside the study: a model is measured by whoever looks at it.
    """

    model_config = ConfigDict(extra="ignore")

    best_epoch: int | None = None
    epochs_run: int | None = None
    seconds: FiniteFloat | None = None
    tokens_per_second: FiniteFloat | None = None
    num_parameters: int | None = None
    effective_batch_size: int | None = None
    """What the run was finally trained with."""
    oom_retries: int | None = None
    oom_foreseen: int | None = None
    """Attempts that were counted as out of memory without being made."""
    peak_memory_mib: FiniteFloat | None = None
    effective_accumulation_steps: int | None = None
    validation_loss_all_positions: float | None = None
    """Of the best epoch, over all of the run's own positions, where fewer are compared."""
    epochs_trained: int | None = None
    """Of a run that was stopped: also those that were dropped then."""
    as_trained: AsTrained | None = None
    """What was evaluated anew since, or is to be trained anew."""
    explanation: str = ""
    """Why it failed, in words."""
    milliseconds_per_event: FiniteFloat | None = None
    """Of its ONNX file, one event at a time on one thread."""
    measured_on: str | None = None
    """Machine and program; only what was measured on the same ones can be compared."""


class RunState(StrEnum):
    """State of a run."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    """Stopped at a rung, for the other runs were better there."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """Resumable: stopped by the user, or its coordinator died."""


Stored = str | float
"""What Optuna stores for a parameter: a label, or a number of a range."""


@dataclass(frozen=True)
class Run:
    """One run as a reader of the study sees it."""

    number: int
    trial_number: int
    """Its newest trial."""
    state: RunState
    validation_loss: float | None
    labels: Mapping[str, Stored]
    """Parameter -> label of the chosen value; range -> the number that was drawn."""
    losses: Mapping[int, float]
    """Validation loss per epoch, of all its trials."""
    attributes: Mapping[str, Any]
    """User attributes of the newest trial, as optuna-dashboard shows them."""
    reason: str
    duplicate_of: int | None
    started: datetime | None
    ended: datetime | None
    num_trials: int
    key: str = ""
    """Its identity: digest of what it trains and of the data it reads."""
    ordinal: int = 0
    """From 0: the order in which the study first handed its runs out."""
    point: Mapping[str, Any] = field(default_factory=dict)
    """The chosen values by parameter, as JSON has them; empty in studies of 0.1.0."""
    is_of_other_data: bool = False
    """Whether other data took the place of those it was trained on; then it is never ranked."""
    is_outside: bool = False
    """Whether the space of the study was revised since, and does not have it any more."""
    counts_other_positions: bool = False
    """Whether its loss is over more positions than the study's are by now: it is never ranked."""
    ranks_outside: bool = False
    """Whether it is ranked although it is outside, as somebody has asked."""
    host: str = ""
    """The machine that holds its files."""
    folder: str = ""
    """The project's root there."""
    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Files that the study keeps of it: file name -> id."""
    logarithmic: frozenset[str] = frozenset()
    """Those of its ranges whose numbers are drawn by their logarithm."""
    stopped_at: int | None = None
    """Epoch of the rung at which it was stopped, also if it was given its full length since."""
    unused: Mapping[str, float] = field(default_factory=dict)
    """Ranges that it does not have -> the numbers that were proposed for them all the same."""

    @property
    def is_current(self) -> bool:
        """Whether it is a run of the present space on the present data: others are not ranked."""
        if self.is_of_other_data or self.counts_other_positions:
            return False
        return self.ranks_outside or not self.is_outside

    @property
    def best_loss(self) -> float | None:
        """Smallest validation loss so far; of a complete run, its validation loss."""
        return min(self.losses.values(), default=self.validation_loss)

    @property
    def loss(self) -> float | None:
        """Validation loss of a complete run, best loss of one that was stopped early; else None."""
        return self.best_loss if self.state is RunState.PRUNED else self.validation_loss

    @property
    def loss_as_trained(self) -> float | None:
        """Validation loss of a complete run as its model file states it, be it over more positions."""
        before = self.figures.as_trained
        if self.validation_loss is None or before is None or before.loss is None:
            return self.validation_loss
        return before.loss

    @property
    def epochs_trained(self) -> int:
        """The last epoch that it has got to, be it dropped when the run was stopped."""
        figures = self.figures
        before = () if figures.as_trained is None else figures.as_trained.losses
        return max(*self.losses, *before, figures.epochs_run or 0, figures.epochs_trained or 0)

    @cached_property
    def figures(self) -> RunFigures:
        """What was measured of it."""
        return RunFigures.model_validate(self.attributes)

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """Field -> chosen value that a cell of a table can hold.

        Rows of linked groups and recipes are taken apart; an argument of a recipe is called
        `optimizer.weight_decay`.
        """
        return field_values(self.point)


def seconds_per_epoch(runs: Iterable[Run]) -> float | None:
    """What a worker needs for an epoch, over all epochs of some runs; None if none is measured."""
    measured = [
        (figures.seconds, figures.epochs_run)
        for run in runs
        if run.duplicate_of is None and (figures := run.figures).seconds and figures.epochs_run
    ]
    if not measured:
        return None
    return sum(seconds for seconds, _ in measured) / sum(epochs for _, epochs in measured)


def field_values(point: Mapping[str, Any]) -> dict[str, Any]:
    """Field -> value of a point, as `Run.values`."""
    return dict(_flat(point))


def _flat(point: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for parameter, chosen in point.items():
        is_row = isinstance(chosen, dict) and "name" not in chosen
        row = chosen if is_row else {parameter: chosen}
        yield from (part for field, value in row.items() for part in _parts(field, value))


def _parts(field: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield field if name == "name" else f"{field}.{name}", _plain(part)
    else:
        yield field, _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return json.dumps(value) if isinstance(value, dict) else value
