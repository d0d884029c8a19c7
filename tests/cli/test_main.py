"""What becomes of an error that nobody has caught."""

import errno
import os
import sys

import pytest

from sequifier_hpo.cli.main import exit_code_of


def raising(error: Exception) -> int:
    def command() -> None:
        raise error

    return exit_code_of(command)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "c"), "c: Permission denied"),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "Too many open files"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_fault_of_the_machine_is_not_called_a_bug(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert raising(error) == 3

    stderr = capsys.readouterr().err
    assert stderr.startswith(f"error: {said}\n    fix: ")
    assert "Traceback" not in stderr


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "gone", "x"), KeyError("x")])
def test_anything_else_is(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(error) == 1
    assert "this is a bug in sequifier-hpo" in capsys.readouterr().err


def test_a_letter_that_file_names_cannot_have_here_is_no_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")

    def name_it() -> None:
        "studies/größe".encode("ascii")

    assert exit_code_of(name_it) == 3
    shown = capsys.readouterr().err
    assert "file names lacks a letter" in shown
    assert "Traceback" not in shown
