"""What a search shows that a program or a notebook has started."""

import sys
from types import ModuleType
from typing import Any

import pytest

from sequifier_hpo.cli.notebook import NotebookView, quiet_view, view_of_program
from sequifier_hpo.cli.view import LineView, SearchProgress


class Handle:
    """What IPython gives for an output that can be changed."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def update(self, shown: Any) -> None:
        self.pages.append(shown._repr_mimebundle_([], [])["text/html"])


def of_search() -> SearchProgress:
    return SearchProgress(num_runs=4, num_done=1, best_loss=0.5, best_run="run 0")


def test_a_notebook_redraws_one_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handle, ipython = Handle(), ModuleType("IPython.display")

    def display(shown: Any, *, display_id: bool) -> Handle:
        assert display_id
        handle.update(shown)
        return handle

    monkeypatch.setattr(ipython, "display", display, raising=False)
    monkeypatch.setitem(sys.modules, "IPython.display", ipython)
    progress = of_search()

    with NotebookView(progress, lambda: None, "shop") as view:
        for _ in range(50):
            view.ticked()
        progress.num_done = 2
        view.storage_lost("the storage cannot be reached\x1b[2J")

    first, *_, last = handle.pages
    assert len(handle.pages) < 10
    assert "1 of 4 runs" in first
    assert "2 of 4 runs" in last
    assert "best 0.5 (run 0)" in last
    assert "cannot be reached\\u001b[2J" in capsys.readouterr().err


def test_elsewhere_there_are_lines_or_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    view_of_program(of_search(), lambda: None, "shop").storage_lost("first")
    quiet_view(of_search(), lambda: None, "shop").storage_lost("second")

    shown = capsys.readouterr()
    assert type(view_of_program(of_search(), lambda: None, "shop")) is LineView
    assert shown.out == ""
    assert "first" in shown.err
    assert "second" not in shown.err
