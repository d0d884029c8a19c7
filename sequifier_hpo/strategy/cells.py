"""Cells of a search space as proposals."""

from sequifier_hpo.searchspace import (
    Cell,
    Draws,
    EffectiveSpace,
    Keyer,
    Point,
    SearchSpace,
    same_run_in,
)
from sequifier_hpo.study.proposing import Exhausted, History, NoProposal, Proposal


class Cells:
    """The distinct runs of a space in a seeded order, each with its key."""

    def __init__(self, space: SearchSpace, effective: EffectiveSpace, keyer: Keyer) -> None:
        self.space = space
        self.effective = effective
        self._keyer = keyer
        self._next_place = 0

    def proposal(self, cell: Cell, draws: Draws | None = None) -> Proposal:
        """A cell, with the numbers of its ranges, as a run that may be handed out."""
        point, labels = self.space.point_at(cell, draws), self.space.labels_at(cell, draws)
        unused = {name: number for name, number in (draws or {}).items() if name not in labels}
        return Proposal(self._keyer.key(point), point, labels, unused)

    def same_run(self, point: Point, key: str) -> Point | None:
        """The run of a point of a former space as the present one has it; None if it does not."""
        return same_run_in(self.space, point, key, self._keyer.key)

    def first_unused(self, history: History) -> tuple[int, Proposal] | NoProposal:
        """The first run of the seeded order that was not handed out, and its place there.

        A space that is continuous has no such order.
        """
        # Runs once handed out stay so: the next scan starts where this one ends.
        while self._next_place < self.effective.num_distinct and not self.effective.is_continuous:
            proposal = self.proposal(self.effective.representative(self._next_place))
            if not history.is_taken(proposal.key):
                return self._next_place, proposal
            self._next_place += 1
        return Exhausted()
