"""Searches as real processes that are killed at random moments and at chosen points."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.end_to_end.conftest import Project

EPOCHS = 4
_DEADLINE_SECONDS = 120.0
_POLL_SECONDS = 0.005


def write_search(project: Project, name: str) -> str:
    """A grid of eight short runs; returns its file."""
    return project.write_search(
        name,
        training__epochs=[EPOCHS],
        model__dim_feedforward=[8, 16],
        model__attention_type=["mha"],
    )


def write_sample_search(project: Project, name: str) -> str:
    """Eight short runs of a larger space; returns its file."""
    return project.write_search(
        name,
        search_strategy="sample",
        n_samples=8,
        training__epochs=[EPOCHS],
        training__dropout=[0.0, 0.2],
        model__dim_feedforward=[8, 16, 24],
    )


def write_learning_search(project: Project, name: str, **changes: Any) -> str:
    """A search of 18 short runs, the last six of which are learned; returns its file."""
    learning = {
        "search_strategy": "bayesian",
        "n_samples": 18,
        "proposal_gap": 3,
        "training__epochs": [2],
        "training__batch_size": [16, 32, 64],
        "training__dropout": [0.0, 0.2],
        "model__dim_feedforward": [8, 16, 24],
        "model__attention_type": ["mha"],
    }
    return project.write_search(name, **{**learning, **changes})


def write_pruning_search(project: Project, name: str) -> str:
    """The same with longer runs, most of which are stopped early; returns its file."""
    pruning = {"pruning": {"first_rung": 1}, "pruning_gap": 2, "finish_best": 2}
    return write_learning_search(project, name, **pruning, training__epochs=[5])


WRITE: dict[str, Callable[[Project, str], str]] = {
    "grid": write_search,
    "sample": write_sample_search,
    "bayesian": write_learning_search,
    "bayesian with pruning": write_pruning_search,
}
"""What is searched -> the function that writes its file."""


def write_pair(project: Project, name: str) -> str:
    """A grid of two runs; returns its file."""
    return project.write_search(
        name,
        training__epochs=[EPOCHS],
        training__batch_size=[64],
        model__dim_feedforward=[8, 16],
        model__attention_type=["mha"],
        input_columns=[["weather", "month"]],
    )


class StoredTrials:
    """What the storage holds, read past all of our own code."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._server: psycopg.Connection[tuple[Any, ...]] | None = None

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._server is not None:
            self._server.close()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query; none while there are no tables yet."""
        try:
            if self._url.startswith("sqlite:///"):
                return self._sqlite_rows(query)
            return self._postgres_rows(query)
        except (sqlite3.OperationalError, psycopg.errors.UndefinedTable):
            return []

    def _sqlite_rows(self, query: str) -> list[tuple[Any, ...]]:
        path = self._url.removeprefix("sqlite:///")
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def _postgres_rows(self, query: str) -> list[tuple[Any, ...]]:
        if self._server is None:
            self._server = psycopg.connect(self._url, autocommit=True)
        return self._server.execute(query.encode()).fetchall()

    def states(self) -> list[str]:
        """The state of every trial."""
        return [str(state) for (state,) in self.rows("SELECT state FROM trials")]

    def num(self, state: str) -> int:
        """How many trials are in a state."""
        return self.states().count(state)

    def num_results(self) -> int:
        """How many trials ended with a loss, complete or stopped early."""
        return sum(state in {"COMPLETE", "PRUNED"} for state in self.states())

    def results(self) -> dict[str, Any]:
        """Chosen values of each run -> its exact result, where it was stopped, and its losses."""
        params = self._params()
        found: dict[str, Any] = {}
        for trial_id, state, value in self.rows(
            "SELECT t.trial_id, t.state, v.value FROM trials t JOIN trial_values v "
            "ON t.trial_id = v.trial_id WHERE t.state IN ('COMPLETE', 'PRUNED')"
        ):
            of_run = found.setdefault(params[trial_id], {})
            assert state not in of_run, f"{params[trial_id]} is {state} twice"
            of_run[state] = value
        for trial_id, step, loss in self.rows(
            "SELECT trial_id, step, intermediate_value FROM trial_intermediate_values"
        ):
            if params[trial_id] in found:
                found[params[trial_id]][int(step)] = loss
        return found

    def _params(self) -> dict[int, str]:
        params: dict[int, list[str]] = {}
        for trial_id, name, value in self.rows(
            "SELECT trial_id, param_name, param_value FROM trial_params ORDER BY param_name"
        ):
            params.setdefault(trial_id, []).append(f"{name}={value:g}")
        return {trial_id: " ".join(chosen) for trial_id, chosen in params.items()}

    def losses(self) -> dict[str, float]:
        """Chosen values of each complete trial -> its exact result."""
        params = self._params()
        found: dict[str, float] = {}
        for trial_id, value in self.rows(
            "SELECT v.trial_id, v.value FROM trial_values v JOIN trials t "
            "ON t.trial_id = v.trial_id WHERE t.state = 'COMPLETE'"
        ):
            key = params[trial_id]
            assert key not in found, f"{key} has two results"
            found[key] = value
        return found

    def most_losses(self) -> int:
        """Attempts of one run, at most, that were lost before they had an epoch."""
        tags = self.rows(
            "SELECT a.value_json FROM trials t JOIN trial_system_attributes a "
            "ON a.trial_id = t.trial_id AND a.key = 'sequifier_hpo:tag' "
            "WHERE t.state <> 'COMPLETE' AND NOT EXISTS (SELECT 1 FROM trial_intermediate_values i "
            "WHERE i.trial_id = t.trial_id)"
        )
        return max(Counter(json.loads(tag)["key"] for (tag,) in tags).values(), default=0)


@dataclass
class Coordinator:
    """One started search command."""

    process: subprocess.Popen[str]

    def workers(self) -> list[int]:
        """Pids of its worker servers."""
        return children_of(self.process.pid)

    def kill_all(self) -> None:
        """End it and all below it at once, as a power cut does."""
        for pid in self.freeze():  # none of them may see another one die
            send(pid, signal.SIGKILL)
        self.process.communicate(timeout=30)

    def freeze(self) -> list[int]:
        """Stop it and all below it, as a machine that hangs does; returns their pids."""
        return freeze(self.process.pid)


def freeze(pid: int) -> list[int]:
    """Stop a process and all below it; returns their pids."""
    everyone = [pid]
    for each in everyone:
        send(each, signal.SIGSTOP)
        everyone += children_of(each)
    return everyone


def thaw(pids: Iterable[int]) -> None:
    """Let stopped processes go on."""
    for pid in pids:
        send(pid, signal.SIGCONT)


def children_of(pid: int) -> list[int]:
    """Pids of the direct children of a process."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def wait_for(condition: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    """Wait until a condition holds while a process runs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(_POLL_SECONDS)


