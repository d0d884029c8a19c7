"""Budgets: when a study stops handing out runs. They skip none and change none."""

from collections.abc import Callable, Sequence
from math import inf

from sequifier_hpo.records import Run, RunState, seconds_per_epoch
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study.proposing import Again, Answer, Exhausted, KnownRuns, Proposal, Wait

TIME, EPOCHS = "time_budget", "epoch_budget"
"""The fields of the search file."""
_LONG = 0.9  # of the time of a start: what takes longer begins whenever it is its turn


class Budget:
    """Allows a run to start if it can be expected to come to its end.

    By time: at the pace of the epochs that the study has measured, or at its own if it was trained
    before. As long as none is measured, runs start. A run that takes longer than a whole start has
    would otherwise never be trained: it may always start, and goes on with the next one.

    By epochs: an epoch counts once, also if a crash or a lack of memory made it be trained again,
    and also if it was dropped because its run had been stopped before. Runs in training, or to be
    continued, count with their full length until they have ended.
    """

    stopped_by = ""
    """The budget that kept the next run from starting when that was last asked; "" = none did."""

    def __init__(
        self,
        num_epochs: Callable[[Point], int],
        *,
        epochs: float = inf,
        seconds_left: Callable[[], float] = lambda: inf,
    ) -> None:
        """Take the limits.

        Args:
            num_epochs: Length of the training of a point.
            epochs: Of all runs of the study together.
            seconds_left: To train, of this start.
        """
        self._num_epochs = num_epochs
        self.epochs = epochs
        self.seconds_left = seconds_left
        self._seconds_at_first: float | None = None

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return min(self.epochs, self.seconds_left()) < inf

    def limit(self, answer: Answer, known: KnownRuns) -> Answer:
        """The answer, or in its place that nothing can be started now, or at all."""
        self.stopped_by = ""
        if not self.is_limited or not isinstance(answer, Proposal | Again):
            return answer
        runs = [run for run in known.runs() if run.duplicate_of is None]
        run = next((run for run in runs if run.key == answer.key), None)
        if isinstance(answer, Proposal):
            length = self._num_epochs(answer.point)
        else:
            assert run is not None, "it was handed out before"
            length = self._length(run)
        if not self._is_time_for(length, run, runs):
            self.stopped_by = TIME
            return Exhausted()
        others = [each for each in runs if each is not run]
        cost = length if run is None else max(length, run.epochs_trained)
        if cost + sum(map(self._epochs_at_most, others)) <= self.epochs:
            return answer
        self.stopped_by = EPOCHS
        # Those that may still be stopped may leave enough.
        open_runs = [each for each in others if _may_be_stopped(each)]
        settled = sum(self._epochs_at_most(each) for each in others if not _may_be_stopped(each))
        if cost + settled + sum(each.epochs_trained for each in open_runs) <= self.epochs:
            return Wait(1 + max(each.ordinal for each in open_runs), EPOCHS)
        return Exhausted()

    def _is_time_for(self, length: int, run: Run | None, runs: Sequence[Run]) -> bool:
        left = self.seconds_left()
        if self._seconds_at_first is None:
            self._seconds_at_first = left
        expected = _expected_seconds(length, run, runs)
        return left > 0 and (expected <= left or expected > _LONG * self._seconds_at_first)

    def _epochs_at_most(self, run: Run) -> int:
        is_to_come = run.state in {RunState.RUNNING, RunState.INTERRUPTED}
        is_to_come = is_to_come and run.is_current
        return max(run.epochs_trained, self._length(run) if is_to_come else 0)

    def _length(self, run: Run) -> int:
        return self._num_epochs(Point.from_json(run.point))


def _may_be_stopped(run: Run) -> bool:
    return run.state is RunState.RUNNING and run.stopped_at is None


def _expected_seconds(length: int, run: Run | None, runs: Sequence[Run]) -> float:
    """How long a run will take to its end; 0 if nothing is known of that."""
    num_done = 0 if run is None else run.epochs_trained
    pace = seconds_per_epoch([] if run is None else [run]) or seconds_per_epoch(runs)
    return max(0, length - num_done) * (pace or 0.0)
