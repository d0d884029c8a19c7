"""What a search shows that a program or a notebook has started."""

import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Self

from rich.console import Console
from rich.table import Table

from sequifier_hpo.cli.view import LineView, SearchProgress, drawing, make_view
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.words import visible

_DRAWING_SECONDS = 0.5  # between two of them: each goes to the browser


class QuietView(LineView):
    """Nothing is shown; results are written all the same."""

    def _say(self, text: str) -> None:
        del text


class NotebookView(LineView):
    """The display of a terminal in the output of a notebook's cell, redrawn in place."""

    def __init__(
        self, progress: SearchProgress, write_results: Callable[[], None], title: str
    ) -> None:
        super().__init__(progress, write_results)
        self._title = title
        self._shown: Any = None
        self._last_drawing = time.monotonic()

    def __enter__(self) -> Self:
        display = import_module("IPython.display").display
        self._shown = display(self._drawing(), display_id=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.update(self._drawing())

    def trial_started(self, run: ActiveRun) -> None:
        """Add a line for the run."""
        self._progress.start(run)

    def ticked(self) -> None:
        """Draw it again, unless that was a moment ago."""
        now = time.monotonic()
        if now - self._last_drawing > _DRAWING_SECONDS:
            self._last_drawing = now
            self._shown.update(self._drawing())

    def _say(self, text: str) -> None:
        say_to_program(text)

    def _drawing(self) -> Table:
        table = Table.grid()  # which, unlike a group, can show itself in a notebook
        table.add_row(drawing(self._progress, self._title))
        return table


def say_to_program(text: str) -> None:
    """A line that is not the result; on a notebook's standard error it would look like a fault."""
    print(visible(text), file=sys.stdout if Console().is_jupyter else sys.stderr, flush=True)


def quiet_view(progress: SearchProgress, write_results: Callable[[], None], _: str) -> LineView:
    """No display."""
    return QuietView(progress, write_results)


def view_of_program(
    progress: SearchProgress, write_results: Callable[[], None], title: str
) -> LineView:
    """A display in a notebook; elsewhere that of the command line."""
    if Console().is_jupyter:
        return NotebookView(progress, write_results, title)
    return make_view(progress, write_results, title)
