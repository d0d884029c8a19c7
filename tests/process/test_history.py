"""The judge of histories itself: what it lets pass, and what it does not."""

from dataclasses import replace

import pytest

from tests.process.history import Operation, violations

CLAIM = Operation("claim", "a", 1, "north")
REPORT = Operation("report", "a", 1, "north", epoch=1, loss=0.5)
COMPLETE = Operation("complete", "a", 1, "north", loss=0.5)
TAKEN_AWAY = Operation("fail", "a", 1, "south", silence=130.0)
AGAIN = Operation("claim", "a", 2, "south")
REPEATED = Operation("report", "a", 2, "south", epoch=1, loss=0.5)
PRUNED = Operation("prune", "a", 1, "north", loss=0.5)
DONE = Operation("complete", "a", 2, "south", loss=0.5)


@pytest.mark.parametrize(
    "history",
    [
        [],
        [CLAIM, REPORT, replace(REPORT, epoch=2, loss=0.4), COMPLETE],
        [CLAIM, REPORT, TAKEN_AWAY, AGAIN, REPEATED, DONE],
        [CLAIM, Operation("fail", "a", 1, "north", silence=0.0), AGAIN, DONE],
        [CLAIM, Operation("claim", "b", 2, "south"), COMPLETE, replace(DONE, run="b")],
        [CLAIM, REPORT, PRUNED, AGAIN, DONE],
    ],
    ids=["nothing", "undisturbed", "taken over", "let go", "two runs", "finished"],
)
def test_what_may_happen_is_let_pass(history: list[Operation]) -> None:
    assert violations(history, 120.0) == []


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([CLAIM, AGAIN, DONE], "south: claim of trial 2: its run is held by trial 1"),
        ([CLAIM, COMPLETE, AGAIN, DONE], "south: claim of trial 2: its run has a result"),
        (
            [CLAIM, replace(TAKEN_AWAY, silence=100.0)],
            "south: fail of trial 1: its holder was silent",
        ),
        ([CLAIM, TAKEN_AWAY, REPORT], "north: report of trial 1: it is not held"),
        ([CLAIM, TAKEN_AWAY, COMPLETE], "north: complete of trial 1: it is not held"),
        ([REPORT], "north: report of trial 1: it is not held"),
        ([CLAIM, replace(REPORT, host="south")], "south: report of trial 1: it is held by north"),
        ([CLAIM, REPORT, REPORT, COMPLETE], "north: report of trial 1: epoch 1 after epoch 1"),
        (
            [CLAIM, REPORT, TAKEN_AWAY, AGAIN, replace(REPEATED, loss=0.6), DONE],
            "south: report of trial 2: epoch 1 had the loss 0.5, now 0.6",
        ),
        ([CLAIM, REPORT], "trial 1 is held in the end"),
        ([CLAIM, replace(PRUNED, host="south")], "south: prune of trial 1: it is held by north"),
    ],
)
def test_what_must_not_happen_is_named(history: list[Operation], words: str) -> None:
    assert any(found.startswith(words) for found in violations(history, 120.0))
