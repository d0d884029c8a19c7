"""The sample of a space that was revised: drawn anew, with earlier runs in the place of draws."""

from collections import deque
from collections.abc import Callable, Iterator

from sequifier_hpo.searchspace import DescribedSpace, Point
from sequifier_hpo.study.proposing import History, Proposal

Drawing = Callable[[int, int], Iterator[Proposal]]
"""(first ordinal of the revision, number of the draw) -> what is drawn: again, while it is not new."""


class Redrawing:
    """Says which runs a revised sample still needs.

    The space is drawn run by run, without replacement. In the place of a draw comes the oldest run from
    before the revision that is free and was in the same former spaces as the draw is: there, both are
    drawn alike. What no earlier run stands for is trained. See decision 0022.
    """

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        self._number = 0
        self._drawn: set[str] = set()
        """Keys of the draws, those of runs in their place."""
        self._next: Proposal | None = None
        self._former: list[DescribedSpace] = []
        self._free: dict[tuple[bool, ...], deque[str]] | None = None
        """Part of the space -> keys of the earlier runs in it that stand for no draw yet."""

    def propose(self, history: History) -> Proposal | None:
        """The first draw that no run stands for; None if nothing new is found."""
        since = history.spaces[-1].since_ordinal
        if self._free is None:
            self._former = [DescribedSpace(each.space) for each in history.spaces[:-1]]
            self._free = {}
            for key, point in history.points(since).items():
                self._free.setdefault(self._part_of(point), deque()).append(key)
        # Runs once handed out stay so: what was found needs no second look.
        while self._next is None or history.is_taken(self._next.key):
            drawn = self._draw(since)
            if drawn is None:
                return None
            self._number += 1
            if free := self._free.get(self._part_of(drawn.point)):
                self._drawn.add(free.popleft())
                self._next = None
            else:
                self._drawn.add(drawn.key)
                self._next = drawn
        return self._next

    def _draw(self, since: int) -> Proposal | None:
        drawn = self._drawing(since, self._number)
        return next((each for each in drawn if each.key not in self._drawn), None)

    def _part_of(self, point: Point) -> tuple[bool, ...]:
        """In which former spaces a point was: a part of the present one."""
        return tuple(space.has(point) for space in self._former)
