"""One attempt at one trial: write its `train.yaml`, train, export, and say how it ended."""

import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from sequifier_hpo.atomic import StagedFiles, remove_unfinished
from sequifier_hpo.config.run_file import run_file_text
from sequifier_hpo.messages import (
    BaselinesFound,
    BatchDone,
    EpochDone,
    EpochsRestored,
    FromWorker,
    RunTrial,
    TrialEnded,
)
from sequifier_hpo.records import BatchReport, EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.training.baselines import compute_baselines
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.loop import Hooks
from sequifier_hpo.training.run import train
from sequifier_hpo.worker.outcomes import outcome_of_error
from sequifier_hpo.worker.run_log import RunLog
from sequifier_hpo.worker.together import train_together

Send = Callable[[FromWorker], None]


def run_trial(
    order: RunTrial,
    open_data: Callable[[], TrainingData],
    send: Send,
    should_stop: Callable[[], bool],
) -> TrainingResult:
    """Carry out an order and send its events, the outcome last.

    Whatever goes wrong becomes an outcome with a reason; nothing is raised.
    """
    log: RunLog | None = None
    try:
        if order.config_path is not None:
            path = Path(order.config_path)
            remove_unfinished(path.parent, path.name.__eq__)  # of an attempt that was killed
            with StagedFiles() as files:
                files.add(path, _run_file(order).encode())
        log = RunLog(order.config)
        _log_start(order, log)
        result = _foreseen(order) or _train(order, open_data, send, should_stop, log)
    except Exception as error:  # noqa: BLE001 - the edge of the process: an outcome, not a crash
        result = outcome_of_error(error, order.config.training_spec.batch_size)
        if order.wants_baselines:  # they may have left something in the memory
            result = result.model_copy(update={"is_certain": False})
        if log is not None:
            _log_our_own(error, log)
    if log is not None:
        log.result(result)
        log.close()
    send(TrialEnded(trial_number=order.trial_number, result=result))
    return result


def _train(
    order: RunTrial,
    open_data: Callable[[], TrainingData],
    send: Send,
    should_stop: Callable[[], bool],
    log: RunLog,
) -> TrainingResult:
    config = order.config

    def on_epoch(report: EpochReport) -> None:
        log.epoch(report)
        send(EpochDone(trial_number=order.trial_number, report=report))

    def on_batch(report: BatchReport) -> None:
        log.batch(report)
        send(BatchDone(trial_number=order.trial_number, report=report))

    def on_restored(losses: Mapping[int, float]) -> None:
        send(EpochsRestored(trial_number=order.trial_number, validation_losses=dict(losses)))

    data = open_data()
    if order.wants_baselines:
        _tell_baselines(order, data, send, should_stop, log)

    def work(team: Team, should_stop: Callable[[], bool]) -> TrainingResult:
        return train(
            config,
            data,
            Hooks(
                on_epoch=on_epoch,
                on_batch=on_batch,
                on_message=log.message,
                should_stop=should_stop,
                on_restored=on_restored,
            ),
            resume=order.resume,
            counted=order.counted,
            identity=order.identity,
            checkpoints=order.checkpoints,
            team=team,
            weights=None if order.weights is None else Path(order.weights),
            max_batches=order.max_batches,
        )

    num_processes = config.training_spec.num_processes
    if num_processes == 1:
        return work(Team(), should_stop)
    log.message(f"training in {num_processes} processes")
    return train_together(config, work, should_stop, lambda error: _log_our_own(error, log))


def _foreseen(order: RunTrial) -> TrainingResult | None:
    """The outcome of a trial that is known before it is trained."""
    if not order.foreseen:
        return None
    kind, batch_size = OutcomeKind.OUT_OF_MEMORY, order.config.training_spec.batch_size
    return TrainingResult(kind=kind, reason=order.foreseen, batch_size=batch_size)


def _log_start(order: RunTrial, log: RunLog) -> None:
    batch_size = order.config.training_spec.batch_size
    log.message(f"--- Starting Training for model: {order.config.model_name} ---")
    log.message(f"trial {order.trial_number}, attempt {order.attempt}, batch size {batch_size}")
    for note in order.notes:
        log.message(note)
    log.event(
        "start",
        trial_number=order.trial_number,
        attempt=order.attempt,
        batch_size=batch_size,
        resume=order.resume,
    )


def _run_file(order: RunTrial) -> str:
    study_id = None if order.identity is None else order.identity.study_id
    return run_file_text(order.config, order.counted.last_positions, study_id)


def _tell_baselines(
    order: RunTrial,
    data: TrainingData,
    send: Send,
    should_stop: Callable[[], bool],
    log: RunLog,
) -> None:
    """Compute and send the losses of the trivial predictors; a failure costs only them."""
    try:
        found = compute_baselines(order.config, data, order.counted, should_stop)
    except Exception as error:  # noqa: BLE001 - a comparison must not cost the run
        reason = outcome_of_error(error, 1).reason
        log.message(f"the trivial predictors were not computed: {reason}", level="WARNING")
        return
    for baseline in found:
        log.message(f"trivial predictor, {baseline.name}: {baseline.loss:.6e}")
    if found:
        send(BaselinesFound(trial_number=order.trial_number, baselines=found))


def _log_our_own(error: Exception, log: RunLog) -> None:
    """Say where an error that is our own bug comes from."""
    if outcome_of_error(error, 1).kind is OutcomeKind.CRASHED:
        log.message("".join(traceback.format_exception(error)), level="ERROR")
