"""Where trials run: what the coordinator asks of a pool, and the pool of worker processes."""

import logging
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, assert_never

from sequifier_hpo.config.storage_url import STORAGE_VARIABLE
from sequifier_hpo.config.user_file import NOTIFY_VARIABLE
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.log_lines import open_to_append
from sequifier_hpo.messages import (
    BaselinesFound,
    BatchDone,
    EpochDone,
    EpochsRestored,
    FromWorker,
    Lines,
    RunTrial,
    StopTrials,
    TrialEnded,
    TrialStarted,
    WorkerReady,
    decode_from_worker,
    encode,
)
from sequifier_hpo.python_path import python_environment
from sequifier_hpo.records import OutcomeKind, result_of_exit

_CHUNK_BYTES = 65536
_CLOSE_SECONDS = 5.0
_log = logging.getLogger("sequifier_hpo.coordinator")
_REQUESTS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals by which someone else ends a process; not its own fault."""


_FORKING_ENVIRONMENT = {
    # Before torch is imported: its thread pools are sized then.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # The C library keeps what a step frees for the next one, which needs as much again. To return it
    # to the system and fault it in anew takes up to a quarter of a step on a virtual machine.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}


@dataclass(frozen=True)
class WorkerSpec:
    """One worker process to keep running."""

    num_slots: int
    """Trials at the same time."""
    is_resident: bool
    """Whether trials run in the worker's own process (GPU) instead of in forked ones."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkerGone:
    """A worker process ended while a trial of it was running."""

    trial_number: int
    exit_code: int


PoolEvent = FromWorker | WorkerGone


class Pool(Protocol):
    """Runs trials in slots, one at a time in each, and reports their outcomes."""

    @property
    def slots(self) -> Sequence[int]:
        """The slots that trials can be started in."""

    def run(self, slot: int, order: RunTrial) -> None:
        """Start an attempt at a trial in a slot that is free."""

    def poll(self, timeout_seconds: float) -> list[PoolEvent]:
        """Events since the last call; waits up to the timeout for the first.

        Raises:
            EnvironmentFaultError: If nothing can be run here.
        """

    def wake_on(self, descriptor: int) -> None:
        """End a running `poll` when this descriptor becomes readable."""

    def stop_trials(self) -> None:
        """Ask every trial to write a checkpoint and end."""

    def end_trial(self, trial_number: int) -> None:
        """Ask one trial to write a checkpoint and end; nothing happens if its end was polled before."""

    def kill_trial(self, trial_number: int) -> None:
        """End one trial at once; its slot is free."""

    def close(self) -> None:
        """End everything, and release it."""

    def kill(self) -> None:
        """End everything at once; `close` still cleans up."""


