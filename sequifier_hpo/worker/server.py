"""A worker process: takes trials from a pipe, runs each in a child of its own, relays the events.

On a CPU the server imports torch and loads the data once, then forks a process per trial: a fork
costs milliseconds, shares the data without copies, and whatever happens to a trial (a crash, a
leak, the kernel's out-of-memory killer) happens to it alone. CUDA does not survive a fork, so a
resident server runs its trials itself and is replaced by the coordinator after a failure. Runs of
several GPUs are forked all the same: their processes touch CUDA only after the fork.

The server starts no threads, and ends when the coordinator's end of the pipe closes.
"""

import os
import select
import signal
from dataclasses import dataclass, field
from functools import partial

from sequifier_hpo.messages import (
    FromWorker,
    Lines,
    RunTrial,
    StopTrials,
    TrialEnded,
    TrialStarted,
    WorkerReady,
    decode_to_worker,
    encode,
)
from sequifier_hpo.records import result_of_exit
from sequifier_hpo.training.data.open import data_key, open_training_data
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.run import prepare_for
from sequifier_hpo.worker.forked import fork_child
from sequifier_hpo.worker.stop import StopRequest
from sequifier_hpo.worker.trial import run_trial

_POLL_SECONDS = 0.2  # only for a child that closed its pipe but has not ended yet
_CHUNK_BYTES = 65536


@dataclass
class _Child:
    """The process of one trial."""

    pid: int
    order: RunTrial
    pipe: int
    output: Lines = field(default_factory=Lines)
    has_ended: bool = False
    """Whether its outcome was relayed."""


class WorkerServer:
    """Serves one coordinator."""

    def __init__(self, commands: int, events: int, *, forks: bool) -> None:
        """Take over two descriptors.

        Args:
            commands: Where orders come from.
            events: Where events go to.
            forks: Whether each trial gets a process of its own.
        """
        self._commands = commands
        self._events = events
        self._forks = forks
        self._input = Lines()
        self._children: dict[int, _Child] = {}
        self._data: tuple[object, TrainingData] | None = None

    def serve(self) -> None:
        """Work until the coordinator is gone; then end every trial at once."""
        self._send(WorkerReady(pid=os.getpid()))
        while self._step():
            pass
        for child in self._children.values():
            os.kill(child.pid, signal.SIGKILL)
        for child in self._children.values():
            os.waitpid(child.pid, 0)

    def _step(self) -> bool:
        """Wait for something and deal with it; False when the coordinator's pipe is closed."""
        pipes = {child.pipe: child for child in self._children.values() if child.pipe >= 0}
        timeout = _POLL_SECONDS if len(pipes) < len(self._children) else None
        readable, _, _ = select.select([self._commands, *pipes], [], [], timeout)
        for descriptor in readable:
            if descriptor != self._commands:
                self._relay(pipes[descriptor])
        for child in [child for child in self._children.values() if child.pipe < 0]:
            self._reap(child)
        if self._commands in readable:
            chunk = os.read(self._commands, _CHUNK_BYTES)
            if not chunk:
                return False
            for line in self._input.feed(chunk):
                self._obey(line)
        return True

    def _obey(self, line: bytes) -> None:
        order = decode_to_worker(line)
        if isinstance(order, StopTrials):
            for child in self._children.values():
                os.kill(child.pid, signal.SIGTERM)
        elif self._forks:
            self._fork(order)
        else:
            self._run_here(order)

    # One process per trial

    def _fork(self, order: RunTrial) -> None:
        try:
            prepare_for(order.config, self._open_data(order))
        except Exception:  # noqa: BLE001 - the child meets the same error and reports it
            self._data = None
        pid, reading = fork_child(partial(self._be_child, order))
        self._children[order.trial_number] = _Child(pid, order, reading)
        self._send(TrialStarted(trial_number=order.trial_number, pid=pid))

    def _be_child(self, order: RunTrial, events: int, should_stop: StopRequest) -> None:
        """Run the trial in a forked process."""
        os.close(self._commands)
        os.close(self._events)
        for sibling in self._children.values():
            if sibling.pipe >= 0:
                os.close(sibling.pipe)
        self._events = events
        run_trial(order, lambda: self._open_data(order), self._send, should_stop)

    def _relay(self, child: _Child) -> None:
        chunk = os.read(child.pipe, _CHUNK_BYTES)
        if not chunk:
            os.close(child.pipe)
            child.pipe = -1
            return
        for line in child.output.feed(chunk):
            child.has_ended = child.has_ended or b'"kind":"trial_ended"' in line[:40]
            self._write(line + b"\n")

    def _reap(self, child: _Child) -> None:
        pid, status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            return
        del self._children[child.order.trial_number]
        if not child.has_ended:
            exit_code = os.waitstatus_to_exitcode(status)
            result = result_of_exit(exit_code, child.order.config.training_spec.batch_size)
            self._send(TrialEnded(trial_number=child.order.trial_number, result=result))

    # Trials in this process

    def _run_here(self, order: RunTrial) -> None:
        should_stop = StopRequest(os.getppid())
        self._send(TrialStarted(trial_number=order.trial_number, pid=os.getpid()))
        run_trial(order, lambda: self._open_data(order), self._send, should_stop)

    # Both

    def _open_data(self, order: RunTrial) -> TrainingData:
        """The data of a trial, loaded once for all that share it."""
        padding_is_stored = order.counted.padding_is_stored
        key = data_key(order.config, padding_is_stored=padding_is_stored)
        if self._data is None or self._data[0] != key:
            self._data = None  # free the old data before the new is loaded
            data = open_training_data(order.config, padding_is_stored=padding_is_stored)
            self._data = (key, data)
        return self._data[1]

    def _send(self, message: FromWorker) -> None:
        self._write(encode(message))

    def _write(self, data: bytes) -> None:
        try:
            while data:
                data = data[os.write(self._events, data) :]
        except BrokenPipeError:
            os._exit(1)  # nobody listens any more
