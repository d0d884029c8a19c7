"""How a study asks which run comes next, and which is stopped; the package `strategy` answers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.records import Run, Stored
from sequifier_hpo.searchspace import Point


class SpaceRevision(FrozenModel):
    """The space of a study from some ordinal on."""

    since_ordinal: int
    space: dict[str, Any]
    """As `describe_space` has it."""


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
    setting: str = ""
    """Which setting of the search file would shorten the wait if it was larger; "" = none."""


@dataclass(frozen=True)
class Exhausted:
    """There is no run left to hand out."""


@dataclass(frozen=True)
class Again:
    """A run that was stopped is to be given its full length."""

    key: str


NoProposal = Wait | Exhausted
Answer = Proposal | Again | NoProposal


@dataclass(frozen=True)
class EndedRun:
    """What later runs may learn from a run."""

    point: Point
    loss: float | None
    """Its validation loss; None if it failed by itself, as one that diverged."""
    unused: Mapping[str, float] = field(default_factory=dict)
    """As in its proposal."""
    key: str = ""
    stopped_at: int | None = None
    """Epoch of the rung at which it was stopped; its loss is then the best one up to there."""
    is_finished: bool = False
    """Whether it was stopped, and handed out again since."""
    never_fitted: bool = False
    """Whether it ran out of memory, however small its batches, before an epoch of it ended."""


@dataclass(frozen=True)
class TrainedRun:
    """A run as those after it may see it while it is trained."""

    point: Point
    losses: Mapping[int, float]
    """Validation loss per epoch; nothing that came after it was stopped."""
    stopped_at: int | None
    """Epoch of the rung at which it was stopped."""
    has_ended: bool


class History(Protocol):
    """What a proposer may know of the study."""

    @property
    def num_runs(self) -> int:
        """Runs that were handed out."""

    @property
    def lessons(self) -> Sequence[EndedRun]:
        """What runs of earlier studies came to, which the study has copied."""

    @property
    def spaces(self) -> Sequence[SpaceRevision]:
        """The spaces that the study has had, oldest first; none if it has had one only."""

    def is_taken(self, key: str) -> bool:
        """Whether a run was handed out."""

    def points(self, num_runs: int) -> Mapping[str, Point]:
        """Those of the first runs that are in the present space: key -> point, by ordinal."""

    def ended(self, num_runs: int) -> Sequence[EndedRun | None] | None:
        """What the first runs came to, by ordinal; None while one of them is still to end.

        A run that was lost to the machine, is of other data or outside the present space, teaches
        nothing: None in its place.
        """


class Proposer(Protocol):
    """Says which run comes next: a pure function of what it is told."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides which runs come next, besides space, seed and history, as JSON values."""

    def propose(self, ordinal: int, history: History) -> Answer:
        """The run that is the ordinal-th to be handed out."""

    def is_wanted(self, key: str) -> bool:
        """Whether a run that was handed out is still to come to its end."""

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:
        """Grid cells that are to take the result of a run, for they mean the same."""


class KnownRuns(Protocol):
    """What a limit may know of the study."""

    def runs(self) -> Sequence[Run]:
        """All runs that were handed out, and the grid cells that share their results."""


class Limit(Protocol):
    """Says whether there is enough left for the next run, be it new or to be continued."""

    def limit(self, answer: Answer, known: KnownRuns) -> Answer:
        """The answer, or in its place `Wait` or `Exhausted`; never another run."""


class NoLimit:
    """There is always enough."""

    def limit(self, answer: Answer, known: KnownRuns) -> Answer:  # noqa: ARG002 - whatever they are
        """The answer."""
        return answer


NO_LIMIT = NoLimit()


@dataclass(frozen=True)
class StopAt:
    """The run ends at a rung: what came after it is dropped."""

    rung: int
    """Epochs that count."""


@dataclass(frozen=True)
class Undecided:
    """Whether the run ends at a rung depends on others that are still to get there."""

    rung: int
    num_runs: int
    """The first so many runs of the study must get there, or end, first."""


@dataclass(frozen=True)
class GoOn:
    """Nothing that the run has been through stops it."""


Verdict = StopAt | Undecided | GoOn


class Curves(Protocol):
    """What a pruner may know of the study."""

    @property
    def version(self) -> int:
        """Another number whenever something has changed."""

    def trained(self, ordinal: int) -> TrainedRun | None:
        """A run in training or at its end; None for one of other data."""

    def in_training(self) -> Sequence[int]:
        """Ordinals of the runs that have not ended, in their order."""


class Pruner(Protocol):
    """Says which runs are stopped, and where: a pure function of what it is told."""

    def verdict(self, ordinal: int, curves: Curves) -> Verdict:
        """What becomes of a run, after the epochs that it has been through."""


class NoPruner:
    """Stops nothing."""

    def verdict(self, ordinal: int, curves: Curves) -> Verdict:  # noqa: ARG002 - whatever they are
        """It goes on."""
        return GoOn()
