"""One run alone: the same worker and the same code as a trial, without a study."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.pool import WorkerGone, WorkerPool
from sequifier_hpo.coordinator.stop_signals import stop_signals
from sequifier_hpo.messages import EpochDone, RunTrial, TrialEnded
from sequifier_hpo.records import (
    Checkpoints,
    Counted,
    EpochReport,
    OutcomeKind,
    RunIdentity,
    TrainingResult,
)

_POLL_SECONDS = 0.5


def run_single(
    pool: WorkerPool,
    config: TrainConfig,
    on_epoch: Callable[[EpochReport], None],
    *,
    counted: Counted = Counted(),  # noqa: B008 - an immutable value
    identity: RunIdentity | None = None,
    checkpoints: Checkpoints = Checkpoints.OWN,
) -> TrainingResult:
    """Train one configuration in a pool's first slot; a signal ends it with a checkpoint."""
    order = RunTrial(
        trial_number=0,
        attempt=1,
        config=config,
        config_path=None,
        # Trusting a checkpoint means wanting to continue it.
        resume=config.training_spec.continue_training or checkpoints is Checkpoints.TRUSTED,
        identity=identity,
        counted=counted,
        checkpoints=checkpoints,
    )
    pool.run(0, order)
    with _stopping(pool):
        while True:
            for event in pool.poll(_POLL_SECONDS):
                if isinstance(event, EpochDone):
                    on_epoch(event.report)
                elif isinstance(event, TrialEnded):
                    return event.result
                elif isinstance(event, WorkerGone):
                    return TrainingResult(
                        kind=OutcomeKind.CRASHED,
                        reason=f"the worker process ended with exit code {event.exit_code}",
                        batch_size=config.training_spec.batch_size,
                    )


@contextmanager
def _stopping(pool: WorkerPool) -> Iterator[None]:
    """Let the first signal stop the trial gently, and a second end it at once."""
    received: list[int] = []

    def on_signal(number: int, _frame: object) -> None:
        received.append(number)
        if len(received) == 1:
            pool.stop_trials()
        else:
            pool.kill()
            raise KeyboardInterrupt

    before = {n: signal.signal(n, on_signal) for n in stop_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
