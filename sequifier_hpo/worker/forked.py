"""A child process that says what happens to it through a pipe."""

import os
import signal
from collections.abc import Callable
from typing import NoReturn

from sequifier_hpo.worker.orphans import die_with_parent
from sequifier_hpo.worker.stop import StopRequest


def fork_child(work: Callable[[int, StopRequest], None]) -> tuple[int, int]:
    """Start a process that does some work, and ends.

    It dies with this process. A stop that arrives before it can handle one waits, and is not lost.

    Args:
        work: Given the end of the pipe to write to, and what says whether to stop. If it raises,
            the process ends with exit code 1.

    Returns:
        Its pid, and the end of the pipe to read from.
    """
    reading, writing = os.pipe()
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _be_child(work, writing, parent)
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return pid, reading


def _be_child(work: Callable[[int, StopRequest], None], writing: int, parent: int) -> NoReturn:
    exit_code = 1
    try:
        die_with_parent(parent)
        should_stop = StopRequest(parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        work(writing, should_stop)
        exit_code = 0
    finally:
        os._exit(exit_code)
