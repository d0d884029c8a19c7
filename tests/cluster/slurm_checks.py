"""docker/slurm-array.sh on a real Slurm of three nodes, with a real Postgres."""

import json
import os
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.checks import Checks
from tests.cluster.shell import attempt, run, wait
from tests.cluster.slurm import OTHER_HOST, Slurm
from tests.end_to_end.conftest import Project
from tests.postgres_server import PostgresServer, temporary_server
from tests.process.chaos import StoredTrials

_RUN_SECONDS = 60
"""How long a run is to take: two of a task outlast the signal, 30 to 90 s after its start."""


def check_slurm(checks: Checks, folder: Path, docker: Path) -> None:
    """Run everything.

    Args:
        checks: Takes the results.
        folder: For the cluster and its project; made anew.
        docker: The folder with slurm-array.sh.
    """
    missing = Slurm.what_is_missing()
    if missing:
        checks.cannot("Slurm", f"not installed: {', '.join(missing)}")
        return
    shutil.rmtree(folder, ignore_errors=True)
    slurm = Slurm(folder / "slurm")
    with temporary_server() as server:
        try:
            slurm.start()
            checks.engine = f"{slurm.version()}, 3 nodes"
            story = _Story(checks, slurm, server, _project(folder), docker / "slurm-array.sh")
            for part in (story.small_things, story.without_postgres, story.many_tasks):
                with checks.completion_of(part.__name__):
                    part()
        finally:
            slurm.stop()
    with checks.completion_of("with_affinity"):
        _with_affinity(checks, folder, docker / "slurm-array.sh")


def _project(folder: Path) -> Project:
    (folder / "project").mkdir(parents=True)
    project = Project(folder / "project")
    done = project.run("init", ".")
    assert done.code == 0, done.stderr
    done = project.run("preprocess", "--config-path", "configs/preprocess.yaml")
    assert done.code == 0, done.stderr
    return project


def _programs() -> str:
    """PATH with the search of this environment."""
    return f"{Path(sys.executable).parent}:{os.environ['PATH']}"


@dataclass
class _Job:
    """What was submitted."""

    slurm: Slurm
    number: str
    root: Path

    def states(self) -> dict[str, str]:
        """Task -> state, of those that Slurm still knows to wait or run."""
        words = ["squeue", "--noheader", "--array", "--jobs", self.number, "--format=%i %T"]
        lines = attempt(*words, env=self.slurm.env).stdout.splitlines()
        pairs = (line.split() for line in lines)
        return {task: state for task, state in pairs if state != "COMPLETING"}

    def wait_for(self, what: str, states: set[str], seconds: float) -> None:
        """Until every task is in one of some states; the empty set = gone."""
        wait(
            f"{what}; {self.number}",
            lambda: bool(found := set(self.states().values())) == bool(states) and found <= states,
            seconds,
        )

    def start_now(self) -> None:
        """Skip the two minutes that Slurm waits before it starts a requeued job."""
        for task in self.states():
            run("scontrol", "update", f"JobId={task}", "StartTime=now", env=self.slurm.env)

    def details(self) -> str:
        """As Slurm tells them."""
        return attempt("scontrol", "show", "job", self.number, env=self.slurm.env).stdout

    def log(self, task: int = 0) -> str:
        """Of a task, wherever the script lets it be written."""
        found = [
            *self.root.glob(f"*{self.number}_{task}.log"),
            *self.root.glob(f"logs/*{self.number}_{task}.log"),
            *self.root.glob(f"*{self.number}_*.log"),
        ]
        return found[0].read_text(errors="replace") if found else "no log"


