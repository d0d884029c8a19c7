"""Bayesian search: a number of distinct runs, each proposed from what earlier ones came to."""

from collections.abc import Iterator, Sequence

from sequifier_hpo.search.bayesian import Params, Taught, suggest
from sequifier_hpo.search.cells import Cells
from sequifier_hpo.search.sample import SampledRuns, seed_of
from sequifier_hpo.search.told import ToldSpace
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, Point, SearchSpace
from sequifier_hpo.study.proposing import EndedRun, Exhausted, History, NoProposal, Proposal, Wait


class LearningRuns:
    """Proposes runs by Optuna's TPE, none twice.

    What is proposed for a run depends on the ends of the runs up to `proposal_gap` before it, and
    on nothing else: neither on the number of workers nor on which of them is faster. The first
    runs, and those for which the model has nothing new, are those of a sample.
    """

    def __init__(
        self,
        space: SearchSpace,
        effective: EffectiveSpace,
        keyer: Keyer,
        *,
        seed: int,
        n_samples: int,
        proposal_gap: int,
    ) -> None:
        """Take the parts.

        Args:
            space: What is chosen from.
            effective: Its distinct runs.
            keyer: Names them.
            seed: Of the search.
            n_samples: Runs in all.
            proposal_gap: A proposal sees the runs so many before it, and those before these.
        """
        self._cells = Cells(space, effective, keyer)
        self._told = ToldSpace(space)
        self._sampled = SampledRuns(space, effective, keyer, seed=seed, n_samples=n_samples)
        self._seed = seed
        self._n_samples = n_samples
        self._gap = proposal_gap

    def propose(self, ordinal: int, history: History) -> Proposal | NoProposal:
        """The best unused candidate of the model, once the runs that it may see have ended."""
        if history.num_runs >= self._n_samples:
            return Exhausted()
        num_seen = max(0, ordinal - self._gap + 1)
        seen = history.ended(num_seen)
        if seen is None:
            return Wait(num_seen)
        params = suggest(
            self._told.distributions,
            self._lessons(seen),
            ordinal=ordinal,
            seed=seed_of(self._seed, ordinal),
            is_used=lambda params: history.is_taken(self._proposal(params).key),
        )
        return self._sampled.propose(ordinal, history) if params is None else self._proposal(params)

    def is_wanted(self, key: str) -> bool:  # noqa: ARG002 - whichever it is
        """Whatever was started is finished."""
        return True

    def twins(self, key: str, point: Point) -> Iterator[Proposal]:  # noqa: ARG002 - none has any
        """Nothing: it consists of runs, not of cells."""
        return iter(())

    def _proposal(self, params: Params) -> Proposal:
        cell = self._told.cell(params)
        return self._cells.proposal(self._cells.effective.representative_of(cell))

    def _lessons(self, seen: Sequence[EndedRun | None]) -> list[Taught]:
        told = ((k, run, self._told.params(run.point)) for k, run in enumerate(seen) if run)
        return [Taught(k, params, run.loss) for k, run, params in told if params is not None]
