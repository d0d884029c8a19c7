"""Output that may lose its reader while the work continues: a closed pipe, a vanished terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from sequifier_hpo.cli.visible_output import drawing_stream


@contextmanager
def lasting_output() -> Iterator[None]:
    """Within the block, writing to standard output or error never fails, even without a reader."""
    output, errors = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Lasting(output), _Lasting(errors)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = output, errors
        for stream in (output, errors):
            _flush(stream)


def lasting_drawing_stream(stream: TextIO) -> Any:
    """The stream behind, for a display that draws and may lose its terminal."""
    return _Lasting(drawing_stream(stream))


class _Lasting:
    """A text stream whose failing writes are silently dropped."""

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
    """Flush, or else make sure that Python does not try again at exit."""
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing:  # noqa: PTH123 - a descriptor, not a path
            os.dup2(nothing.fileno(), stream.fileno())
