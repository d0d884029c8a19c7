"""What a study has copied from earlier ones when it was created: it guides, and is never ranked."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field, FiniteFloat, TypeAdapter
from sqlalchemy import Connection, select

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.errors import InputError
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study.proposing import EndedRun
from sequifier_hpo.study.stored import attributes, understood
from sequifier_hpo.study.transactions import STUDY_SYSTEM_ATTRS
from sequifier_hpo.words import counted, listed

LESSONS = "sequifier_hpo:lessons:"
"""System attributes of the study, numbered from 0: lists of lessons."""
_PER_ATTRIBUTE = 100


class Lesson(FrozenModel):
    """What an ended run of an earlier study teaches, as it is stored."""

    key: str
    """Of the run that would train the same in the study that it guides, on the data of that day."""
    point: dict[str, Any]
    """In the space of that study."""
    loss: FiniteFloat | None
    """None if it failed by itself."""
    stopped_at: int | None = None
    """Epoch of the rung at which it was stopped."""
    unused: dict[str, int | float] = Field(default={})
    """As in the run's proposal, for ranges of this space."""
    is_set_aside: bool = False
    """Whether its run is none of the present space on the present data: then it teaches nothing."""

    def as_run(self) -> EndedRun:
        """The run as a proposer is told of it."""
        point = Point.from_json(self.point)
        return EndedRun(point, self.loss, self.unused, key=self.key, stopped_at=self.stopped_at)


class Guide(FrozenModel):
    """An earlier study, and how much of it guides."""

    name: str
    study_id: str | None = None
    """None if 0.1.0 made it."""
    num_runs: int
    num_lessons: int
    outside: tuple[tuple[str, int], ...] = ()
    """Why its other runs teach nothing here, the commonest reasons, each with the number of runs."""

    def __str__(self) -> str:
        """The study in one sentence."""
        said = f"{self.num_lessons:,} of {counted(self.num_runs, 'run')} of {self.name} guide"
        left = self.num_runs - self.num_lessons
        if not left:
            return said
        reasons = [f"{reason} ({number:,})" for reason, number in self.outside]
        more = left - sum(number for _, number in self.outside)
        reasons += [f"other reasons ({more:,})"] if more else []
        return f"{said}; {left:,} do not: {', '.join(reasons)}"


class WarmStart(FrozenModel):
    """What a study has copied, in words and numbers."""

    named: tuple[str, ...]
    """The studies as the search file named them, without secrets."""
    guides: tuple[Guide, ...]
    num_set_aside: int = 0
    """Runs that guide no longer, for the data that they read, or the space, have changed."""

    def lines(self) -> Iterator[str]:
        """The studies, a sentence each."""
        yield from map(str, self.guides)
        if self.num_set_aside:
            yield f"{self.num_set_aside:,} of these runs guide no longer: the data or the space have changed"

    @property
    def num_lessons(self) -> int:
        """Runs that guide."""
        return sum(guide.num_lessons for guide in self.guides) - self.num_set_aside


@dataclass(frozen=True)
class Earlier:
    """The earlier studies that a search file names, and what they teach."""

    named: tuple[str, ...] = ()
    """As they are shown."""
    learn: Callable[[], tuple[WarmStart | None, Sequence[Lesson]]] = lambda: (None, ())
    """Reads them; asked only for a study that has not begun."""

    def copied(
        self, study: str, known: WarmStart | None, *, has_begun: bool
    ) -> tuple[WarmStart | None, Sequence[Lesson]]:
        """What a study is to have copied, and what of it is new.

        Args:
            study: Its name.
            known: What it has copied already.
            has_begun: Whether it keeps that, whatever the file names now.

        Raises:
            InputError: If the file names others, or what `learn` raises.
        """
        if not has_begun:
            return self.learn()
        learned = () if known is None else known.named
        if self.named and sorted(self.named) != sorted(learned):
            raise WarmStartChangedError(study, learned)
        return known, ()


NOTHING_EARLIER = Earlier()


class WarmStartChangedError(InputError):
    """The search file names other earlier studies than the study has learned from."""

    def __init__(self, study: str, learned: Sequence[str]) -> None:
        said = f"has learned from {listed(learned)}" if learned else "had no `warm_start`"
        super().__init__(
            f"the study `{study}` {said} when it was created, and learns from other studies no more",
            "remove `warm_start` from the file, for the study keeps what it has copied; or undo the "
            "change; or give the new search another hp_search_name",
        )


def lesson_attributes(lessons: Sequence[Lesson]) -> dict[str, Any]:
    """The attributes of a study that hold its lessons."""
    stored = [lesson.model_dump(exclude_defaults=True) for lesson in lessons]
    return {
        f"{LESSONS}{i}": stored[first : first + _PER_ATTRIBUTE]
        for i, first in enumerate(range(0, len(stored), _PER_ATTRIBUTE))
    }


def stored_lessons(connection: Connection, study_id: int) -> list[Lesson]:
    """The lessons of a study in their order.

    Raises:
        StoredValueError: If they are not what this program stores.
    """
    columns = STUDY_SYSTEM_ATTRS.c
    is_part = columns.key.startswith(LESSONS, autoescape=True)
    query = select(columns.key, columns.value_json).where(columns.study_id == study_id, is_part)
    with understood("the runs of earlier studies"):
        parts = attributes(connection.execute(query))
        ordered = (parts[f"{LESSONS}{i}"] for i in range(len(parts)))
        return [lesson for part in ordered for lesson in _LESSONS.validate_python(part)]


def judged_again(
    warm_start: WarmStart, lessons: Iterable[Lesson], has: Callable[[Point, str], bool]
) -> tuple[WarmStart, list[Lesson]]:
    """What a study has copied, after its data or its space have changed.

    Args:
        warm_start: It, in numbers.
        lessons: The runs.
        has: (point, key) -> whether a run is one of the space, on the present data.
    """
    found = [
        lesson.model_copy(
            update={"is_set_aside": not has(Point.from_json(lesson.point), lesson.key)}
        )
        for lesson in lessons
    ]
    num_set_aside = sum(lesson.is_set_aside for lesson in found)
    return warm_start.model_copy(update={"num_set_aside": num_set_aside}), found


def forgotten(warm_start: WarmStart, why: str, num_stored: int) -> tuple[WarmStart, dict[str, Any]]:
    """What a study has copied, once none of it can guide any more, and the attributes without it.

    Args:
        warm_start: It, in numbers.
        why: It cannot.
        num_stored: Lessons that are stored.
    """
    guides = tuple(
        guide.model_copy(
            update={"num_lessons": 0, "outside": ((why, guide.num_lessons), *guide.outside)}
        )
        if guide.num_lessons
        else guide
        for guide in warm_start.guides
    )
    nothing: dict[str, Any] = {f"{LESSONS}{i}": [] for i in range(-(-num_stored // _PER_ATTRIBUTE))}
    return warm_start.model_copy(update={"guides": guides, "num_set_aside": 0}), nothing


_LESSONS = TypeAdapter(list[Lesson])
