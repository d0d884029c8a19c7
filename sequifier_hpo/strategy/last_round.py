"""The last round: the best of the runs that were stopped are given their full length."""

from collections.abc import Iterator, Mapping
from typing import Any

from sequifier_hpo.searchspace import Point
from sequifier_hpo.strategy.past import best_stopped
from sequifier_hpo.study.proposing import (
    Again,
    Answer,
    Exhausted,
    History,
    Proposal,
    Proposer,
    Wait,
)


class LastRound:
    """Proposes what another proposer does, and then the best stopped runs again.

    They are the best by what they were when they were stopped. So the winner of a search is a run
    that was trained to its end, and one that was stopped too early can still win.
    """

    def __init__(
        self, proposer: Proposer, finish_best: int, pruning: Mapping[str, Any] | None = None
    ) -> None:
        """Take the parts.

        Args:
            proposer: Who proposes until then.
            finish_best: How many stopped runs are finished.
            pruning: The settings by which runs are stopped, as JSON values.
        """
        self._proposer = proposer
        self._finish_best = finish_best
        self._pruning = pruning or {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the other, and how runs are stopped; nothing depends on the last round itself."""
        return {**self._proposer.settings, **self._pruning}

    def propose(self, ordinal: int, history: History) -> Answer:
        """A stopped run once there is no other and all have ended."""
        answer = self._proposer.propose(ordinal, history)
        if not isinstance(answer, Exhausted):
            return answer
        ended = history.ended(ordinal)
        if ended is None:
            return Wait(ordinal)
        stopped = {k: run for k, run in enumerate(ended) if run and run.stopped_at is not None}
        losses = {k: run.loss for k, run in stopped.items()}
        best = (stopped[k] for k in best_stopped(losses, self._finish_best))
        return next((Again(run.key) for run in best if not run.is_finished), answer)

    def is_wanted(self, key: str) -> bool:
        """What the other says."""
        return self._proposer.is_wanted(key)

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:
        """Those of the other."""
        return self._proposer.twins(key, point)
