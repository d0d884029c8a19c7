"""The signals by which a user ends what runs."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


def stop_signals() -> tuple[signal.Signals, ...]:
    """SIGINT, SIGTERM, and SIGHUP unless it is ignored: `nohup` promises to outlive the terminal."""
    is_hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    always = (signal.SIGINT, signal.SIGTERM)
    return always if is_hangup_ignored else (*always, signal.SIGHUP)


class StopRequests(Protocol):
    """What has asked a search to stop so far."""

    @property
    def received(self) -> Sequence[signal.Signals]:
        """In their order; the first one asks to stop, a second one to stop at once."""

    def listening(self, wake_on: Callable[[int], None]) -> AbstractContextManager[None]:
        """Receive during a block.

        Args:
            wake_on: Takes a descriptor that becomes readable when something was received.
        """


class StopSignals(StopRequests):
    """The signals that this process receives."""

    def __init__(self) -> None:
        self._received: list[signal.Signals] = []

    @property
    def received(self) -> Sequence[signal.Signals]:
        """In their order."""
        return self._received

    @contextmanager
    def listening(self, wake_on: Callable[[int], None]) -> Iterator[None]:
        """Take the signals that would end the process: in its main thread, no other gets any."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        wake_on(reading)
        before_descriptor = signal.set_wakeup_fd(writing)
        before = {number: signal.signal(number, self._receive) for number in stop_signals()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_descriptor)
            os.close(writing)

    def _receive(self, number: int, _frame: object) -> None:
        self._received.append(signal.Signals(number))
