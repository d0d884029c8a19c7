"""What becomes of an error that nobody has caught."""

import errno
import os
import subprocess
import sys

import pytest

from sequifier_hpo.cli.commands import COMMANDS, MEANT
from sequifier_hpo.cli.main import exit_code_of
from tests.cli.conftest import Run


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


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("search", "hyperparameter-search"),
        ("Inference", "predict"),
        ("test", "evaluate"),
        ("prepocess", "preprocess"),
        ("serach", "hyperparameter-search"),
        ("Plan", "plan"),
    ],
)
def test_a_word_that_is_no_command_is_answered_by_the_one_that_is_meant(
    run: Run, word: str, meant: str
) -> None:
    finished = run(word, "--config-path", "x.yaml")

    assert finished.code == 2
    assert f"there is no command `{word}`; did you mean `{meant}`?" in finished.stderr


def test_what_is_meant_is_a_command_and_what_is_typed_is_none() -> None:
    assert set(MEANT.values()) <= COMMANDS.keys()
    assert not MEANT.keys() & COMMANDS.keys()


def test_the_version_and_the_list_of_commands_load_no_library_but_that_of_the_command_line() -> (
    None
):
    program = (
        "import sys; from sequifier_hpo.cli.main import app, exit_code_of\n"
        "exit_code_of(lambda: app(['--help']))\n"
        "heavy = {'polars', 'numpy', 'pydantic', 'optuna', 'sqlalchemy', 'yaml'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert finished.stderr.strip() == "[]"
