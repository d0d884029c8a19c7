"""The first moments of a program: a signal that comes while it is still being imported."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys
from sequifier_hpo.cli import entry

class Impatient:
    def find_spec(self, name, *_):
        if name == "typer":
            signal.raise_signal({number})

sys.meta_path.insert(0, Impatient())
sys.argv[1:] = ["--version"]
{before}
entry.sequifier_hpo()
"""


def run_and_signal(number: signal.Signals, before: str = "") -> "subprocess.CompletedProcess[str]":
    program = PROGRAM.format(number=int(number), before=before)
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "stopped\n"), (signal.SIGTERM, 143, ""), (signal.SIGHUP, 129, "")],
)
def test_a_signal_that_comes_while_the_program_is_imported_ends_it_without_a_traceback(
    number: signal.Signals, code: int, said: str
) -> None:
    done = run_and_signal(number)

    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)


@pytest.mark.slow
def test_a_terminal_that_closes_means_nothing_to_a_program_under_nohup() -> None:
    done = run_and_signal(signal.SIGHUP, "signal.signal(signal.SIGHUP, signal.SIG_IGN)")

    assert (done.returncode, done.stderr) == (0, "")
    assert "sequifier-hpo" in done.stdout
