"""docker/Dockerfile and docker/compose.yaml on real engines."""

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.cluster.checks import Checks
from tests.cluster.docker import Engine
from tests.cluster.shell import CommandError, attempt, kill, run, wait
from tests.end_to_end.conftest import Project
from tests.process.chaos import StoredTrials

_COPIED = ("docker", "sequifier_hpo", "pyproject.toml", "constraints.txt", "README.md", "LICENSE")
_UID, _GID = 33, 1234
"""Of the user who runs the search: one that the base image knows by name, and a group of another number."""
_RUN_SECONDS = 25


def check_engine(checks: Checks, engine: Engine, docker: Path) -> None:
    """Run everything on an engine.

    Args:
        checks: Takes the results.
        engine: The engine, not started.
        docker: The folder with the files.
    """
    try:
        engine.start()
        checks.engine = engine.versions()
        with checks.of("the engine takes the base images"):
            engine.import_bases()
        story = _Story(checks, engine, _clone(engine.folder / "clone", docker))
        for part in (
            story.refusals,
            story.first_start,
            story.commands,
            story.own_endings,
            story.second_clone,
            story.disturbed,
        ):
            with checks.completion_of(part.__name__):
                part()
    finally:
        engine.clean_up()


def _clone(folder: Path, docker: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _COPIED:
        source = docker if name == "docker" else Path(__file__).parents[2] / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    (folder / "docker/.env").unlink(missing_ok=True)
    return folder


@dataclass
class _Clone:
    """A copy of the repository, in which Compose is used as its page says."""

    engine: Engine
    folder: Path
    project: Path
    env: dict[str, str] = field(default_factory=lambda: {"TORCH_INDEX": ""})

    def settings(self) -> str:
        """Write docker/.env, as the user who runs the search."""
        script = self.folder / "docker/settings.sh"
        if script.exists():
            text = run("sh", script, self.project, cwd=self.folder)
        else:  # what the page of earlier files said
            lines = (
                f"POSTGRES_PASSWORD={secrets.token_hex()}",
                f"UID={_UID}",
                f"PROJECT={self.project}",
            )
            text = "\n".join([*lines, ""])
            (self.folder / "docker/.env").write_text(text)
        self.env |= {"UID": str(_UID), "GID": str(_GID)}
        return text

    def attempt(self, *words: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
        """`docker compose -f docker/compose.yaml ...`, which may fail."""
        return attempt(
            *("docker", "compose", "-f", "docker/compose.yaml", *words),
            cwd=self.folder,
            env={**self.engine.env, **self.env, **env},
            timeout=1500,
        )

    def run(self, *words: str | Path, **env: str) -> str:
        """The same, which must not fail."""
        done = self.attempt(*words, **env)
        if done.returncode != 0:
            raise CommandError(f"compose {words}: exit {done.returncode}\n{done.stderr[-3000:]}")
        return done.stdout

    def containers(self, service: str) -> list[dict[str, Any]]:
        """What the engine knows of a service's containers."""
        ids = self.run("ps", "--all", "--quiet", service).split()
        return json.loads(self.engine.run("inspect", *ids)) if ids else []

    def states(self, service: str) -> list[tuple[str, int, int]]:
        """(status, exit code, restarts) of each."""
        return [
            (one["State"]["Status"], one["State"]["ExitCode"], one["RestartCount"])
            for one in self.containers(service)
        ]

    def wait_for_end(self, service: str, seconds: float) -> None:
        """Until all its containers have exited for good."""
        is_over = lambda: all(state == "exited" for state, _, _ in self.states(service))  # noqa: E731
        wait(f"{service} ends", is_over, seconds)

    @contextmanager
    def stored(self) -> Iterator[StoredTrials]:
        """The study's tables, read past Compose and our program."""
        (container,) = self.containers("postgres")
        networks = container["NetworkSettings"]["Networks"].values()
        address = next(iter(networks))["IPAddress"]
        password = re.search(r"PASSWORD=(.*)", (self.folder / "docker/.env").read_text())
        assert password, "docker/.env has a password"
        url = f"postgresql://sequifier:{password[1]}@{address}/studies?connect_timeout=3"
        trials = StoredTrials(url)
        try:
            yield trials
        finally:
            trials.close()

    def num(self, state: str) -> int:
        """Trials in a state; -1 while the database does not answer."""
        try:
            with self.stored() as trials:
                return trials.num(state)
        except (psycopg.Error, CommandError, StopIteration):
            return -1

    def num_epochs(self) -> int:
        """Epochs that were reported so far."""
        with self.stored() as trials:
            return len(trials.rows("SELECT 1 FROM trial_intermediate_values"))


@dataclass
class _Story:
    checks: Checks
    engine: Engine
    folder: Path

    def __post_init__(self) -> None:
        project = self.engine.folder / "project"
        shutil.rmtree(project, ignore_errors=True)
        project.mkdir()
        os.chown(project, _UID, _GID)
        self.clone = _Clone(self.engine, self.folder, project)
        self.project = Project(project)
        self.image = ""
        self.num_epochs = 30  # until it is known how long one takes

    def refusals(self) -> None:
        """What must not be started."""
        done = self.clone.attempt("up", "--detach")
        self.checks.that(
            "without its settings `up` is refused with a sentence",
            done.returncode != 0 and "settings.sh" in done.stderr,
            done.stderr,
        )
        self.clone.settings()
        before = (self.folder / "docker/.env").read_text()
        self.clone.settings()
        self.checks.that(
            "settings that are written again keep the name and the password",
            (self.folder / "docker/.env").read_text() == before,
        )
        config = json.loads(self.clone.run("config", "--format", "json"))
        building = [name for name, each in config["services"].items() if "build" in each]
        self.checks.that(
            "one service builds the image, and who else uses it never pulls it",
            building == ["search"]
            and config["services"]["dashboard"].get("pull_policy") == "never",
            config["services"],
        )
        gpu = self.clone.run("-f", "docker/compose.gpu.yaml", "config", "--format", "json")
        service = json.loads(gpu)["services"]["search"]
        self.checks.that(
            "compose.gpu.yaml requests the GPUs (validated only)",
            service["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"],
            service,
        )

    def first_start(self) -> None:
        """The documented command, on an engine that has no image yet; a search that is not there."""
        for time in ("first", "second"):
            with self.checks.of(f"`docker compose up --build` succeeds the {time} time"):
                self.clone.run("up", "--build", "--detach", "--scale", "search=2")
            self.image = self.clone.containers("search")[0]["Image"]
            with self.checks.of("a search whose file is missing ends"):
                self.clone.wait_for_end("search", 60)
            if time == "first":
                self.checks.that(
                    "a search whose file is missing is not started again",
                    all(restarts == 0 for _, _, restarts in self.clone.states("search")),
                    self.clone.states("search"),
                )
                self.clone.run("down", "--volumes")
                self.engine.run("image", "rm", "--force", self.image)
        for path in ("my-project", "./my-project", "."):
            done = self.clone.attempt("up", "--detach", "postgres", "search", PROJECT=path)
            self.checks.that(
                f"PROJECT={path} is refused, and no folder made",
                "does not exist" in done.stderr
                and not (self.folder / "docker/my-project").exists(),
                done.stderr,
            )
        self.clone.run("down", "--volumes")

    def _docker_run(self, *arguments: str, options: Sequence[str] = ()) -> str:
        words = [
            "run",
            "--rm",
            "--user",
            f"{_UID}:{_GID}",
            "--volume",
            f"{self.project.root}:/project",
        ]
        return self.engine.run(*words, *options, self.image, *arguments)

    def commands(self) -> None:
        """`docker run` as the page shows it, from an empty folder on."""
        with self.checks.of("`docker run` with init, preprocess and plan, from an empty folder"):
            self._docker_run("init", ".")
            self._docker_run("preprocess", "--config-path", "configs/preprocess.yaml")
            self._docker_run("plan", "--config-path", "configs/hyperparameter_search.yaml")
        owners = {(p.stat().st_uid, p.stat().st_gid) for p in self.project.root.rglob("*")}
        self.checks.that("files belong to the user and the group", owners == {(_UID, _GID)}, owners)
        doctor = self._docker_run("doctor", options=("--cpus", "1"))
        self.checks.that(
            "`docker run --cpus 1` trains one run at once (cgroup v1)"
            if Path("/sys/fs/cgroup/cpu").exists()
            else "`docker run --cpus 1` trains one run at once (cgroup v2)",
            "(1 concurrent" in doctor,
            doctor,
        )
        for user in ("0:0", "4321:99"):
            done = self.engine.attempt("run", "--rm", "--user", user, self.image, "--version")
            self.checks.that(f"the image runs as {user}", done.returncode == 0, done.stderr)
        plain = self._write("plain", 2)
        metrics = self._search(plain)
        epochs = [each for each in metrics if each["event"] == "epoch"]
        self.num_epochs = max(6, round(_RUN_SECONDS / epochs[-1]["seconds"]))
        self._search(self._write("plain-long", self.num_epochs))
        study = f"sqlite:///{self.project.root}/studies/plain-long/study.db"
        self.losses = StoredTrials(study).losses()

    def _write(self, name: str, epochs: int, **more: Any) -> str:
        file = self.project.write_search(
            name,
            training__epochs=[epochs],
            training__batch_size=[32],
            model__dim_feedforward=[8, 16],
            **more,
        )
        os.chown(self.project.root / file, _UID, _GID)
        return file

    def _search(self, file: str) -> list[dict[str, Any]]:
        """Run one with docker alone; returns the events of its first run."""
        self._docker_run("hyperparameter-search", "--config-path", file)
        name = f"sequifier-{Path(file).stem}-run-0-metrics.jsonl"
        lines = (self.project.root / "logs" / name).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def own_endings(self) -> None:
        """Searches that end by their own decision, and one that has lost its database."""
        file = self._write("diverging", 2, training__learning_rate=[1e30], training__dropout=[0.0])
        env = {"SEARCH": file}
        self.clone.run("up", "--detach", "search", **env)
        self.clone.wait_for_end("search", 180)
        self.checks.that(
            "a search all of whose runs fail is not started again",
            [restarts for _, _, restarts in self.clone.states("search")] == [0],
            self.clone.states("search"),
        )
        self.checks.that(
            "it never took a server for ready that was still being set up",
            "cannot be opened" not in self.clone.run("logs", "search"),
        )
        failed = self.clone.num("FAIL")
        arguments = ("hyperparameter-search", "--config-path", file, "--retry-failed")
        done = self.clone.attempt("run", "--rm", "search", *arguments, **env)
        self.checks.that(
            "`docker compose run search ... --retry-failed` tries failed runs again",
            self.clone.num("FAIL") > failed,
            done.stderr,
        )
        self.clone.run("stop", "postgres")
        self.clone.run("rm", "--force", "--stop", "search")
        lost = {"SEARCH": self._write("lost", 2)}
        self.clone.run("up", "--detach", "--no-deps", "search", **lost)
        with self.checks.of("a search that has lost its database is started again and ends well"):
            wait("it is restarted", lambda: self.clone.states("search")[0][2] >= 1, 120)
            self.clone.run("start", "postgres")
            wait(
                "its runs are complete", lambda: self.clone.num("COMPLETE") == len(self.losses), 240
            )
        dashboard = self.clone.attempt("up", "--detach", "dashboard", **lost)
        with self.checks.of("the dashboard says an address that can be opened"):
            wait(
                "it says 127.0.0.1:8080",
                lambda: "http://127.0.0.1:8080/" in self.clone.run("logs", "dashboard"),
                60,
            )
            run("curl", "--fail", "--silent", "--retry", "5", "http://127.0.0.1:8080/dashboard")
        assert dashboard.returncode == 0, dashboard.stderr

    def second_clone(self) -> None:
        """Another clone on the same machine, which is brought up and taken down with its volume."""
        docker = self.folder / "docker"
        other = _Clone(self.engine, _clone(self.engine.folder / "other", docker), self.project.root)
        other.env["DASHBOARD_PORT"] = "8081"
        other.settings()
        before = self.clone.run("ps", "--quiet", "postgres")
        other.run("up", "--detach", "postgres")
        other.run("down", "--volumes")
        after = self.clone.attempt("ps", "--quiet", "postgres").stdout
        self.checks.that(
            "a second clone touches neither the containers nor the volume of the first",
            before == after and self.clone.num("COMPLETE") > 0,
            (before, after),
        )
        self.clone.run("down")

    def disturbed(self) -> None:
        """Two coordinators that are stopped, killed and resumed."""
        clone, env = self.clone, {"SEARCH": self._write("disturbed", self.num_epochs)}
        clone.run("down", "--volumes")
        clone.run("up", "--detach", "--scale", "search=2", **env)
        wait("two runs are trained", lambda: clone.num("RUNNING") >= 2, 120)
        clone.run("stop", "search", **env)
        codes = [code for _, code, _ in clone.states("search")]
        self.checks.that("`stop` ends a search with 143", codes == [143, 143], codes)
        self.checks.that("and lets go of its runs", clone.num("RUNNING") == 0)
        clone.run("start", "search", **env)
        wait("they go on", lambda: clone.num("RUNNING") >= 2, 120)
        kill([clone.containers("search")[0]["State"]["Pid"]])
        with self.checks.of("a coordinator that is killed is started again"):
            wait("a restart", lambda: sum(s[2] for s in clone.states("search")) == 1, 60)
        kill([clone.containers("postgres")[0]["State"]["Pid"]])
        with self.checks.of("so is a Postgres that is killed, and the search goes on"):
            wait("it answers", lambda: clone.num("RUNNING") >= 1, 120)
        self.engine.stop()
        self.engine.start()
        with self.checks.of("and all of them after a restart of the engine"):
            wait("Postgres answers", lambda: clone.num("RUNNING") >= 0, 60)
            before = clone.num_epochs()
            wait("epochs are reported", lambda: clone.num_epochs() > before, 200)
        clone.run("kill", "search", **env)
        clone.run("rm", "--force", "search", **env)
        clone.run("up", "--detach", "--no-build", "--scale", "search=2", **env)
        with self.checks.of("containers under new names take over the runs of those that are gone"):
            wait("all complete", lambda: clone.num("COMPLETE") == len(self.losses), 500)
        with clone.stored() as trials:
            self.checks.that(
                f"in the end {len(self.losses)} runs are complete once, with the losses of an "
                "undisturbed search, bit for bit; none is RUNNING",
                trials.losses() == self.losses and trials.num("RUNNING") == 0,
                (trials.losses(), self.losses),
            )
        clone.run("down", "--volumes")