@dataclass
class _Story:
    checks: Checks
    slurm: Slurm
    server: PostgresServer
    project: Project
    script: Path
    url: str = ""
    losses: dict[str, float] = field(default_factory=dict)

    def submit(
        self,
        *options: str,
        search: str,
        arguments: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> _Job:
        """Sbatch as the page says, on nodes without GPU."""
        words = ["sbatch", "--parsable", "--gres=none", *options, str(self.script), search]
        environment = {**self.slurm.env, "PATH": _programs(), **(env or {})}
        number = run(*words, *arguments, cwd=self.project.root, env=environment).strip()
        return _Job(self.slurm, number.partition(";")[0], self.project.root)

    def small_things(self) -> None:
        """What needs no training; a program that says what it was given is in the search's place."""
        programs = self.project.root / "programs"
        programs.mkdir()
        (programs / "sequifier-hpo").write_text('#!/bin/sh\necho "got $*"\n')
        (programs / "sequifier-hpo").chmod(0o755)
        search = "configs/tiny.yaml"
        env = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "SEQUIFIER_HPO_STORAGE": "postgresql://user@host/studies",
        }

        job = self.submit(
            "--array=0-1",
            "--cpus-per-task=1",
            arguments=("--retry-failed",),
            search=search,
            env=env,
        )
        job.wait_for("tasks end", set(), 60)
        self.checks.that(
            "a project without a folder logs/ gets its logs, and arguments are passed on",
            "configs/tiny.yaml --retry-failed" in job.log(),
            job.log(),
        )
        (self.project.root / "logs").mkdir(exist_ok=True)  # for who relies on it
        job = self.submit("--array=0", "--time=2", "--cpus-per-task=1", search=search, env=env)
        job.wait_for("the task ends", set(), 60)
        self.checks.that(
            "a time limit in which nothing could get on is refused with a sentence",
            "too short" in job.log() and "got" not in job.log(),
            job.log(),
        )
        job = self.submit(
            "--array=0", "--time=1-00:00:00", "--cpus-per-task=1", search=search, env=env
        )
        job.wait_for("the task ends", set(), 60)
        self.checks.that("one of a day is taken", "got" in job.log(), job.log())

    def without_postgres(self) -> None:
        """A single node with SQLite; a second one is refused."""
        search = self.project.write_search("alone", model__attention_type=["mha"])
        job = self.submit("--array=0", "--cpus-per-task=2", "--exclusive", search=search)
        job.wait_for("the task ends", set(), 180)
        results = self.project.root / "studies/alone/results.csv"
        self.checks.that(
            "`--array=0` without Postgres searches with SQLite",
            results.exists() and results.read_text().count("complete") >= 2,
            job.log(),
        )
        self.checks.that(
            "`workers: auto` takes the two cores of --cpus-per-task=2, not the four of the node",
            self._most_at_once(job.log()) == 2,
            job.log(),
        )
        search = self.project.write_search("both", training__epochs=[60])
        first = self.submit(
            "--array=0", "--nodelist=n1", "--cpus-per-task=1", "--exclusive", search=search
        )
        wait("the first host trains", lambda: "started" in first.log(), 90)
        second = self.submit(
            "--array=0", f"--nodelist={OTHER_HOST}", "--cpus-per-task=1", search=search
        )
        wait("the second task ends", lambda: second.number not in str(second.states()), 90)
        is_refused = "Postgres" in second.log() and "single machine" in second.log()
        self.checks.that("SQLite from a second host is refused", is_refused, second.log())
        self.checks.that("the first goes on", "RUNNING" in first.states().values(), first.log())
        run("scancel", first.number, env=self.slurm.env)
        first.wait_for("it is gone", set(), 60)
        self.slurm.wait_until_idle()

    @staticmethod
    def _most_at_once(log: str) -> int:
        """Runs that were started before the first one ended."""
        before = log.partition("best so far")[0]
        return len(set(re.findall(r"run (\d+): started", before)))

    def many_tasks(self) -> None:
        """An array over its time limit, cancelled, submitted again, and a node that dies."""
        search = self._undisturbed()
        self.url = self.server.new_database("array")
        storage = {"SEQUIFIER_HPO_STORAGE": self.url}
        job = self.submit(
            "--array=0-1",
            "--time=3",
            "--cpus-per-task=1",
            "--exclusive",
            search=search,
            env=storage,
        )
        wait("both run", lambda: list(job.states().values()) == ["RUNNING"] * 2, 60)
        with self.checks.of("every task returns to the queue at its time limit, the last one too"):
            wait("both wait", lambda: list(job.states().values()) == ["PENDING"] * 2, 150)
        stored = StoredTrials(self.url)
        self.checks.that("none is left RUNNING meanwhile", stored.num("RUNNING") == 0)
        job.start_now()
        with self.checks.of("the tasks go on"):
            wait("both run again", lambda: list(job.states().values()) == ["RUNNING"] * 2, 90)
            wait("they train", lambda: stored.num("RUNNING") == 2, 90)
        self.checks.that(
            "the log still says what happened before the requeue",
            all(job.log(task).count("runs left to train") == 2 for task in (0, 1)),
            job.log(),
        )
        run("scancel", job.number, env=self.slurm.env)
        with self.checks.of("scancel ends all tasks, and none returns"):
            job.wait_for("they are gone", set(), 60)
        with self.checks.of("their runs are let go"):  # Slurm waits 30 s before it kills
            wait("none is RUNNING", lambda: stored.num("RUNNING") == 0, 30)
        self.slurm.wait_until_idle()
        self._dead_node(search, stored, storage)

    def _dead_node(self, search: str, stored: StoredTrials, storage: dict[str, str]) -> None:
        options = ("--array=0-1", "--exclude=n2", "--cpus-per-task=1", "--exclusive")
        job = self.submit(*options, search=search, env=storage)
        wait("two runs are trained", lambda: stored.num("RUNNING") == 2, 90)
        self.slurm.kill_node(OTHER_HOST)
        with self.checks.of("the run of a dead node is taken over by another"):
            wait("all runs are complete", lambda: stored.num("COMPLETE") == len(self.losses), 600)
        job_ends = lambda: not any(s == "RUNNING" for s in job.states().values())  # noqa: E731
        wait("the coordinator that is left ends", job_ends, 60)
        self.checks.that(
            f"in the end {len(self.losses)} runs are complete once, with the losses of an "
            "undisturbed search, bit for bit; none is RUNNING",
            stored.losses() == self.losses and stored.num("RUNNING") == 0,
            (stored.losses(), self.losses, stored.states()),
        )
        stored.close()

    def _undisturbed(self) -> str:
        """The losses of the search that follows; returns its file."""
        probe = self.project.write_search("probe", model__attention_type=["mha"])
        self.project.search("--workers", "2", file=probe)
        metrics = next(self.project.root.glob("logs/*probe-run-0-metrics.jsonl")).read_text()
        epochs = [
            each for each in map(json.loads, metrics.splitlines()) if each["event"] == "epoch"
        ]
        num_epochs = max(10, round(_RUN_SECONDS / min(each["seconds"] for each in epochs)))
        values = {
            "training__epochs": [num_epochs],
            "training__batch_size": [32],
            "model__dim_feedforward": [8, 12, 16, 24],
            "model__attention_type": ["mha"],
            "input_columns": [["weather", "month"]],
        }
        plain = self.project.write_search("plain", **values)
        done = self.project.search("--workers", "2", file=plain)
        assert done.code == 0, done.stderr
        self.losses = StoredTrials(f"sqlite:///{self.project.root}/studies/plain/study.db").losses()
        return self.project.write_search("array", **values)


def _with_affinity(checks: Checks, folder: Path, script: Path) -> None:
    """Whether a search may use the cores of its task where Slurm binds them."""
    if len(os.sched_getaffinity(0)) < 2:
        checks.cannot("Slurm with core affinity", "there is one core only")
        return
    slurm = Slurm(folder / "slurm-affinity", affinity=True)
    try:
        slurm.start()
        programs = folder / "programs"
        programs.mkdir()
        (folder / "logs").mkdir()
        (programs / "sequifier-hpo").write_text('#!/bin/sh\necho "cores: $(nproc)"\n')
        (programs / "sequifier-hpo").chmod(0o755)
        job = run(
            *("sbatch", "--parsable", "--gres=none", "--array=0", "--cpus-per-task=2"),
            *(str(script), "search.yaml"),
            cwd=folder,
            env={
                **slurm.env,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "SEQUIFIER_HPO_STORAGE": "postgresql://host/studies",
            },
        ).strip()
        found = _Job(slurm, job, folder)
        found.wait_for("the task ends", set(), 60)
        checks.that(
            "with core affinity a search gets both cores of --cpus-per-task=2",
            "cores: 2" in found.log(),
            found.log(),
        )
    finally:
        slurm.stop()
