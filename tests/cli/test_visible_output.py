"""What comes from a file controls no terminal, and no log."""

import io
import sys
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from sequifier_hpo.cli.lasting import lasting_output
from sequifier_hpo.cli.main import exit_code_of
from sequifier_hpo.cli.view import LiveView, SearchProgress
from sequifier_hpo.cli.visible_output import drawing_stream
from sequifier_hpo.errors import InputError
from sequifier_hpo.log_lines import LogLines
from sequifier_hpo.words import visible

NAME = "a\x1b]0;X\x07\x1b[2Jb\r\x9b31m\u202ec\x7f"
SHOWN = r"a\u001b]0;X\u0007\u001b[2Jb\u000d\u009b31m\u202ec\u007f"


def test_controls_become_escapes_and_everything_else_stays() -> None:
    assert visible(NAME) == SHOWN
    assert visible("Zeile 1\n\tä 日本 🎈\u00a0") == "Zeile 1\n\tä 日本 🎈\u00a0"


def test_whatever_a_command_prints_is_visible(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        print(f"column {NAME}")
        sys.stdout.writelines([NAME])
        with lasting_output():
            print(f"started {NAME}", file=sys.stderr)
        raise InputError(f"no column {NAME}")

    assert exit_code_of(command) == 2

    found = capsys.readouterr()
    assert found.out == f"column {SHOWN}\n{SHOWN}"
    assert found.err == f"started {SHOWN}\nerror: no column {SHOWN}\n"


def test_a_bug_is_shown_without_controls(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise KeyError("x") from RuntimeError(NAME)

    assert exit_code_of(command) == 1
    assert SHOWN in capsys.readouterr().err


def test_a_display_draws_and_its_texts_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    def command() -> None:
        console = Console(file=drawing_stream(sys.stderr), force_terminal=True, width=200)
        progress = SearchProgress(num_runs=2, num_done=1, best_loss=0.5, best_run=NAME)
        with LiveView(progress, lambda: None, NAME, console) as view:
            view.storage_lost(NAME)

    assert exit_code_of(command) == 0

    drawn = terminal.getvalue()
    assert "\x1b[" in drawn
    assert drawn.count(SHOWN) >= 3
    assert "]0;X\x07" not in drawn
    assert "\u202e" not in drawn


def test_a_line_of_a_log_is_visible(tmp_path: Path) -> None:
    with closing(LogLines(tmp_path / "log")) as lines:
        lines.append(f"training on {NAME}")

    assert (tmp_path / "log").read_bytes() == f"training on {SHOWN}\n".encode()
