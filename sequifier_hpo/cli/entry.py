"""Entry points of both programs, kept light so that signals are handled from the first moment.

What is imported here takes milliseconds; what the programs import may take a second.
"""

# ruff: noqa: E402 - before the next import, which might find a file of the user's

from sequifier_hpo.python_path import leave_working_directory

leave_working_directory()

import importlib
import signal
import sys
from typing import NoReturn

from sequifier_hpo.cli.lasting import lasting_output, open_standard_descriptors
from sequifier_hpo.coordinator.stop_signals import stop_signals


def sequifier_hpo() -> NoReturn:
    """The `sequifier-hpo` program."""
    _run("sequifier_hpo.cli.main")


def sequifier() -> NoReturn:
    """The `sequifier` program."""
    _run("sequifier_hpo.cli.sequifier_door")


def _run(module: str) -> NoReturn:
    open_standard_descriptors()
    for number in stop_signals():
        if number != signal.SIGINT:  # Python makes it a KeyboardInterrupt
            signal.signal(number, _end)
    try:
        importlib.import_module(module).run()
    except KeyboardInterrupt:
        with lasting_output():
            print("stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    sys.exit(0)


def _end(number: int, _frame: object) -> None:
    """Exit cleanly: unfinished files are removed, locks are released.

    Without a handler none of that happens, and PID 1 of a container would not even exit.
    """
    sys.exit(128 + number)
