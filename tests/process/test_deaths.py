"""Processes that die: trials, workers, coordinators."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.config.train import load_train_config
from sequifier_hpo.coordinator.pool import PoolEvent, WorkerPool, WorkerSpec
from sequifier_hpo.messages import EpochDone, RunTrial, TrialEnded, TrialStarted
from sequifier_hpo.records import OutcomeKind
from tests.end_to_end.conftest import Project
from tests.postgres_server import PostgresServer
from tests.process.chaos import (
    EPOCHS,
    Coordinator,
    StoredTrials,
    children_of,
    read_until,
    send,
    thaw,
    wait_for,
    write_pair,
    write_search,
)

pytestmark = pytest.mark.slow


def start(project: Project, name: str, *more: str) -> "subprocess.Popen[str]":
    return start_file(project, write_pair(project, name), *more)


def start_file(project: Project, file: str, *more: str) -> "subprocess.Popen[str]":
    return project.start("hyperparameter-search", "--config-path", file, *more)


def trials_below(process: "subprocess.Popen[str]") -> list[int]:
    return [trial for worker in children_of(process.pid) for trial in children_of(worker)]


def wait_for_training(project: Project, name: str, process: "subprocess.Popen[str]") -> None:
    """Until a trial trains; a worker that starts has other short-lived children."""
    logs = project.root / "logs"
    wait_for(lambda: list(logs.glob(f"sequifier-{name}-run-*-metrics.jsonl")), process)
    wait_for(lambda: trials_below(process), process)


E = TypeVar("E", bound=PoolEvent)


def next_of(kind: type[E], pool: WorkerPool) -> E:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for event in pool.poll(1.0):
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def attributes(project: Project, name: str, key: str) -> list[Any]:
    trials = StoredTrials(sqlite_url(project.root / f"studies/{name}/study.db"))
    rows = trials.rows(f"SELECT value_json FROM trial_user_attributes WHERE key = '{key}'")
    return [value for (value,) in rows]


def test_no_process_outlives_a_killed_coordinator(project: Project) -> None:
    process = start(project, "orphans")
    wait_for_training(project, "orphans", process)
    below = [*children_of(process.pid), *trials_below(process)]

    process.kill()
    process.communicate(timeout=30)

    deadline = time.monotonic() + 15
    while any(map(is_alive, below)):
        assert time.monotonic() < deadline, "an orphan lives on"
        time.sleep(0.02)
    assert len(below) >= 2


def test_a_trial_that_is_killed_counts_as_out_of_memory_and_is_repeated_halved(
    project: Project,
) -> None:
    process = start(project, "killed-trial", "--workers", "1")
    wait_for_training(project, "killed-trial", process)

    send(trials_below(process)[0], signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)

    assert process.returncode == 0, stderr
    assert "out of memory at batch size" in stderr
    assert sorted(attributes(project, "killed-trial", "oom_retries")) == ["0", "1"]
    assert sorted(attributes(project, "killed-trial", "effective_batch_size")) == ["32", "64"]


def test_editing_on_out_of_memory_does_not_change_a_run_that_is_half_trained(
    project: Project,
) -> None:
    fields = {
        "training__epochs": [20],
        "training__batch_size": [64],
        "model__attention_type": ["mha"],
        "input_columns": [["weather", "month"]],
    }
    file = project.write_search("edited", **fields)
    log = project.root / "logs/sequifier-edited-run-0-metrics.jsonl"
    process = start_file(project, file)
    wait_for_training(project, "edited", process)
    send(trials_below(process)[0], signal.SIGKILL)
    wait_for(lambda: '"attempt": 2' in log.read_text(), process)
    wait_for(lambda: '"epoch"' in log.read_text().rpartition('"attempt": 2')[2], process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    project.write_search("edited", **fields, on_out_of_memory="halve_and_accumulate")

    resumed = project.search(file=file)

    run_file = yaml.safe_load((project.root / "configs/hp_search/edited-run-0.yaml").read_text())
    spec = run_file["training_spec"]
    events = [json.loads(line) for line in log.read_text().splitlines()]
    epochs = [event["epoch"] for event in events if event["event"] == "epoch"]
    records = (project.root / "studies/edited/coordinator.log").read_text()
    assert resumed.code == 0, resumed.stderr
    assert (spec["batch_size"], spec["accumulation_steps"]) == (32, 1)
    assert epochs[-20:] == list(range(1, 21)), "it was begun anew"
    assert "| WARNING | retried |" in records
    assert " study=edited run_number=0 trial_number=0 attempt=1 " in records
    assert "| INFO | stopping |" in records


def test_a_trial_that_crashes_fails_with_its_reason_until_its_repetition_is_asked_for(
    project: Project,
) -> None:
    process = start(project, "crash", "--workers", "1")
    wait_for_training(project, "crash", process)
    trials = StoredTrials(sqlite_url(project.root / "studies/crash/study.db"))

    send(trials_below(process)[0], signal.SIGSEGV)
    _, stderr = process.communicate(timeout=120)
    reasons = attributes(project, "crash", "reason")
    num_failed, num_complete = trials.num("FAIL"), trials.num("COMPLETE")
    again = project.search("--retry-failed", file="configs/crash.yaml")

    assert process.returncode == 0, stderr
    assert "ended by SIGSEGV" in stderr
    assert (num_failed, num_complete, reasons) == (1, 1, ['"crashed"'])
    assert "retrying 1 failed run" in again.stderr
    assert "1 of 2 runs left to train" in again.stderr
    assert "[2/2" in again.stderr
    assert trials.num("COMPLETE") == 2


def test_data_that_is_damaged_while_a_search_runs_fails_the_runs_that_need_it(
    project: Project,
) -> None:
    data = project.root / "data/fragile.parquet"
    shutil.copy(project.root / "data/seattle-weather-split0.parquet", data)
    file = project.write_search(
        "damaged",
        training__epochs=[5 * EPOCHS],
        training__batch_size=[64],
        model__attention_type=["mha"],
        training_data_path="data/fragile.parquet",
    )
    process = start_file(project, file, "--workers", "1")
    # The start of a trial is told before it looks at its data once more.
    log = project.root / "logs/sequifier-damaged-run-0-metrics.jsonl"
    wait_for(lambda: log.exists() and '"epoch"' in log.read_text(), process)

    data.write_bytes(b"not what it was")
    _, stderr = process.communicate(timeout=120)

    states = StoredTrials(sqlite_url(project.root / "studies/damaged/study.db")).states()
    assert process.returncode == 0, stderr
    assert "invalid: data/fragile.parquet cannot be read" in stderr
    assert sorted(states) == ["COMPLETE", "FAIL"]


def test_a_worker_that_is_killed_is_replaced_and_its_trials_go_on(
    project: Project, undisturbed: dict[str, float]
) -> None:
    process = start_file(project, write_search(project, "killed-worker"), "--workers", "2")
    wait_for_training(project, "killed-worker", process)

    for worker in children_of(process.pid):
        send(worker, signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)

    trials = StoredTrials(sqlite_url(project.root / "studies/killed-worker/study.db"))
    records = (project.root / "studies/killed-worker/coordinator.log").read_text()
    assert process.returncode == 0, stderr
    assert "its worker process was lost" in stderr
    assert re.search(r"\| worker lost \| .* study=killed-worker worker=\d+ exit_code=-9 ", records)
    assert trials.losses() == undisturbed


@pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGKILL, OutcomeKind.OUT_OF_MEMORY), (signal.SIGSEGV, OutcomeKind.CRASHED)],
)
def test_a_worker_that_trains_by_itself_as_on_gpus_ends_its_trial_with_its_own_end(
    project: Project,
    undisturbed: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    kind: OutcomeKind,
) -> None:
    monkeypatch.chdir(project.root)
    config = load_train_config(Path("configs/hp_search/undisturbed-run-0.yaml"))
    endless = config.training_spec.model_copy(update={"epochs": 10**6})
    config = config.model_copy(update={"model_name": "resident", "training_spec": endless})
    pool = WorkerPool([WorkerSpec(1, is_resident=True)], project.root / "logs/resident.log")
    order = RunTrial(trial_number=0, attempt=1, config=config, config_path=None, resume=False)

    pool.run(0, order)
    started = next_of(TrialStarted, pool)
    next_of(EpochDone, pool)
    send(started.pid, number)
    ended = next_of(TrialEnded, pool)

    pool.close()
    assert ended.result.kind == kind
    assert number.name in ended.result.reason


def test_a_second_signal_ends_even_a_trial_that_does_not_answer(project: Project) -> None:
    process = start(project, "impatient", "--workers", "1")
    wait_for_training(project, "impatient", process)
    (trial,) = trials_below(process)
    send(trial, signal.SIGSTOP)

    process.send_signal(signal.SIGINT)
    read_until("signal again to stop immediately", process)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=15)  # the patience with one signal is 20 s

    assert process.returncode == 130, stderr
    assert not is_alive(trial)
    assert attributes(project, "impatient", "reason") == ['"interrupted"']


def test_no_worker_gets_to_know_the_secrets_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQUIFIER_HPO_STORAGE", "postgresql://user:hidden@host/studies")
    monkeypatch.setenv("SEQUIFIER_HPO_NOTIFY", "mailto://user:hidden@host")
    before = children_of(os.getpid())

    pool = WorkerPool([WorkerSpec(1, is_resident=False)], tmp_path / "workers.log")
    (worker,) = set(children_of(os.getpid())) - set(before)
    environment = Path(f"/proc/{worker}/environ").read_bytes()
    pool.kill()
    pool.close()

    assert b"PATH=" in environment
    assert b"hidden" not in environment


def search_with_little_memory(project: Project, name: str, learning_rates: list[float]) -> str:
    """Search with 1,700 MiB of address space a process; returns what was said."""
    file = project.write_search(
        name,
        training__epochs=[1] * len(learning_rates),
        training__learning_rate=learning_rates,
        training__batch_size=[2048],
        model__dim_feedforward=[8192],
        model__attention_type=["mha"],
        input_columns=[["weather", "month"]],
    )
    limit = 1_700 * 2**20
    process = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({limit}, {limit}));"
            "from sequifier_hpo.cli.main import run; run()",
            *("hyperparameter-search", "--config-path", file, "--workers", "1"),
        ],
        cwd=project.root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stderr


def test_a_batch_that_does_not_fit_into_memory_ends_at_a_size_that_does_and_is_not_tried_again(
    project: Project,
) -> None:
    said = search_with_little_memory(project, "too-large", [0.01, 0.02])
    first, second = results(project, "too-large")
    rate = second["learning_rate"]
    alone_said = search_with_little_memory(project, "alone", [float(rate)])
    (alone,) = results(project, "alone")

    size, retries = int(first["effective_batch_size"]), int(first["oom_retries"])
    assert "out of memory at batch size 2048; retrying with 1024" in said
    assert size == 2048 >> retries
    run_file = project.root / "configs/hp_search/too-large-run-0.yaml"
    assert f"batch_size: {size}" in run_file.read_text()
    assert f"as is known, at batch sizes above {size}; beginning with that" in said
    assert "run 1: out of memory at" not in said
    assert (first["oom_foreseen"], second["oom_foreseen"]) == ("", str(retries))
    # The same as of one that failed first.
    assert "out of memory at batch size 2048" in alone_said
    same = ("validation_loss", "effective_batch_size", "oom_retries", "epochs_run")
    assert [second[name] for name in same] == [alone[name] for name in same]


def results(project: Project, name: str) -> list[dict[str, str]]:
    """The rows of the leaderboard, by run."""
    with (project.root / f"studies/{name}/results.csv").open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: int(row["run"]))


def test_a_machine_that_hangs_and_wakes_up_late_does_not_overwrite_anything(
    project: Project, undisturbed: dict[str, float], server: PostgresServer
) -> None:
    enter = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere && exec "$@"', "sh"]
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("another host name cannot be had here: that takes the rights of root")
    url = server.new_database("hanging")
    file = write_search(project, "hanging")
    search = "from sequifier_hpo.cli.main import run; run()"
    arguments = ("hyperparameter-search", "--config-path", file, "--storage", url)
    process = subprocess.Popen(
        [*enter, sys.executable, "-c", search, *arguments, "--workers", "2"],
        cwd=project.root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_training(project, "hanging", process)
    frozen = Coordinator(process).freeze()
    with server.connect("hanging") as connection:
        connection.execute(
            "UPDATE trial_heartbeats SET heartbeat = heartbeat - interval '10 minutes'"
        )

    other = project.search("--storage", url, "--workers", "2", file=file)
    thaw(frozen)
    _, stderr = process.communicate(timeout=120)

    trials = StoredTrials(url)
    losses, states = trials.losses(), trials.states()
    trials.close()
    assert other.code == 0, other.stderr
    assert process.returncode == 0, stderr
    assert losses == undisturbed
    assert sorted(set(states)) == ["COMPLETE", "FAIL"]
