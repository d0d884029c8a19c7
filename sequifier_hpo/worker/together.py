"""The processes of a distributed trial, supervised by one that trains nothing.

The trial's own process forks one process per rank and waits for their answers. A rank whose peer
has died may be caught in a collective operation for minutes; its watcher never is, so a trial ends
as soon as one of its processes does. Nothing here touches a GPU, which is why a fork does for CUDA
as well: each rank is the first to use its device.
"""

import math
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.messages import Lines, encode
from sequifier_hpo.records import OutcomeKind, TrainingResult, result_of_exit
from sequifier_hpo.training.distributed import LOOPBACK, PeerLostError, Team, join_team
from sequifier_hpo.worker.forked import fork_child
from sequifier_hpo.worker.outcomes import outcome_of_error
from sequifier_hpo.worker.stop import StopRequest

Work = Callable[[Team, Callable[[], bool]], TrainingResult]

_POLL_SECONDS = 0.2
_CHUNK_BYTES = 65536
# A rank may notice that another is lost before we notice why it died.
_GRACE_SECONDS = 5.0
# All ranks agree on these, so that the first one's result is that of the run.
_AGREED = frozenset({OutcomeKind.COMPLETED, OutcomeKind.DIVERGED, OutcomeKind.INTERRUPTED})


class _Answer(FrozenModel):
    """The outcome of one rank."""

    result: TrainingResult
    has_lost_peer: bool = False
    """Whether the reason lies with another rank."""


@dataclass
class _Rank:
    """The process of one rank."""

    pid: int
    pipe: int
    output: Lines = field(default_factory=Lines)
    is_reaped: bool = False
    result: TrainingResult | None = None


def train_together(
    config: TrainConfig,
    work: Work,
    should_stop: Callable[[], bool],
    on_error: Callable[[Exception], None],
) -> TrainingResult:
    """Carry out a run's work in all its processes; none of them is left when this returns.

    Args:
        config: The run.
        work: What each process does, given its place among the others and whether to stop.
        should_stop: Asked now and then here; a yes is passed on to all processes.
        on_error: Called in a process that failed by itself.

    Returns:
        The first process's result, or that of the one whose failure ended the run.
    """

    def answer(rank: int, rank_should_stop: Callable[[], bool]) -> _Answer:
        try:
            return _Answer(result=work(join_team(config, rank, listener), rank_should_stop))
        except Exception as error:  # noqa: BLE001 - the edge of the process
            has_lost_peer = isinstance(error, PeerLostError)
            if not has_lost_peer:
                on_error(error)
            result = outcome_of_error(error, config.training_spec.batch_size)
            return _Answer(result=result, has_lost_peer=has_lost_peer)

    ranks: list[_Rank] = []
    try:
        with closing(socket.create_server((LOOPBACK, 0))) as listener:
            for rank in range(config.training_spec.num_processes):
                ranks.append(_Rank(*fork_child(partial(_be_rank, partial(answer, rank)))))
        return _wait(ranks, config.training_spec.batch_size, should_stop)
    finally:
        for process in ranks:
            os.close(process.pipe)
            if not process.is_reaped:
                os.kill(process.pid, signal.SIGKILL)
                os.waitpid(process.pid, 0)


def _be_rank(
    answer: Callable[[Callable[[], bool]], _Answer], writing: int, should_stop: StopRequest
) -> None:
    with os.fdopen(writing, "wb", closefd=False) as pipe:
        pipe.write(encode(answer(should_stop)))
    # If it ended now, its closed connections would look like a failure to the others.
    while True:
        should_stop()
        time.sleep(_POLL_SECONDS)


def _wait(ranks: list[_Rank], batch_size: int, should_stop: Callable[[], bool]) -> TrainingResult:
    """Until all have answered, or one has failed."""
    busy = {process.pipe: process for process in ranks}
    is_stopping = False
    lost: TrainingResult | None = None
    deadline = math.inf
    while busy and time.monotonic() < deadline:
        if should_stop() and not is_stopping:
            is_stopping = True
            for process in ranks:
                os.kill(process.pid, signal.SIGTERM)
        for pipe in select.select(list(busy), [], [], _POLL_SECONDS)[0]:
            process = busy[pipe]
            chunk = os.read(pipe, _CHUNK_BYTES)
            if not chunk:
                process.is_reaped = True
                _, status = os.waitpid(process.pid, 0)
                return result_of_exit(os.waitstatus_to_exitcode(status), batch_size)
            lines = process.output.feed(chunk)
            if not lines:
                continue
            del busy[pipe]
            answer = _Answer.model_validate_json(lines[0])
            if answer.has_lost_peer:
                lost = lost or answer.result
                deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
            elif answer.result.kind not in _AGREED:
                return answer.result
            process.result = answer.result
    if lost is not None:
        return lost
    assert ranks[0].result is not None
    return ranks[0].result
