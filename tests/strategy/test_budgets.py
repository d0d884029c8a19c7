"""A budget lets a run start or not, by what the study has measured; it never chooses another."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import pytest

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.searchspace import Point
from sequifier_hpo.strategy import EPOCHS, TIME, Budget
from sequifier_hpo.study import Again, Answer, Exhausted, Proposal, Wait

NEXT = Proposal("next", Point({"epochs": 10}), {})


@dataclass
class Known:
    """A study with these runs."""

    kept: Sequence[Run] = ()

    def runs(self) -> Sequence[Run]:
        return self.kept


@dataclass
class Left:
    """Seconds that are left to train."""

    seconds: float = inf
    asked: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.seconds


def run(number: int, state: RunState, epoch: int, **attributes: Any) -> Run:
    """A run of 10 epochs that has got to this one."""
    return Run(
        number=number,
        trial_number=number,
        state=state,
        validation_loss=None,
        labels={},
        losses=dict.fromkeys(range(1, epoch + 1), 1.0),
        attributes=attributes,
        reason="",
        duplicate_of=None,
        started=None,
        ended=None,
        num_trials=1,
        key=f"run {number}",
        ordinal=number,
        point={"epochs": 10},
    )


def timed(number: int, seconds: float, state: RunState = RunState.COMPLETE, epoch: int = 10) -> Run:
    return run(number, state, epoch, seconds=seconds, epochs_run=epoch)


def budget(epochs: float = inf, left: Left | None = None) -> Budget:
    return Budget(
        lambda point: int(point.values["epochs"]), epochs=epochs, seconds_left=left or Left()
    )


def asked(budget: Budget, runs: Sequence[Run] = (), answer: Answer = NEXT) -> tuple[Answer, str]:
    return budget.limit(answer, Known(runs)), budget.stopped_by


# By epochs


@pytest.mark.parametrize(
    ("epochs", "runs", "expected"),
    [
        (10, [], NEXT),
        (9, [], Exhausted()),
        (20, [run(0, RunState.COMPLETE, 10)], NEXT),
        (19, [run(0, RunState.COMPLETE, 10)], Exhausted()),
        (14, [run(0, RunState.FAILED, 4)], NEXT),
        # A run that was stopped after the second epoch, when it had been trained for five.
        (15, [run(0, RunState.PRUNED, 2, epochs_trained=5)], NEXT),
        (14, [run(0, RunState.PRUNED, 2, epochs_trained=5)], Exhausted()),
        # Those that are in training, or to be continued, will need their full length.
        (20, [run(0, RunState.RUNNING, 1)], NEXT),
        (19, [run(0, RunState.INTERRUPTED, 1)], Exhausted()),
        (19, [run(3, RunState.RUNNING, 1)], Wait(4, EPOCHS)),  # it may be stopped early
        (19, [replace(run(0, RunState.RUNNING, 3), stopped_at=2)], Exhausted()),  # it may not
        (10, [replace(run(1, RunState.COMPLETE, 10), duplicate_of=0)], NEXT),
    ],
)
def test_a_run_starts_if_all_of_its_epochs_are_left(
    epochs: int, runs: list[Run], expected: Answer
) -> None:
    stopped_by = "" if expected is NEXT else EPOCHS

    assert asked(budget(epochs), runs) == (expected, stopped_by)


@pytest.mark.parametrize(("epochs", "starts"), [(10, True), (9, False)])
def test_what_a_continued_run_was_trained_for_counts_once(epochs: int, *, starts: bool) -> None:
    runs = [run(0, RunState.INTERRUPTED, 6)]

    answer, _ = asked(budget(epochs), runs, Again("run 0"))

    assert answer == (Again("run 0") if starts else Exhausted())


def test_without_a_limit_nothing_is_looked_at() -> None:
    assert asked(budget(), [run(0, RunState.RUNNING, 1)]) == (NEXT, "")
    assert asked(budget(epochs=0), answer=Wait(3)) == (Wait(3), "")
    assert asked(budget(epochs=0), answer=Exhausted()) == (Exhausted(), "")


# By time


def test_as_long_as_no_epoch_was_measured_runs_start() -> None:
    left = Left(5)

    assert asked(budget(left=left)) == (NEXT, "")
    left.seconds = 0
    assert asked(budget(left=left)) == (Exhausted(), TIME)


def test_a_run_starts_if_the_pace_of_those_before_leaves_it_time() -> None:
    runs = [timed(0, seconds=10), timed(1, seconds=30)]  # 2 s an epoch, 20 s a run
    left = Left(100)
    limit = budget(left=left)

    found = [(left, asked(limit, runs)) for left.seconds in (100, 20, 19, 21)]

    answers = [answer for _, (answer, _) in found]
    assert answers == [NEXT, NEXT, Exhausted(), NEXT]


def test_a_run_that_was_trained_before_is_judged_by_its_own_pace_and_what_it_lacks() -> None:
    slow = timed(0, seconds=60, state=RunState.INTERRUPTED, epoch=6)  # 40 s to go
    runs = [slow, timed(1, seconds=10), timed(2, seconds=10), timed(3, seconds=10)]
    left = Left(100)
    limit = budget(left=left)

    answers = [asked(limit, runs, Again("run 0"))[0] for left.seconds in (100, 40, 39)]

    assert answers == [Again("run 0"), Again("run 0"), Exhausted()]


def test_a_run_that_no_start_has_time_for_starts_all_the_same() -> None:
    runs = [timed(0, seconds=500)]
    left = Left(100)
    limit = budget(left=left)

    answers = [asked(limit, runs)[0] for left.seconds in (100, 30, 0)]

    assert answers == [NEXT, NEXT, Exhausted()]


def test_both_limits_hold() -> None:
    runs = [timed(0, seconds=10)]
    left = Left(100)
    limit = budget(epochs=19, left=left)

    assert asked(limit, runs) == (Exhausted(), EPOCHS)
    left.seconds = 1
    assert asked(limit, runs) == (Exhausted(), TIME)
