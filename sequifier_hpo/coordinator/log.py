"""What happened to a search, one record a line: takeovers, retries, outages, stops.

The rooms write to loggers of the standard library, `sequifier_hpo.coordinator` and
`sequifier_hpo.study`: a constant message, with ids as fields. Whoever runs a search says where the
records go. No record ever stops the search.
"""

import json
import logging
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.log_lines import LogLines

_OURS = logging.getLogger("sequifier_hpo")
_OURS.addHandler(logging.NullHandler())  # otherwise unclaimed records would go to stderr
_NO_FIELDS = frozenset([*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"])
"""What every record has."""
_IS_WORD = re.compile(r'[^\s"=]+')


@contextmanager
def log_to(path: Path, **ids: object) -> Iterator[None]:
    """Append the records of the block to a file; without one if it cannot be opened.

    Args:
        path: The file.
        ids: Fields that every record gets, unless it has them itself.
    """
    try:
        lines = LogLines(path)
    except EnvironmentFaultError:
        yield
        return
    with closing(lines), logging_by(lines.append, **ids):
        yield


@contextmanager
def logging_by(write: Callable[[str], object], **ids: object) -> Iterator[None]:
    """Pass every record of the block to a function, as a line; what it cannot write is dropped."""
    handler, level = _Handler(write, ids), _OURS.level
    _OURS.addHandler(handler)
    _OURS.setLevel(logging.INFO)
    try:
        yield
    finally:
        _OURS.setLevel(level)
        _OURS.removeHandler(handler)


class _Handler(logging.Handler):
    def __init__(self, write: Callable[[str], object], ids: Mapping[str, object]) -> None:
        super().__init__()
        self._write = write
        self._ids = ids

    def emit(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # the latter for a stream that is closed
            self._write(_line(record, self._ids))


def _line(record: logging.LogRecord, ids: Mapping[str, object]) -> str:
    """`2026-11-25T18:03:07.123Z | WARNING | lease lost | host=a pid=7 study=shop run_number=3`."""
    moment = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
    own = {key: value for key, value in vars(record).items() if key not in _NO_FIELDS}
    fields = {"host": socket.gethostname(), "pid": record.process, **ids, **own}
    shown = " ".join(f"{key}={_text(value)}" for key, value in fields.items())
    return f"{moment}Z | {record.levelname} | {record.getMessage()} | {shown}"


def _text(value: Any) -> str:
    """A word as it is, everything else as JSON: one line, whatever is in it."""
    if isinstance(value, str) and _IS_WORD.fullmatch(value):
        return value
    return json.dumps(value, default=str, separators=(",", ":"))
