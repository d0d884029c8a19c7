"""Output that is never a reason to fail or to stop.

A stream may be closed, its encoding may lack a letter, its reader may have gone, or may have stopped
reading. Results wait for their reader, as in any program; what is said on standard error does not:
a search goes on while a terminal is paused.
"""

import os
import select
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import RLock
from typing import Any, TextIO

_PART_CHARACTERS = 1000  # at most 4,000 bytes: a pipe that has room takes them without waiting
_MOST_UNSENT = 1000  # parts


def open_standard_descriptors() -> None:
    """Open those that are closed, on nothing.

    Otherwise the next file gets such a number, perhaps the study's, and a library that prints writes
    into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            os.set_inheritable(opened, True)  # noqa: FBT003 - the library's signature


@contextmanager
def lasting_output() -> Iterator[None]:
    """Within the block, writing to standard output or error never fails."""
    output, errors = sys.stdout, sys.stderr
    with open(os.devnull, "w") as nothing:  # noqa: PTH123 - as below
        lasting_errors = _Lasting(errors or nothing)
        sys.stderr = lasting_errors
        sys.stdout = _Lasting(output or nothing, after=lasting_errors)
        try:
            yield
        finally:
            sys.stdout, sys.stderr = output, errors
            lasting_errors.drain()
            for stream in filter(None, (output, errors)):
                _flush(stream)


def fault_of(stream: TextIO) -> OSError | None:
    """Why something that was written to a lasting stream is lost; None if nothing is."""
    return getattr(stream, "fault", None)


def why_incomplete(stream: TextIO) -> str:
    """Why its reader lacks something that was written to a lasting stream; "" if it does not.

    A reader that has left lacks nothing.
    """
    fault = fault_of(stream)
    return "" if fault is None or isinstance(fault, BrokenPipeError) else str(fault.strerror)


class _Lasting:
    """A text stream whose failing writes are silently dropped."""

    def __init__(self, stream: TextIO, *, after: "_Lasting | None" = None) -> None:
        """Stand in for a stream.

        Args:
            stream: It.
            after: What must have been sent before this one is written to. A stream without such a
                predecessor never waits for its reader.
        """
        self._stream = stream
        self._after = after
        self._unsent: deque[str] = deque(maxlen=_MOST_UNSENT)
        self._lock = RLock()  # a display may draw itself from a thread of its own
        self.fault: OSError | None = None

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError("text expected")  # which libraries try out
        if self._after is not None:
            self._after.drain()
            self._put(text)
        else:
            starts = range(0, len(text), _PART_CHARACTERS)
            self._unsent.extend(text[start : start + _PART_CHARACTERS] for start in starts)
            self.flush()
        return len(text)

    def flush(self) -> None:
        with self._lock:
            if self._after is not None:
                self._put("", flushes=True)
            while self._unsent and _has_room(self._stream):
                self._put(self._unsent.popleft(), flushes=True)

    def drain(self) -> None:
        """Send all that is left, however long the reader takes."""
        with self._lock:
            while self._unsent:
                self._put(self._unsent.popleft(), flushes=True)

    def _put(self, text: str, *, flushes: bool = False) -> None:
        with suppress(ValueError):  # the stream is closed
            try:
                self._stream.write(self._shown(text))
                if flushes:
                    self._stream.flush()
            except OSError as error:
                self.fault = error

    def _shown(self, text: str) -> str:
        """The text, with escapes for the letters that the stream's encoding lacks."""
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _has_room(stream: TextIO) -> bool:
    """Whether a write to a stream returns at once, with or without success."""
    try:
        waiting = select.poll()
        waiting.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError, AttributeError):  # it is no file
        return True
    return bool(waiting.poll(0))


def _flush(stream: TextIO) -> None:
    """Flush, or else make sure that Python does not try again at exit."""
    try:
        stream.flush()
    except ValueError:
        return  # it is closed
    except OSError:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor, not a path
            os.dup2(nothing.fileno(), stream.fileno())
