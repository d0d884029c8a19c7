"""What the process does that tells: events in, one line of JSON each; what failed out.

The first line says whom to tell, `{"urls": [...], "command": ...}`, and is answered with the URLs
that no service has: `{"unknown": [0]}`. URLs and events come by a pipe: an argument or a variable
of the environment would show secrets to everyone on the machine.
"""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from queue import Full, Queue
from typing import Any, BinaryIO

COMMAND_SECONDS = 30.0
"""After that a command is killed."""
_LAST_SECONDS = 60.0  # for all that is left once the search has ended
_MOST_WAITING = 100  # events, for each way

Event = Mapping[str, Any]
Tell = Callable[[Event], str]
"""Tells an event; returns "", or why it failed."""


def serve(commands: BinaryIO, answers: BinaryIO) -> None:
    """Tell what comes, each way in a thread of its own, until the search closes its end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # They are for the search, whose end is still to be told. Ignored, they would be for commands too.
        signal.signal(number, lambda _number, _frame: None)
    order = json.loads(commands.readline() or b"{}")
    ways, unknown = _services(order.get("urls", ()))
    if order.get("command"):
        ways["the command"] = Command(order["command"])
    _answer(answers, {"unknown": unknown})
    threads = [_Way(name, tell, answers) for name, tell in ways.items()]
    for line in commands:
        with suppress(ValueError):  # for half a line: the search was killed
            event = json.loads(line)
            for thread in threads:
                thread.put(event)
    end = time.monotonic() + _LAST_SECONDS
    for thread in threads:
        thread.finish(end)
    _leave()


class _Way(threading.Thread):
    """Tells one event after the other in one way; those that come too fast are dropped."""

    def __init__(self, name: str, tell: Tell, answers: BinaryIO) -> None:
        super().__init__(name=name, daemon=True)
        self._tell = tell
        self._answers = answers
        self._waiting: Queue[Event | None] = Queue(_MOST_WAITING)
        self.start()

    def put(self, event: Event) -> None:
        try:
            self._waiting.put_nowait(event)
        except Full:
            self._failed("too many were waiting")

    def finish(self, end: float) -> None:
        """Wait until this moment for all to be told."""
        with suppress(Full):
            self._waiting.put(None, timeout=max(0.0, end - time.monotonic()))
            self.join(max(0.0, end - time.monotonic()))

    def run(self) -> None:
        while (event := self._waiting.get()) is not None:
            try:
                why = self._tell(event)
            except Exception as error:  # noqa: BLE001 - whatever a service does is no fault of ours
                why = type(error).__name__  # its words may hold a secret
            if why:
                self._failed(why)

    def _failed(self, why: str) -> None:
        _answer(self._answers, {"failed": self.name, "why": why})


class Command:
    """A command that gets events on its standard input; what it prints goes nowhere."""

    running: set[int] = set()  # noqa: RUF012 - of all, for the end of the process
    """Process groups."""

    def __init__(self, command: str, seconds: float = COMMAND_SECONDS) -> None:
        """Name the command.

        Args:
            command: As a shell reads it.
            seconds: After that it is killed.
        """
        self._command = command
        self._seconds = seconds

    def __call__(self, event: Event) -> str:
        """Run it; returns why it failed, or ""."""
        # Ours imports nothing from the working directory; a script of the user's may.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
        process = subprocess.Popen(
            ["/bin/sh", "-c", self._command],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self.running.add(process.pid)
        try:
            process.communicate(json.dumps(event).encode() + b"\n", timeout=self._seconds)
        except subprocess.TimeoutExpired:
            _kill_group(process.pid)
            process.wait()
            return f"it did not end within {self._seconds:g} s"
        finally:
            self.running.discard(process.pid)
        return "" if process.returncode == 0 else f"exit code {process.returncode}"


def _services(urls: Iterable[str]) -> tuple[dict[str, Tell], list[int]]:
    """A way for each URL, by its place, and the places of those that no service has."""
    services = {place: _service(url) for place, url in enumerate(urls)}
    known = {str(place): service for place, service in services.items() if service is not None}
    return known, [place for place, service in services.items() if service is None]


def _service(url: str) -> Tell | None:
    import apprise  # noqa: PLC0415 - only who has URLs needs it

    service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="sequifier-hpo"))
    with suppress(Exception):
        if not service.add(url):
            return None

    def send(event: Event) -> str:
        kind = apprise.NotifyType.FAILURE if event.get("is_trouble") else apprise.NotifyType.INFO
        is_sent = service.notify(title=event["title"], body=event["text"], notify_type=kind)
        return "" if is_sent else "the service did not take it"

    return send


def _answer(answers: BinaryIO, content: Mapping[str, Any]) -> None:
    with suppress(OSError, ValueError):  # the search has ended
        answers.write(json.dumps(content).encode() + b"\n")
        answers.flush()


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def _leave() -> None:
    """End at once, with whatever still hangs."""
    for group in list(Command.running):
        _kill_group(group)
    os._exit(0)