def read_until(words: str, process: "subprocess.Popen[str]") -> None:
    """Wait until a process says something."""
    assert process.stderr is not None
    while words not in (line := process.stderr.readline()):
        assert line, f"ended without saying {words!r}"


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _assert_well_ended(coordinator: Coordinator) -> None:
    """One that nobody killed has ended, or ends now, because nothing was left to do."""
    _, stderr = coordinator.process.communicate(timeout=_DEADLINE_SECONDS)
    assert coordinator.process.returncode in {0, -signal.SIGKILL}, stderr


@dataclass
class Chaos:
    """A search, and what kills it."""

    project: Project
    name: str
    url: str
    num_coordinators: int
    random: random.Random
    strategy: str
    num_results: int
    """That it ends with."""
    kills: list[str] = field(default_factory=list)
    """What was killed, and when."""

    def __post_init__(self) -> None:
        self.stored = StoredTrials(self.url)
        self._file = WRITE[self.strategy](self.project, self.name)
        self._coordinators: list[Coordinator] = []
        self._points: dict[str, Callable[[], bool]] = {
            "claimed": lambda: self.stored.num("RUNNING") > 0,
            "file written": self._grows(self._run_files),
            "mid-epoch": self._grows(self._batches),
            "checkpoint renamed": self._grows(self._checkpoints),
            "before tell": self._grows(self._ends),
            "after tell": self._grows(self.stored.num_results),
        }

    def run(self, num_kills: int) -> None:
        """Kill again and again, starting again what was killed; then let it come to its end."""
        while len(self.kills) < num_kills and self.stored.num_results() < self.num_results:
            self._start_missing()
            self._strike()
        self._end()

    def _start_missing(self) -> None:
        for coordinator in list(self._coordinators):
            if coordinator.process.poll() is not None:
                self._coordinators.remove(coordinator)
                _assert_well_ended(coordinator)
        while len(self._coordinators) < self.num_coordinators:
            workers = str(self.random.randint(1, 3))
            arguments = ("--config-path", self._file, "--storage", self.url, "--workers", workers)
            process = self.project.start("hyperparameter-search", *arguments)
            self._coordinators.append(Coordinator(process))

    def _strike(self) -> None:
        """Wait for a moment, and kill someone."""
        where = self.random.choice([*self._points, "any moment"])
        if where == "any moment":
            self._wait(lambda: False, self.random.uniform(0.0, 6.0))
        else:
            point = self._points[where]
            point()  # from now on
            self._wait(point, _DEADLINE_SECONDS)
            self._wait(lambda: False, self.random.choice([0.0, 0.0, self.random.uniform(0, 0.2)]))
        if self.stored.most_losses() >= 4:
            return  # once more, and the run would rightly be given up
        victim = self.random.choice(self._coordinators)
        who = self.random.choice(["coordinator", "worker", "everything"])
        if victim.process.poll() is not None:
            return
        if who == "coordinator":
            send(victim.process.pid, signal.SIGKILL)
            victim.process.communicate(timeout=30)
        elif who == "worker":
            for pid in victim.workers():
                send(pid, signal.SIGKILL)
        else:
            victim.kill_all()
        self.kills.append(f"{who} at {where}")

    def _wait(self, condition: Callable[[], bool], seconds: float) -> None:
        """Until a condition holds, the time is over, or a coordinator has ended by itself."""
        deadline = time.monotonic() + seconds
        while not condition() and time.monotonic() < deadline:
            if any(c.process.poll() is not None for c in self._coordinators):
                return
            time.sleep(_POLL_SECONDS)

    def _end(self) -> None:
        self._start_missing()
        for coordinator in self._coordinators:
            _assert_well_ended(coordinator)

    def _grows(self, count: Callable[[], int]) -> Callable[[], bool]:
        seen = 0
        is_armed = False

        def has_grown() -> bool:
            nonlocal seen, is_armed
            before, seen = seen, count()
            was_armed, is_armed = is_armed, True
            return was_armed and seen > before

        return has_grown

    # What can be seen from outside of a trial's life

    def _run_files(self) -> int:
        return len(list(self.project.root.glob(f"configs/hp_search/{self.name}-run-*.yaml")))

    def _checkpoints(self) -> int:
        folder = self.project.root / "checkpoints"
        return sum(
            int(path.stem.rsplit("-", 1)[1])
            for path in folder.glob(f"{self.name}-run-*-epoch-*.pt")
        )

    def _batches(self) -> int:
        return sum(1 for event in self._events() if event["event"] in {"start", "epoch"})

    def _ends(self) -> int:
        return sum(1 for event in self._events() if event["event"] == "end")

    def _events(self) -> Iterator[dict[str, Any]]:
        logs = self.project.root / "logs"
        for path in logs.glob(f"sequifier-{self.name}-run-*-metrics.jsonl"):
            for line in path.read_text().splitlines():
                try:
                    yield json.loads(line)
                except json.JSONDecodeError:
                    continue  # cut off by a kill
