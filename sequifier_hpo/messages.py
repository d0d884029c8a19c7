"""Messages between coordinator and worker: one JSON object per line, over a pipe."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import (
    Baseline,
    BatchReport,
    Checkpoints,
    Counted,
    EpochReport,
    RunIdentity,
    TrainingResult,
)


class RunTrial(FrozenModel):
    """To a worker: train this configuration and report."""

    kind: Literal["run_trial"] = "run_trial"
    trial_number: int
    attempt: int
    """From 1; above 1 after an out-of-memory retry."""
    config: TrainConfig
    config_path: str | None
    """Where the run's `train.yaml` is written before the first step; None = it exists already."""
    resume: bool
    """Whether to continue from the run's newest checkpoint."""
    identity: RunIdentity | None = None
    """What the run is; a checkpoint is continued only by the run it belongs to."""
    checkpoints: Checkpoints = Checkpoints.OWN
    """What to do with those under the run's name that are not known to be its own."""
    counted: Counted = Counted()
    """Which positions the validation loss counts."""
    weights: str | None = None
    """The file whose weights a run that starts afresh begins with; None = drawn ones."""
    max_batches: int | None = None
    """After how many batches, of all epochs together, the run ends; None = with its last epoch."""
    wants_baselines: bool = False
    """Whether to compute the losses of the trivial predictors before training."""
    foreseen: str = ""
    """Why it is known to run out of memory: then it is not trained, and that is its outcome."""
    notes: list[str] = Field(default=[])
    """Lines for the head of the run's log: adjustments, retries."""


class StopTrials(FrozenModel):
    """To a worker: write checkpoints and end all running trials."""

    kind: Literal["stop_trials"] = "stop_trials"


class WorkerReady(FrozenModel):
    """From a worker: ready for trials."""

    kind: Literal["worker_ready"] = "worker_ready"
    pid: int


class TrialStarted(FrozenModel):
    """From a worker: the process of a trial runs."""

    kind: Literal["trial_started"] = "trial_started"
    trial_number: int
    pid: int


class BatchDone(FrozenModel):
    """From a trial: progress inside an epoch."""

    kind: Literal["batch_done"] = "batch_done"
    trial_number: int
    report: BatchReport


class EpochDone(FrozenModel):
    """From a trial: an epoch with its validation loss."""

    kind: Literal["epoch_done"] = "epoch_done"
    trial_number: int
    report: EpochReport


class EpochsRestored(FrozenModel):
    """From a trial: the epochs that its run had been through when it was continued."""

    kind: Literal["epochs_restored"] = "epochs_restored"
    trial_number: int
    validation_losses: dict[int, float]
    """By epoch, as far as the checkpoint knows them."""


class BaselinesFound(FrozenModel):
    """From a trial: the losses of the trivial predictors on its validation events."""

    kind: Literal["baselines_found"] = "baselines_found"
    trial_number: int
    baselines: list[Baseline]


class TrialEnded(FrozenModel):
    """From a worker: the one outcome of an attempt."""

    kind: Literal["trial_ended"] = "trial_ended"
    trial_number: int
    result: TrainingResult


ToWorker = RunTrial | StopTrials
FromWorker = (
    WorkerReady
    | TrialStarted
    | EpochsRestored
    | BatchDone
    | EpochDone
    | BaselinesFound
    | TrialEnded
)

_TO_WORKER: TypeAdapter[ToWorker] = TypeAdapter(Annotated[ToWorker, Field(discriminator="kind")])
_FROM_WORKER: TypeAdapter[FromWorker] = TypeAdapter(
    Annotated[FromWorker, Field(discriminator="kind")]
)


class Lines:
    """Assembles the pieces of a byte stream into complete lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Take the next piece; returns the lines that it completes, without their line breaks."""
        *complete, self._rest = (self._rest + piece).split(b"\n")
        return complete


def encode(message: FrozenModel) -> bytes:
    """One line of JSON, line break included; floats survive exactly."""
    return message.model_dump_json().encode() + b"\n"


def decode_to_worker(line: bytes) -> ToWorker:
    """Parse a line written by the coordinator."""
    return _TO_WORKER.validate_json(line)


def decode_from_worker(line: bytes) -> FromWorker:
    """Parse a line written by a worker."""
    return _FROM_WORKER.validate_json(line)
