"""Random search: a number of distinct runs."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler

from sequifier_hpo.searchspace import Cell, Draws, EffectiveSpace, Keyer, Point, SearchSpace
from sequifier_hpo.strategy.asking import ask
from sequifier_hpo.strategy.cells import Cells
from sequifier_hpo.strategy.redrawing import Redrawing
from sequifier_hpo.study.distributions import distributions
from sequifier_hpo.study.proposing import Exhausted, History, NoProposal, Proposal

_MAX_DRAWS = 20
_MAX_CONTINUOUS_DRAWS = 10_000  # nearly always the first is new


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
        self._redrawing = Redrawing(self._draws)
        self._max_draws = _MAX_CONTINUOUS_DRAWS if effective.is_continuous else _MAX_DRAWS

    def propose(self, ordinal: int, history: History) -> Proposal | NoProposal:
        """A new draw; where hardly anything is new, the first unused run of a seeded order."""
        if history.num_runs >= self._n_samples:
            return Exhausted()
        if history.spaces:
            proposal = self._redrawing.propose(history)
        else:
            drawn = self._draws(ordinal)
            proposal = next((each for each in drawn if not history.is_taken(each.key)), None)
        if proposal is not None:
            return proposal
        found = self._cells.first_unused(history)
        return found if isinstance(found, NoProposal) else found[1]

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides which runs come next, besides the space and the seed."""
        return {"search_strategy": "sample"}

    def is_wanted(self, key: str) -> bool:  # noqa: ARG002 - whichever it is
        """Whatever was started is finished."""
        return True

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:  # noqa: ARG002 - none has any
        """Nothing: it consists of runs, not of cells."""
        return iter(())

    def _draws(self, ordinal: int, *more: int) -> Iterator[Proposal]:
        seed, most = self._seed, self._max_draws
        for drawn in draws(self._distributions, seed=seed, ordinal=ordinal, more=more, most=most):
            yield self._proposal_at(*self._cells.space.place_of(drawn))

    def _proposal_at(self, cell: Cell, numbers: Draws) -> Proposal:
        return self._cells.proposal(self._cells.effective.representative_of(cell), numbers)


def draws(
    distributions: Mapping[str, BaseDistribution],
    *,
    seed: int,
    ordinal: int,
    more: Sequence[int] = (),
    most: int = _MAX_DRAWS,
) -> Iterator[dict[str, Any]]:
    """What a random search draws for a run: again, with another seed, while it is not new."""
    for draw in range(most):
        sampler = RandomSampler(seed=seed_of(seed, ordinal, *more, draw))
        yield ask(sampler, distributions, ordinal=ordinal)


def seed_of(*numbers: int) -> int:
    """32 bits for a seed, an ordinal and so on, that differ for neighbouring ones in every way."""
    text = ":".join(map(str, numbers))
    digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")
