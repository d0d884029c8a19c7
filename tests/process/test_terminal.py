"""A terminal that closes, and output that nobody reads any more, while a search runs."""

import os
import pty
import signal
import subprocess
import sys
import time

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.process.chaos import StoredTrials, children_of, wait_for, write_pair

pytestmark = pytest.mark.slow

_PROGRAM = "from sequifier_hpo.cli.entry import sequifier_hpo; sequifier_hpo()"


def stored(project: Project, name: str) -> StoredTrials:
    return StoredTrials(sqlite_url(project.root / f"studies/{name}/study.db"))


def test_a_search_whose_output_nobody_reads_any_more_goes_on_to_its_end(project: Project) -> None:
    file = write_pair(project, "unread")
    process = project.start("hyperparameter-search", "--config-path", file, "--workers", "1")
    assert process.stdout is not None
    assert process.stderr is not None

    process.stderr.readline()
    process.stderr.close()
    process.stdout.close()

    assert process.wait(timeout=120) == 0
    assert stored(project, "unread").states() == ["COMPLETE", "COMPLETE"]


def test_a_search_without_standard_output_and_error_trains_to_its_end(project: Project) -> None:
    file = write_pair(project, "mute")
    shell = 'exec "$0" -c "$@" >&- 2>&- <&-'
    command = ["sh", "-c", shell, sys.executable, _PROGRAM, "hyperparameter-search"]

    done = subprocess.run([*command, "--config-path", file], cwd=project.root, check=False)

    assert done.returncode == 0
    assert stored(project, "mute").states() == ["COMPLETE", "COMPLETE"]


def test_a_search_under_nohup_does_not_stop_with_its_terminal(project: Project) -> None:
    file = write_pair(project, "nohup")
    arguments = ("hyperparameter-search", "--config-path", file, "--workers", "1")
    process = subprocess.Popen(
        ["nohup", sys.executable, "-c", _PROGRAM, *arguments],
        cwd=project.root,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    trials = stored(project, "nohup")
    wait_for(lambda: trials.num("RUNNING") > 0, process)

    process.send_signal(signal.SIGHUP)
    _, stderr = process.communicate(timeout=120)

    assert process.returncode == 0, stderr
    assert trials.states() == ["COMPLETE", "COMPLETE"]


def test_a_search_stops_in_good_order_when_its_terminal_is_closed(project: Project) -> None:
    file = write_pair(project, "hang-up")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project.root)
        arguments = ("hyperparameter-search", "--config-path", file, "--workers", "1")
        os.execv(sys.executable, [sys.executable, "-c", _PROGRAM, *arguments])
    trials = stored(project, "hang-up")
    deadline = time.monotonic() + 60
    while not any(map(children_of, children_of(pid))) or trials.num("RUNNING") == 0:
        os.read(terminal, 65536)  # it redraws several times a second
        assert time.monotonic() < deadline, "waited too long"

    os.close(terminal)
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    assert trials.num("RUNNING") == 0
    assert project.search(file=file).code == 0
    assert trials.num("COMPLETE") == 2