class WorkerPool(Pool):
    """Runs trials in worker processes; each slot holds one trial at a time."""

    def __init__(self, specs: Sequence[WorkerSpec], stderr_path: Path) -> None:
        """Start all workers; they import torch while the caller goes on.

        Args:
            specs: The workers to keep running.
            stderr_path: Where their error output goes.

        Raises:
            EnvironmentFaultError: If that file cannot be written.
            OSError: If the machine can start no more processes; those that were started end.
        """
        self._stderr_path = stderr_path
        self._stderr = os.fdopen(open_to_append(stderr_path), "ab")
        self._selector = selectors.DefaultSelector()
        self._workers = [_Worker(spec) for spec in specs]
        self._worker_of_slot = [
            worker for worker in self._workers for _ in range(worker.spec.num_slots)
        ]
        try:
            for worker in self._workers:
                self._start(worker)
        except BaseException:
            self.kill()
            self.close()
            raise

    @property
    def slots(self) -> range:
        """The slots that trials can be started in."""
        return range(len(self._worker_of_slot))

    def run(self, slot: int, order: RunTrial) -> None:
        """Start an attempt at a trial in a slot."""
        worker = self._worker_of_slot[slot]
        if worker.process is None:
            self._start(worker)
        worker.trials[order.trial_number] = _Trial(order.config.training_spec.batch_size)
        self._send(worker, encode(order))

    def poll(self, timeout_seconds: float) -> list[PoolEvent]:
        """Events since the last call; waits up to the timeout for the first.

        Raises:
            EnvironmentFaultError: If a worker process cannot even start.
        """
        events: list[PoolEvent] = []
        for key, mask in self._selector.select(timeout_seconds):
            if key.data is None:
                os.read(key.fd, _CHUNK_BYTES)  # only there to wake us
            elif mask & selectors.EVENT_WRITE:
                self._flush(key.data)
            else:
                events += self._read(key.data)
        return events

    def wake_on(self, descriptor: int) -> None:
        """End a running `poll` when this descriptor becomes readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, None)

    def stop_trials(self) -> None:
        """Ask every trial to write a checkpoint and end."""
        for worker in self._workers:
            if worker.spec.is_resident and worker.process is not None and worker.trials:
                worker.process.send_signal(signal.SIGTERM)
            else:
                self._send(worker, encode(StopTrials()))

    def end_trial(self, trial_number: int) -> None:
        """Ask one trial to write a checkpoint and end."""
        for worker in self._workers:
            trial = worker.trials.get(trial_number)
            if trial is not None:
                trial.is_to_end = True
                if trial.pid is not None:
                    _signal(trial.pid, signal.SIGTERM)

    def kill_trial(self, trial_number: int) -> None:
        """End the process of one trial at once."""
        for worker in self._workers:
            trial = worker.trials.pop(trial_number, None)
            if trial is not None and trial.pid is not None:
                _kill(trial.pid)

    def close(self) -> None:
        """End all workers, at once if they do not end by themselves."""
        for worker in self._workers:
            self._close_input(worker)
        deadline = time.monotonic() + _CLOSE_SECONDS
        for worker in self._workers:
            if worker.process is not None:
                try:
                    worker.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    worker.process.kill()
                self._discard(worker)
        self._selector.close()
        self._stderr.close()

    def kill(self) -> None:
        """End all processes at once; `close` still cleans up."""
        for worker in self._workers:
            for trial in worker.trials.values():
                if trial.pid is not None:
                    _kill(trial.pid)
            if worker.process is not None:
                worker.process.kill()

    # Inside

    def _start(self, worker: "_Worker") -> None:
        command = [sys.executable, "-m", "sequifier_hpo.worker", "--parent", str(os.getpid())]
        if worker.spec.is_resident:
            command.append("--resident")
        environment = {**python_environment(), **worker.spec.environment}
        for secret in (STORAGE_VARIABLE, NOTIFY_VARIABLE):
            environment.pop(secret, None)  # no worker needs it
        if not worker.spec.is_resident:
            environment |= _FORKING_ENVIRONMENT
        worker.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is for the coordinator alone
        )
        assert worker.process.stdin is not None
        assert worker.process.stdout is not None
        worker.input = worker.process.stdin.fileno()
        worker.output = worker.process.stdout.fileno()
        worker.output_lines, worker.unsent = Lines(), b""
        worker.is_ready = False
        # Never wait for a worker that waits for us.
        os.set_blocking(worker.input, False)
        self._selector.register(worker.output, selectors.EVENT_READ, worker)

    def _send(self, worker: "_Worker", data: bytes) -> None:
        if worker.input >= 0:
            worker.unsent += data
            self._flush(worker)

    def _flush(self, worker: "_Worker") -> None:
        """Write as much as the pipe takes; the rest follows when the selector says so."""
        was_waiting = worker.is_waiting_to_write
        try:
            worker.unsent = worker.unsent[os.write(worker.input, worker.unsent) :]
        except BlockingIOError:
            pass
        except BrokenPipeError:
            worker.unsent = b""  # it is dead; the end of its output tells
        worker.is_waiting_to_write = bool(worker.unsent)
        if worker.is_waiting_to_write and not was_waiting:
            self._selector.register(worker.input, selectors.EVENT_WRITE, worker)
        elif was_waiting and not worker.is_waiting_to_write:
            self._selector.unregister(worker.input)

    def _close_input(self, worker: "_Worker") -> None:
        if worker.input >= 0:
            if worker.is_waiting_to_write:
                self._selector.unregister(worker.input)
            assert worker.process is not None
            assert worker.process.stdin is not None
            worker.process.stdin.close()
            worker.input, worker.is_waiting_to_write = -1, False

    def _read(self, worker: "_Worker") -> list[PoolEvent]:
        chunk = os.read(worker.output, _CHUNK_BYTES)
        if not chunk:
            return self._ended(worker)
        events: list[PoolEvent] = []
        for message in map(decode_from_worker, worker.output_lines.feed(chunk)):
            events.append(message)
            match message:
                case WorkerReady():
                    worker.is_ready = True
                case TrialStarted(trial_number=number, pid=pid):
                    if number in worker.trials:
                        worker.trials[number].pid = pid
                        if worker.trials[number].is_to_end:
                            _signal(pid, signal.SIGTERM)
                    else:
                        _kill(pid)  # it was to be killed before it was known by which pid
                case TrialEnded():
                    worker.trials.pop(message.trial_number, None)
                    self._replace_after_failure(worker, message)
                case EpochsRestored() | BatchDone() | EpochDone() | BaselinesFound():
                    pass
                case _:
                    assert_never(message)
        return events

    def _ended(self, worker: "_Worker") -> list[PoolEvent]:
        """A worker has exited; the next order starts a replacement."""
        assert worker.process is not None
        pid, exit_code = worker.process.pid, self._discard(worker)
        trials, worker.trials = worker.trials, {}
        fields = {"worker": pid, "exit_code": exit_code, "trial_numbers": sorted(trials)}
        _log.warning("worker lost", extra=fields)
        if not worker.is_ready and exit_code >= 0:  # a killed one may be replaced
            raise EnvironmentFaultError(
                f"a worker process could not start (exit code {exit_code}):\n"
                f"{_tail(self._stderr_path)}",
                f"see {self._stderr_path}; `python -c 'import torch'` must work in this environment",
            )
        return [_end_of(worker.spec, number, trial, exit_code) for number, trial in trials.items()]

    def _replace_after_failure(self, worker: "_Worker", message: TrialEnded) -> None:
        """A process that ran out of device memory or crashed may be in a bad state; replace it."""
        kind = message.result.kind
        if worker.spec.is_resident and kind in {OutcomeKind.OUT_OF_MEMORY, OutcomeKind.CRASHED}:
            assert worker.process is not None
            fields = {"worker": worker.process.pid, "trial_number": message.trial_number}
            worker.process.kill()
            self._discard(worker)
            _log.info("worker replaced", extra={**fields, "why": kind.value})

    def _discard(self, worker: "_Worker") -> int:
        """Forget a process that has ended or was killed; returns its exit code."""
        assert worker.process is not None
        assert worker.process.stdout is not None
        self._close_input(worker)
        self._selector.unregister(worker.output)
        worker.process.stdout.close()
        exit_code = worker.process.wait()
        worker.process = None
        return exit_code


@dataclass
class _Trial:
    """A trial that was handed to a worker."""

    batch_size: int
    pid: int | None = None
    """Of its process, once known."""
    is_to_end: bool = False
    """Whether it was asked to end."""


def _end_of(spec: WorkerSpec, trial_number: int, trial: _Trial, exit_code: int) -> PoolEvent:
    """What the end of a worker means for a trial of it.

    A resident worker is the trial's own process: how it ended is how the trial ended. A worker
    that forks trials is not, and neither is one that was asked to end.
    """
    if not spec.is_resident or trial.pid is None or -exit_code in _REQUESTS:
        return WorkerGone(trial_number, exit_code)
    result = result_of_exit(exit_code, trial.batch_size)
    return TrialEnded(trial_number=trial_number, result=result)


@dataclass
class _Worker:
    """One worker process, or none while it is not running."""

    spec: WorkerSpec
    process: subprocess.Popen[bytes] | None = None
    input: int = -1
    """Descriptor of the pipe that it reads; -1 = closed."""
    output: int = -1
    """Descriptor of the pipe that it writes."""
    unsent: bytes = b""
    output_lines: Lines = field(default_factory=Lines)
    is_ready: bool = False
    """Whether the process is up."""
    is_waiting_to_write: bool = False
    trials: dict[int, _Trial] = field(default_factory=dict)
    """By trial number."""


def _tail(path: Path, num_lines: int = 5) -> str:
    """The last lines of a log, indented."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-num_lines:]
    return "\n".join(f"      {line}" for line in lines)


def _kill(pid: int) -> None:
    _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
