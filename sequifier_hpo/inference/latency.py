"""Measures how long the models of a study take for an event, as a program that asks for one does."""

import math
import platform
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import onnxruntime  # type: ignore[import-untyped]

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.inference.model_file import Model
from sequifier_hpo.records import Run
from sequifier_hpo.report import series
from sequifier_hpo.report.latencies import Latency, keep_latencies, read_latencies, with_these
from sequifier_hpo.report.leaderboard import leaderboard
from sequifier_hpo.report.tables import model_name
from sequifier_hpo.words import counted

_ROUNDS = 4
_SECONDS_OF_A_ROUND = 0.004  # per model, after its first calls
_WARM_UP = 3
_LEAST_CALLS = 5
_MOST_SECONDS = 30.0  # of a command: the models of the worst runs are left for the next one


def measured(
    source: StudySource,
    runs: Sequence[Run],
    on_message: Callable[[str], None],
    clock: Callable[[], float] = time.perf_counter,
) -> Sequence[Run]:
    """Measure the models that are here and were not measured on this machine; keep the figures.

    Where nothing can be written next to the study they are measured again the next time.

    Args:
        source: The study.
        runs: Its runs.
        on_message: Told what a person should know.
        clock: Seconds that only grow.

    Returns:
        The runs, those with a model with `milliseconds_per_event` and `measured_on`.
    """
    machine = this_machine()
    latencies = read_latencies(source.study_folder, runs)
    todo = [
        (run, path)
        for run in leaderboard(run for run in runs if run.duplicate_of is None)
        if (path := _model_file(source, run)).is_file()
        and (run.number not in latencies or latencies[run.number].measured_on != machine)
    ]
    if not todo:
        return with_these(latencies, runs)
    on_message(f"measuring the latency of {counted(len(todo), 'model')}")
    for run, time_of_event in _times(todo, clock):
        latencies[run.number] = Latency(
            validation_loss=series.loss_of(run),
            milliseconds_per_event=1000 * time_of_event,
            measured_on=machine,
        )
    with suppress(EnvironmentFaultError):
        keep_latencies(source.study_folder, latencies)
    return with_these(latencies, runs)


def _times(
    models: Sequence[tuple[Run, Path]], clock: Callable[[], float]
) -> Iterator[tuple[Run, float]]:
    """Runs whose model is their own, and the seconds that it takes: of the calmest round.

    A machine that does something else as well slows down whatever is measured at that moment, so
    that every model has its turn again and again.
    """
    least: dict[int, float] = {}
    until = clock() + _MOST_SECONDS
    for _ in range(_ROUNDS):
        for place, (run, path) in enumerate(models):
            if clock() > until:
                break
            with suppress(InputError, EnvironmentFaultError):
                model = Model(path, num_threads=1)
                if model.about.best_validation_loss == run.loss_as_trained:
                    least[place] = min(_seconds(model, clock), least.get(place, math.inf))
    for place, seconds in least.items():
        yield models[place][0], seconds


def this_machine() -> str:
    """What the time of a call depends on, as far as it has names."""
    name = socket.gethostname()
    return f"one thread of {name} ({_processor()}), onnxruntime {onnxruntime.__version__}"


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _model_file(source: StudySource, run: Run) -> Path:
    """Where the ONNX file of a run's best epoch is, if it was exported here."""
    epoch, name = run.figures.epochs_run or 0, model_name(source.name, run)
    return source.paths.model(name, "best", epoch, "onnx", embedding=False)


def _seconds(model: Model, clock: Callable[[], float]) -> float:
    """The median of some calls for one event."""
    history = model.blank()
    for _ in range(_WARM_UP):
        model.predict(history)
    times: list[float] = []
    until = clock() + _SECONDS_OF_A_ROUND
    while len(times) < _LEAST_CALLS or clock() < until:
        before = clock()
        model.predict(history)
        times.append(clock() - before)
    return statistics.median(times)
