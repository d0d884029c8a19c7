"""Output is never a reason to fail or to stop: closed, narrow and full streams, lost readers."""

import errno
import fcntl
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from sequifier_hpo.cli.lasting import fault_of, lasting_output
from tests.cli.conftest import Run, Study

FILE = ("--config-path", "configs/search.yaml")


@pytest.fixture
def pipe() -> Iterator[tuple[int, TextIO]]:
    """The end that is read, and a stream that writes to the other."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    stream = os.fdopen(writing, "w")
    yield reading, stream
    os.close(reading)
    stream.close()


def test_a_reader_that_stopped_reading_keeps_nobody_waiting(
    pipe: tuple[int, TextIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    reading, stream = pipe
    monkeypatch.setattr(sys, "stderr", stream)
    lines = [f"line {i} {'-' * 100}\n" for i in range(200)]

    with lasting_output():
        for line in lines:
            sys.stderr.write(line)
        reader = subprocess.Popen(["cat"], stdin=reading, stdout=subprocess.PIPE, text=True)
    stream.close()

    assert reader.communicate()[0] == "".join(lines)


@pytest.mark.parametrize(
    "command",
    [["status"], ["best"], ["export"], ["report"], ["status", "--watch", "--interval", "0.1"]],
    ids=" ".join,
)
def test_a_reader_that_left_is_no_fault(
    command: list[str], run: Run, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.complete(0.5)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)

        assert run(*command, *FILE).code == 0


def test_streams_that_are_not_there_are_no_fault(
    run: Run, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.complete(0.5)
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)

    assert [run(command, *FILE).code for command in ("status", "best", "report")] == [0, 0, 0]
    assert run("best", *FILE, "--study-name", "other").code == 2


@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "gr\\xf6\\xdfer"), ("latin-1", "größer")]
)
def test_a_letter_that_the_encoding_lacks_is_escaped(
    encoding: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))

    with lasting_output():
        print("größer")
        print("\ud800 κ")

    assert written.getvalue().decode(encoding).startswith(f"{shown}\n\\ud800 ")


def test_a_full_disk_is_said_and_fails_only_what_is_for_the_disk(
    run: Run, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.complete(0.5)
    done = {}
    for command in ("status", "export"):
        with Path("/dev/full").open("w") as full, monkeypatch.context() as patched:
            patched.setattr(sys, "stdout", full)
            done[command] = run(command, *FILE)

    assert (done["status"].code, done["export"].code) == (0, 3)
    assert "the output is incomplete: No space left on device" in done["status"].stderr
    assert "the table is incomplete: No space left on device" in done["export"].stderr


def test_the_first_fault_is_remembered() -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "no such disk")

    before, sys.stdout = sys.stdout, Broken()
    try:
        with lasting_output():
            print("lost")
            fault = fault_of(sys.stdout)
    finally:
        sys.stdout = before

    assert fault is not None
    assert fault.errno == errno.EIO


CLOSED = """
import os
for number in {numbers}:
    os.close(number)
os.execv({python!r}, [{python!r}, "-c", {program!r}, *{arguments!r}])
"""
PROGRAM = "from sequifier_hpo.cli.entry import sequifier_hpo; sequifier_hpo()"


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [(1,), (2,), (0, 1, 2)])
def test_a_process_without_its_streams_does_its_work_and_writes_into_no_file(
    study: Study, numbers: tuple[int, ...]
) -> None:
    study.complete(0.5)
    arguments = ["best", *FILE, "--write", "configs/train.yaml"]
    start = CLOSED.format(
        numbers=numbers, python=sys.executable, program=PROGRAM, arguments=arguments
    )

    done = subprocess.run([sys.executable, "-c", start], capture_output=True, check=False)

    assert done.returncode == 0, done.stderr
    assert Path("configs/train.yaml").read_text() == "model_name: shop-run-0\n"
