"""Output in which nothing that comes from a file controls the terminal."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sequifier_hpo.words import visible


@contextmanager
def visible_output() -> Iterator[None]:
    """Within the block, control characters of standard output and error are written as escapes."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Visible(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def drawing_stream(stream: Any) -> Any:
    """The stream behind, for a display that draws; its texts must be `visible` one by one."""
    return getattr(stream, "drawing_stream", stream)


class _Visible:
    """A text stream that escapes control characters."""

    def __init__(self, stream: Any) -> None:
        self.drawing_stream = stream

    def write(self, text: str) -> int:
        self.drawing_stream.write(visible(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.drawing_stream, name)
