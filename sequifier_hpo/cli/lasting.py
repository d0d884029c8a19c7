"""Output that may lose its reader while the work goes on: a pipe that closes, a terminal that goes."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO


@contextmanager
def lasting_output() -> Iterator[None]:
    """Within the block no write to standard output or error fails, whoever has stopped reading."""
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Lasting(output), _Lasting(errors)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = output, errors
        for stream in (output, errors):
            _flush(stream)


class _Lasting:
    """A text stream whose writes are lost in silence when they cannot be carried out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _flush(stream: TextIO) -> None:
    """Write what is left, or else see to it that Python does not try again when it ends."""
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor, not a path
            os.dup2(nothing.fileno(), stream.fileno())
