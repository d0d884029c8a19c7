"""How a study asks which run comes next; the package `search` answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sequifier_hpo.records import Stored
from sequifier_hpo.searchspace import Point


@dataclass(frozen=True)
class Proposal:
    """A run that may be handed out."""

    key: str
    point: Point
    labels: Mapping[str, Stored]
    """Parameter -> what Optuna stores and shows for its value."""
    unused: Mapping[str, float] = field(default_factory=dict)
    """Ranges that the run does not have -> the numbers that were proposed for them all the same."""


@dataclass(frozen=True)
class Wait:
    """There is no run to hand out before others have ended."""

    num_runs: int
    """The first so many runs of the study must end first."""


@dataclass(frozen=True)
class Exhausted:
    """There is no run left to hand out."""


NoProposal = Wait | Exhausted


@dataclass(frozen=True)
class EndedRun:
    """What later runs may learn from a run."""

    point: Point
    loss: float | None
    """Its validation loss; None if it failed by itself, as one that diverged."""
    unused: Mapping[str, float] = field(default_factory=dict)
    """As in its proposal."""


class History(Protocol):
    """What a proposer may know of the study."""

    @property
    def num_runs(self) -> int:
        """Runs that were handed out."""

    def is_taken(self, key: str) -> bool:
        """Whether a run was handed out."""

    def ended(self, num_runs: int) -> Sequence[EndedRun | None] | None:
        """What the first runs came to, by ordinal; None while one of them is still to end.

        A run that was lost to the machine, or is of other data, teaches nothing: None in its place.
        """


class Proposer(Protocol):
    """Says which run comes next: a pure function of what it is told."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides which runs come next, besides space, seed and history, as JSON values."""

    def propose(self, ordinal: int, history: History) -> Proposal | NoProposal:
        """The run that is the ordinal-th to be handed out."""

    def is_wanted(self, key: str) -> bool:
        """Whether a run that was handed out is still to come to its end."""

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:
        """Grid cells that are to take the result of a run, for they mean the same."""
