"""One run alone: the same worker and the same code as a trial, without a study."""

from collections.abc import Callable

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.pool import WorkerGone, WorkerPool
from sequifier_hpo.coordinator.stop_signals import StopSignals
from sequifier_hpo.messages import EpochDone, RunTrial, TrialEnded
from sequifier_hpo.records import (
    ALL_POSITIONS,
    Checkpoints,
    Counted,
    EpochReport,
    OutcomeKind,
    RunIdentity,
    TrainingResult,
)

_POLL_SECONDS = 0.5


def order_of(
    config: TrainConfig,
    *,
    counted: Counted = ALL_POSITIONS,
    identity: RunIdentity | None = None,
    checkpoints: Checkpoints = Checkpoints.OWN,
    weights: str | None = None,
    max_batches: int | None = None,
) -> RunTrial:
    """The order to train a configuration alone; its parts are those of every order."""
    return RunTrial(
        trial_number=0,
        attempt=1,
        config=config,
        config_path=None,
        # Trusting a checkpoint means wanting to continue it.
        resume=config.training_spec.continue_training or checkpoints is Checkpoints.TRUSTED,
        identity=identity,
        counted=counted,
        checkpoints=checkpoints,
        weights=weights,
        max_batches=max_batches,
    )


def run_single(
    pool: WorkerPool, order: RunTrial, on_epoch: Callable[[EpochReport], None]
) -> TrainingResult:
    """Carry out an order in a pool's first slot; a signal ends it with a checkpoint.

    Raises:
        KeyboardInterrupt: After a second signal, which ends it at once.
    """
    pool.run(0, order)
    stops = StopSignals()
    is_stopping = False
    with stops.listening(pool.wake_on):
        while True:
            events = pool.poll(_POLL_SECONDS)
            if len(stops.received) > 1:
                pool.kill()
                raise KeyboardInterrupt
            if stops.received and not is_stopping:
                is_stopping = True
                pool.stop_trials()
            for event in events:
                if isinstance(event, EpochDone):
                    on_epoch(event.report)
                elif isinstance(event, TrialEnded):
                    return event.result
                elif isinstance(event, WorkerGone):
                    return TrainingResult(
                        kind=OutcomeKind.CRASHED,
                        reason=f"the worker process ended with exit code {event.exit_code}",
                        batch_size=order.config.training_spec.batch_size,
                    )
