"""Bayesian search: a number of distinct runs, each proposed from what earlier ones came to."""

from collections.abc import Mapping, Sequence
from typing import Any

from sequifier_hpo.searchspace import EffectiveSpace, Keyer, Point, SearchSpace
from sequifier_hpo.strategy.bayesian import Params, Taught, suggest
from sequifier_hpo.strategy.sample import SampledRuns, seed_of
from sequifier_hpo.strategy.told import ToldSpace
from sequifier_hpo.study.proposing import EndedRun, Exhausted, History, NoProposal, Proposal, Wait


class LearningRuns(SampledRuns):
    """Proposes runs by Optuna's TPE, none twice.

    What is proposed for a run depends on the ends of the runs up to `proposal_gap` before it, on what
    earlier studies teach, and on nothing else: neither on the number of workers nor on which of them
    is faster. The first runs, and those for which the model has nothing new, are those of a sample.
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
        super().__init__(space, effective, keyer, seed=seed, n_samples=n_samples)
        self._told = ToldSpace(space)
        self._gap = proposal_gap
        self._params: dict[int, tuple[Point, Mapping[str, float], Params | None]] = {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides which runs come next, besides the space, the seed and the results."""
        return {"search_strategy": "bayesian", "proposal_gap": self._gap}

    def propose(self, ordinal: int, history: History) -> Proposal | NoProposal:
        """The best unused candidate of the model, once the runs that it may see have ended."""
        if history.num_runs >= self._n_samples:
            return Exhausted()
        num_seen = max(0, ordinal - self._gap + 1)
        seen = history.ended(num_seen)
        if seen is None:
            return Wait(num_seen, "proposal_gap")
        params = suggest(
            self._told.distributions,
            self._taught(history.lessons, seen),
            ordinal=ordinal,
            seed=seed_of(self._seed, ordinal),
            is_used=lambda params: history.is_taken(self._proposed(params).key),
        )
        return super().propose(ordinal, history) if params is None else self._proposed(params)

    def _proposed(self, params: Params) -> Proposal:
        return self._proposal_at(*self._told.place_of(params))

    def _present(self, run: EndedRun) -> Point:
        """What was chosen in a run, as the present space has it."""
        if self._cells.space.places_in(run.point) is not None:
            return run.point
        return self._cells.same_run(run.point, run.key) or run.point

    def _taught(self, lessons: Sequence[EndedRun], seen: Sequence[EndedRun | None]) -> list[Taught]:
        """What the sampler is told: runs of earlier studies come before the first."""
        told = (
            (k, run, self._params_of(k, run))
            for k, run in enumerate([*lessons, *seen], -len(lessons))
            if run
        )
        return [
            Taught(k, params, run.loss, run.stopped_at, run.never_fitted)
            for k, run, params in told
            if params is not None
        ]

    def _params_of(self, k: int, run: EndedRun) -> Params | None:
        """What the sampler is told of a run: the same at every proposal, so it is found once."""
        found = self._params.get(k)
        if found is None or found[:2] != (run.point, run.unused):
            params = self._told.params(self._present(run), run.unused, f"{self._seed}:{k}")
            self._params[k] = found = (run.point, run.unused, params)
        return found[2]
