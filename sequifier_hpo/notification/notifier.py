"""A search's side of the process that tells: it never waits for it, and never fails by it."""

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.python_path import python_environment

CLOSE_SECONDS = 5.0
"""That the end of a search waits for what is being told; the process goes on by itself."""
_START_SECONDS = 60.0  # to load the library, on a busy machine
_MOST_UNSENT = 2**16  # bytes
_CHUNK_BYTES = 2**16
_log = logging.getLogger("sequifier_hpo.notification")


def shown_service(url: str) -> str:
    """The kind of service that a URL is of; all else in it may be secret."""
    scheme, separator, _ = url.partition("://")
    return f"{scheme}://***" if separator and scheme.isidentifier() else "***"


class Notifier:
    """Passes events on to a process that tells them."""

    def __init__(self, urls: Sequence[str], command: str | None) -> None:
        """Start the process.

        Args:
            urls: Of services, as the library apprise has them.
            command: What gets each event as JSON on its standard input.

        Raises:
            InputError: If a URL is of no service.
            EnvironmentFaultError: If the library is missing.
        """
        if urls and find_spec("apprise") is None:
            raise EnvironmentFaultError(
                "notifications are sent by apprise, which is not installed",
                "pip install 'sequifier-hpo[notify]'",
            )
        self._names = {str(place): shown_service(url) for place, url in enumerate(urls)}
        self._unsent = self._unread = b""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sequifier_hpo.notification"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=python_environment(),
            bufsize=0,
            start_new_session=True,  # Ctrl-C in the terminal is not for it
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input, self._output = self._process.stdin, self._process.stdout
        os.set_blocking(self._input.fileno(), False)
        os.set_blocking(self._output.fileno(), False)
        self._send({"urls": list(urls), "command": command})
        if urls:
            self._require_services()

    def tell(self, event: Mapping[str, Any]) -> None:
        """Pass an event on; it is dropped if too many wait already."""
        if len(self._unsent) > _MOST_UNSENT:
            _log.warning("notification dropped", extra={"event": event.get("event")})
            return
        self._send(event)

    def look(self) -> list[str]:
        """Pass on what could not be sent before; returns what has failed, and why."""
        self._flush()
        failed = [answer for answer in self._answers() if "failed" in answer]
        found = [(self._names.get(each["failed"], each["failed"]), each["why"]) for each in failed]
        for name, why in found:
            _log.warning("notification failed", extra={"to": name, "why": why})
        return [f"{name}: {why}" for name, why in found]

    def close(self) -> list[str]:
        """Wait a little for what is being told; returns what has failed meanwhile, and why."""
        if self._output.closed:
            return []
        end, failed = time.monotonic() + CLOSE_SECONDS, self.look()
        while self._process.poll() is None and (left := end - time.monotonic()) > 0:
            if not self._unsent:
                self._input.close()  # what was sent is told, and the process ends
            writing = [self._input] if self._unsent else []
            select.select([self._output], writing, [], left)
            failed += self.look()
        self._input.close()
        failed += self.look()
        self._output.close()
        # It ends by itself; here it is only awaited, however long it takes.
        threading.Thread(target=self._process.wait, daemon=True).start()
        return failed

    def _send(self, content: Mapping[str, Any]) -> None:
        self._unsent += json.dumps(content).encode() + b"\n"
        self._flush()

    def _flush(self) -> None:
        if self._unsent and not self._input.closed:
            try:
                sent = os.write(self._input.fileno(), self._unsent)
            except BlockingIOError:
                return
            except OSError:  # it has ended, whyever
                sent = len(self._unsent)
            self._unsent = self._unsent[sent:]

    def _answers(self) -> list[dict[str, Any]]:
        with suppress(BlockingIOError):
            while chunk := os.read(self._output.fileno(), _CHUNK_BYTES):
                self._unread += chunk
        *lines, self._unread = self._unread.split(b"\n")
        return [json.loads(line) for line in lines]

    def _require_services(self) -> None:
        """Wait until the process has looked at the URLs."""
        end = time.monotonic() + _START_SECONDS
        answers: list[dict[str, Any]] = []
        while not answers and self._process.poll() is None and time.monotonic() < end:
            select.select([self._output], [], [], max(0.0, end - time.monotonic()))
            self._flush()
            answers = self._answers()
        unknown = answers[0].get("unknown", []) if answers else []
        if unknown:
            self.close()
            names = ", ".join(f"`{self._names[str(place)]}`" for place in unknown)
            raise InputError(
                f"apprise cannot send notifications to {names}",
                "check the URL: https://appriseit.com has the form of each service's",
            )
