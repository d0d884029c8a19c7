"""The fork of a process that says what happens to it."""

import errno
import os
import signal
from pathlib import Path

import pytest

from sequifier_hpo.worker.forked import fork_child


def test_a_fork_that_fails_leaves_neither_a_pipe_nor_a_blocked_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(os, "fork", fork)
    files = set(Path("/proc/self/fd").iterdir())

    with pytest.raises(BlockingIOError):
        fork_child(lambda _pipe, _should_stop: None)

    assert set(Path("/proc/self/fd").iterdir()) == files
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
