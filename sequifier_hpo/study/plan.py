"""What a study is asked to be, and what a changed space would make of one that exists."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Counted, DataDigest, Run, RunState
from sequifier_hpo.searchspace import (
    Point,
    SearchSpace,
    describe_space,
    differences,
    same_run_in,
    unlike,
)
from sequifier_hpo.study.identity import StudyIdentity
from sequifier_hpo.study.lessons import NOTHING_EARLIER, Earlier
from sequifier_hpo.study.refusals import SpaceChange


class Permit(Protocol):
    """Whether something outside the storage stands in the way of a study."""

    def __call__(self, identity: StudyIdentity, *, is_new: bool, is_adopted: bool) -> None:
        """Permit it, or raise.

        Args:
            identity: What the study is, or is to be.
            is_new: Whether the storage has no study of its name yet.
            is_adopted: Whether 0.1.0 started it.

        Raises:
            InputError: If something does.
        """


def permit_all(identity: StudyIdentity, *, is_new: bool, is_adopted: bool) -> None:
    """Permit every study."""


def recount_nothing(counted: Counted, _former: Mapping[str, Any]) -> Counted:
    """What the losses of a study count stays."""
    return counted


@dataclass(frozen=True)
class StudyPlan:
    """What a study should be."""

    name: str
    space: SearchSpace
    data: DataDigest
    """Of all columns that some run of the space reads."""
    counted: Counted
    """For a new study; one that exists keeps its own."""
    key_of: Callable[[Point, int | None], str]
    """(point, seed) -> key on the present data; None = the search's own seed."""
    permit: Permit = permit_all
    """Asked before anything is stored."""
    strategy: Mapping[str, Any] = field(default_factory=dict)
    """What decides which runs are chosen, as plain JSON values."""
    earlier: Earlier = NOTHING_EARLIER
    """The studies that are to guide it, if it is new."""
    num_runs: int = 0
    """That it is to have in all."""
    recount: Callable[[Counted, Mapping[str, Any]], Counted] = recount_nothing
    """(what its losses count, its former space) -> what those of both spaces count; raises
    InputError if there is no such thing."""

    def has(self, point: Point, key: str, seed: int | None = None) -> bool:
        """Whether a run is one of the space, on the present data."""
        found = same_run_in(self.space, point, key, lambda each: self.key_of(each, seed))
        return found is not None

    def change_of(
        self, former: Mapping[str, Any], identity: StudyIdentity | None, runs: Iterable[Run]
    ) -> SpaceChange | None:
        """What this plan would make of a study; None if it has the same space.

        Args:
            former: The space of the study.
            identity: What it is; None if 0.1.0 started it.
            runs: All of its runs.
        """
        if not former or not (lines := differences(former, describe_space(self.space))):
            return None
        finished = [run for run in runs if run.duplicate_of is None and not run.is_of_other_data]
        finished = [run for run in finished if run.state in _ENDED]
        num_inside = sum(
            bool(run.point) and self.has(Point.from_json(run.point), run.key) for run in finished
        )
        return SpaceChange(
            lines=tuple(lines),
            obstacles=tuple(self._obstacles(former, identity)),
            num_inside=num_inside,
            num_outside=len(finished) - num_inside,
            num_to_come=max(0, self.num_runs - num_inside),
        )

    def _obstacles(self, former: Mapping[str, Any], identity: StudyIdentity | None) -> list[str]:
        if identity is None:
            return [
                "the study was started by sequifier-hpo 0.1.0: confirm its data first, with the "
                "former search file and --same-data"
            ]
        reasons = [
            f"{line}: losses before and after could not be compared"
            for line in unlike(former, describe_space(self.space))
        ]
        try:
            self.recount(identity.counted, former)
        except InputError as error:
            reasons.append(error.problem)
        return reasons


_ENDED = frozenset({RunState.COMPLETE, RunState.PRUNED, RunState.FAILED})
