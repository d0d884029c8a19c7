"""How a study asks which run comes next; the package `search` answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from sequifier_hpo.searchspace import Point


@dataclass(frozen=True)
class Proposal:
    """A run that may be handed out."""

    key: str
    point: Point
    labels: Mapping[str, str]
    """Parameter -> what Optuna stores and shows for its value."""


class NoProposal(Enum):
    """Why there is no run to hand out."""

    WAIT = "wait"
    """Runs in training must end first."""
    EXHAUSTED = "exhausted"
    """There is none left."""


class History(Protocol):
    """What a proposer may know of the study."""

    @property
    def num_runs(self) -> int:
        """Runs that were handed out."""

    def is_taken(self, key: str) -> bool:
        """Whether a run was handed out."""


class Proposer(Protocol):
    """Says which run comes next: a pure function of what it is told."""

    def propose(self, ordinal: int, history: History) -> Proposal | NoProposal:
        """The run that is the ordinal-th to be handed out."""

    def is_wanted(self, key: str) -> bool:
        """Whether a run that was handed out is still to come to its end."""

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:
        """Grid cells that are to take the result of a run, for they mean the same."""
