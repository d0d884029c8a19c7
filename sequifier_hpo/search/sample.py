"""Random search: a number of distinct runs."""

import hashlib
from collections.abc import Iterator

from optuna.samplers import RandomSampler

from sequifier_hpo.search.asking import ask
from sequifier_hpo.search.cells import Cells
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, Point, SearchSpace
from sequifier_hpo.study.distributions import distributions
from sequifier_hpo.study.proposing import Exhausted, History, NoProposal, Proposal

MAX_DRAWS = 20


class SampledRuns:
    """Proposes runs that Optuna's random sampler draws, none twice.

    Each ordinal has a sampler of its own, so that a study that is resumed, or shared by several
    coordinators, has the runs of one that is not.
    """

    def __init__(
        self,
        space: SearchSpace,
        effective: EffectiveSpace,
        keyer: Keyer,
        *,
        seed: int,
        n_samples: int,
    ) -> None:
        """Take the parts.

        Args:
            space: What is drawn from.
            effective: Its distinct runs.
            keyer: Names them.
            seed: Of the search.
            n_samples: Runs in all.
        """
        self._cells = Cells(space, effective, keyer)
        self._distributions = distributions(space)
        self._seed = seed
        self._n_samples = n_samples

    def propose(self, ordinal: int, history: History) -> Proposal | NoProposal:
        """A new draw; where hardly anything is new, the first unused run of a seeded order."""
        if history.num_runs >= self._n_samples:
            return Exhausted()
        for draw in range(MAX_DRAWS):
            proposal = self._drawn(ordinal, draw)
            if not history.is_taken(proposal.key):
                return proposal
        found = self._cells.first_unused(history)
        return found if isinstance(found, NoProposal) else found[1]

    def is_wanted(self, key: str) -> bool:  # noqa: ARG002 - whichever it is
        """Whatever was started is finished."""
        return True

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:  # noqa: ARG002 - none has any
        """Nothing: a sample consists of runs, not of cells."""
        return iter(())

    def _drawn(self, ordinal: int, draw: int) -> Proposal:
        sampler = RandomSampler(seed=seed_of(self._seed, ordinal, draw))
        labels = ask(sampler, self._distributions, ordinal=ordinal)
        cell = self._cells.space.cell_of(labels)
        return self._cells.proposal(self._cells.effective.representative_of(cell))


def seed_of(*numbers: int) -> int:
    """32 bits for a seed, an ordinal and so on, that differ for neighbouring ones in every way."""
    text = ":".join(map(str, numbers))
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
