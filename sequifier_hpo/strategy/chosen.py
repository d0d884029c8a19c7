"""Runs chosen in advance, as for a winner check."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sequifier_hpo.searchspace import Point
from sequifier_hpo.study.proposing import Exhausted, History, NoProposal, Proposal


class ChosenRuns:
    """Proposes the given runs in their order, and no others."""

    def __init__(self, runs: Sequence[Proposal]) -> None:
        self._runs = {run.key: run for run in runs}

    def propose(self, ordinal: int, history: History) -> Proposal | NoProposal:  # noqa: ARG002 - not by number
        """The first of the runs that was not handed out yet."""
        unused = (run for run in self._runs.values() if not history.is_taken(run.key))
        return next(unused, Exhausted())

    @property
    def settings(self) -> Mapping[str, Any]:
        """Nothing but the runs themselves."""
        return {}

    def is_wanted(self, key: str) -> bool:
        """Whether it is one of the runs: others may be left from an earlier, larger choice."""
        return key in self._runs

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:  # noqa: ARG002 - none has any
        """Nothing: each result stands for itself."""
        return iter(())
