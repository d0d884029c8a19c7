"""Early stopping across runs, as a study asks for it: which run ends at which rung."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from sequifier_hpo.searchspace import Point
from sequifier_hpo.strategy.past import Past, PastRun
from sequifier_hpo.strategy.pruning import Pruning
from sequifier_hpo.study.proposing import Curves, GoOn, StopAt, TrainedRun, Undecided, Verdict


@dataclass(frozen=True)
class PruningSince:
    """How runs are compared from some ordinal on."""

    since_ordinal: int
    pruning: Pruning | None
    """None: they are not."""
    pruning_gap: int
    """A run is compared with the runs so many before it, and with those before these."""


class EarlyStopping:
    """Compares every run at its rungs with the runs before it.

    A decision depends on their losses up to the rung, and on nothing else. What is settled is kept,
    so that it takes no look at all the runs.
    """

    def __init__(
        self, revisions: Sequence[PruningSince], num_epochs: Callable[[Point], int]
    ) -> None:
        """Take how runs are compared.

        Args:
            revisions: Oldest first; without any, nothing is stopped.
            num_epochs: Length of the training of a point.
        """
        self._revisions = revisions
        self._num_epochs = num_epochs
        self._past = Past()
        self._open: set[int] = set()
        """Ordinals of the runs that had not ended when last looked at."""
        self._verdicts: dict[int, Verdict] = {}
        """About them."""
        self._version: int | None = None

    def verdict(self, ordinal: int, curves: Curves) -> Verdict:
        """What becomes of a run, after the epochs that it has been through."""
        if not any(revision.pruning for revision in self._revisions):
            return GoOn()
        if self._version != curves.version or ordinal >= len(self._past.runs):
            self._version = curves.version
            self._take_in(ordinal, curves)
            # A decision depends on runs before it alone, but on what was decided of them.
            self._verdicts = {k: self._decide(k) for k in sorted(self._open)}
        return self._verdicts.get(ordinal, GoOn())

    def _take_in(self, ordinal: int, curves: Curves) -> None:
        runs = self._past.runs
        for k in range(len(runs), ordinal + 1):
            trained = curves.trained(k)
            runs.append(self._new(k, trained))
            self._open.add(k)
        # One that had failed may be in training again.
        self._open.update(k for k in curves.in_training() if k < len(runs))
        for k in list(self._open):
            trained = curves.trained(k)
            _update(runs[k], trained)
            if trained is None or trained.has_ended:
                self._open.discard(k)

    def _new(self, ordinal: int, trained: TrainedRun | None) -> PastRun:
        since = self._since(ordinal)
        if trained is None or since is None or since.pruning is None:
            return PastRun({}, num_epochs=0)
        num_epochs = self._num_epochs(trained.point)
        return PastRun({}, num_epochs, tuple(since.pruning.rungs(num_epochs)))

    def _decide(self, ordinal: int) -> Verdict:
        """Take every decision about a run that can be taken."""
        run, since = self._past.runs[ordinal], self._since(ordinal)
        while run.is_at_rung:
            assert run.next_rung is not None
            assert since is not None
            assert since.pruning is not None, "only then there are rungs"
            if not since.pruning.decide(self._past, ordinal, since.pruning_gap):
                return Undecided(run.next_rung, ordinal - since.pruning_gap + 1)
        return GoOn() if run.stopped_at is None else StopAt(run.stopped_at)

    def _since(self, ordinal: int) -> PruningSince | None:
        """What holds for a run."""
        since = [each for each in self._revisions if each.since_ordinal <= ordinal]
        return since[-1] if since else None


def _update(run: PastRun, trained: TrainedRun | None) -> None:
    if trained is None:
        run.has_ended = True
        return
    run.has_ended = trained.has_ended
    if trained.has_ended:
        run.stopped_at = trained.stopped_at
    run.best_losses = []
    for epoch in range(1, max(trained.losses, default=0) + 1):
        if epoch not in trained.losses and not trained.has_ended:
            break  # it will be told again when the run is continued
        run.report(trained.losses.get(epoch, inf))
