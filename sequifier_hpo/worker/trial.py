"""One attempt at one trial: write its `train.yaml`, train, export, and say how it ended."""

import traceback
from collections.abc import Callable
from pathlib import Path

from sequifier_hpo.atomic import StagedFiles, remove_unfinished
from sequifier_hpo.config.train import train_yaml
from sequifier_hpo.messages import BatchDone, EpochDone, FromWorker, RunTrial, TrialEnded
from sequifier_hpo.records import BatchReport, EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.distributed import Team
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
                files.add(path, train_yaml(order.config).encode())
        log = RunLog(order.config)
        result = _train(order, open_data, send, should_stop, log)
    except Exception as error:  # noqa: BLE001 - the edge of the process: an outcome, not a crash
        result = outcome_of_error(error, order.config.training_spec.batch_size)
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

    data = open_data()

    def work(team: Team, should_stop: Callable[[], bool]) -> TrainingResult:
        return train(
            config,
            data,
            on_epoch=on_epoch,
            on_batch=on_batch,
            on_message=log.message,
            should_stop=should_stop,
            resume=order.resume,
            identity=order.identity,
            checkpoints=order.checkpoints,
            team=team,
        )

    if spec.num_processes == 1:
        return work(Team(), should_stop)
    log.message(f"training in {spec.num_processes} processes")
    return train_together(config, work, should_stop, lambda error: _log_our_own(error, log))


def _log_our_own(error: Exception, log: RunLog) -> None:
    """Say where an error comes from that is no one's mistake but ours."""
    if outcome_of_error(error, 1).kind is OutcomeKind.CRASHED:
        log.message("".join(traceback.format_exception(error)), level="ERROR")
