"""One attempt at one trial: write its `train.yaml`, train, export, and say how it ended."""

import traceback
from collections.abc import Callable
from pathlib import Path

from sequifier_hpo.atomic import remove_unfinished, write_atomically
from sequifier_hpo.config.train import train_yaml
from sequifier_hpo.errors import SequifierHpoError
from sequifier_hpo.messages import BatchDone, EpochDone, FromWorker, RunTrial, TrialEnded
from sequifier_hpo.records import BatchReport, EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.memory import is_out_of_memory
from sequifier_hpo.training.run import train
from sequifier_hpo.worker.run_log import RunLog

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
            write_atomically(path, train_yaml(order.config))
        log = RunLog(order.config)
        result = _train(order, open_data, send, should_stop, log)
    except Exception as error:  # noqa: BLE001 - the edge of the process: an outcome, not a crash
        result = _outcome_of(error, order)
        if log is not None and result.kind == OutcomeKind.CRASHED:
            log.message(traceback.format_exc(), level="ERROR")
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
    spec = config.training_spec
    log.message(f"--- Starting Training for model: {config.model_name} ---")
    log.message(
        f"trial {order.trial_number}, attempt {order.attempt}, batch size {spec.batch_size}"
    )
    for note in order.notes:
        log.message(note)
    log.event(
        "start",
        trial_number=order.trial_number,
        attempt=order.attempt,
        batch_size=spec.batch_size,
        resume=order.resume,
    )

    def on_epoch(report: EpochReport) -> None:
        log.epoch(report)
        send(EpochDone(trial_number=order.trial_number, report=report))

    def on_batch(report: BatchReport) -> None:
        log.batch(report)
        send(BatchDone(trial_number=order.trial_number, report=report))

    return train(
        config,
        open_data(),
        on_epoch=on_epoch,
        on_batch=on_batch,
        on_message=log.message,
        should_stop=should_stop,
        resume=order.resume,
    )


def _outcome_of(error: Exception, order: RunTrial) -> TrainingResult:
    if is_out_of_memory(error):
        kind, reason = OutcomeKind.OUT_OF_MEMORY, _first_line(error)
    elif isinstance(error, SequifierHpoError):
        kind, reason = OutcomeKind.INVALID, str(error)
    else:
        kind, reason = OutcomeKind.CRASHED, f"{type(error).__name__}: {_first_line(error)}"
    return TrainingResult(
        kind=kind, reason=reason, batch_size=order.config.training_spec.batch_size
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["(no message)"])[0]
