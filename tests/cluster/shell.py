"""Programs that are run, and what they leave to be waited for and taken away again."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class CommandError(Exception):
    """A command has failed."""


def run(
    *command: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> str:
    """Standard output of a command.

    Raises:
        CommandError: If it fails.
    """
    done = attempt(*command, cwd=cwd, env=env, timeout=timeout)
    if done.returncode != 0:
        words = " ".join(map(str, command))
        raise CommandError(f"{words}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def attempt(
    *command: str | Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> "subprocess.CompletedProcess[str]":
    """A command that may fail; `env` is in addition to the environment."""
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=False,
    )


def wait(what: str, condition: Callable[[], bool], seconds: float, every: float = 0.5) -> float:
    """Wait until something holds; returns the seconds that it took.

    Raises:
        CommandError: If it does not in time.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() > began + seconds:
            raise CommandError(f"not within {seconds:.0f} s: {what}")
        time.sleep(every)
    return time.monotonic() - began


class Daemons:
    """Processes that run until the end, each in a group of its own."""

    def __init__(self, logs: Path) -> None:
        """`logs` is the folder for their output."""
        self._logs = logs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, *command: str | Path, env: Mapping[str, str] | None = None) -> int:
        """Start one; returns its pid."""
        with (self._logs / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._running[name].pid

    def end(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """End one, and wait until it is gone."""
        process = self._running.pop(name)
        process.send_signal(number)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)

    def end_all(self) -> None:
        """End all, the last first."""
        for name in reversed(list(self._running)):
            self.end(name)


def descendants(pid: int) -> list[int]:
    """The processes that a process and its children have started."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, to_see = [], [pid]
    while to_see:
        born = children.get(to_see.pop(), [])
        found += born
        to_see += born
    return found


def kill(pids: Sequence[int], number: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal to all that are still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
