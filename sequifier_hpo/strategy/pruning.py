"""Early stopping across runs: whether a run goes on after a rung."""

from collections.abc import Mapping, Sequence
from typing import Any

from optuna.pruners import MedianPruner, SuccessiveHalvingPruner
from optuna.trial import TrialState

from sequifier_hpo.config.search_fields import PruningFields
from sequifier_hpo.strategy.facade import Compared, Facade, frozen
from sequifier_hpo.strategy.past import Past, PastRun

_NOTHING: Mapping[Any, float] = {}


class Pruning(PruningFields):
    """How runs are compared while they are trained: Optuna's pruners on the best losses so far."""

    def decide(self, past: Past, ordinal: int, pruning_gap: int) -> bool:
        """Decide whether a run goes on from its next rung, where it has come; False while it waits.

        The decision is noted in the past, for those of later runs depend on it.

        Args:
            past: All runs up to this one.
            ordinal: Of the run.
            pruning_gap: It is compared with the run so many before it, and with those before that.
        """
        run = past.runs[ordinal]
        rung = run.next_rung
        assert rung is not None, "asked of a run at a rung"
        others = past.losses_at(rung, ordinal - pruning_gap + 1)
        if others is None:
            return False
        outlook = self.outlook(run, rung)
        if outlook is None or self.stops(rung, outlook, others):
            run.stopped_at = rung
        else:
            run.num_rungs_passed += 1
        return True

    def outlook(self, run: PastRun, rung: int) -> float | None:
        """What a run has to show at a rung; None if it has no loss."""
        return run.outlook_at(rung)

    def stops(self, rung: int, loss: float, others: Sequence[float]) -> bool:
        """Whether a run ends at a rung: a pure function of the losses.

        Source: Li et al. 2020, "A system for massively parallel hyperparameter tuning" (stopping
        variant); Golovin et al. 2017, "Google Vizier", for the median; as Optuna implements them.

        Args:
            rung: Epochs trained.
            loss: What the run has to show: its best validation loss so far, or its outlook.
            others: Those of the runs before it that came to this rung, best so far there.
        """
        if self.is_halving:
            return self._halving_stops(rung, loss, others)
        trials = [Compared({rung: other}, _NOTHING) for other in others]
        own = frozen(len(others), TrialState.RUNNING, intermediate_values={rung: loss})
        return MedianPruner().prune(Facade(trials).as_study(), own)

    def _halving_stops(self, rung: int, loss: float, others: Sequence[float]) -> bool:
        # Optuna's rungs lie further apart. So each is a first one to it, and no trial has passed any.
        pruner = SuccessiveHalvingPruner(min_resource=rung, reduction_factor=self.reduction_factor)
        trials = [Compared(_NOTHING, {"completed_rung_0": other}) for other in others]
        own = frozen(len(others), TrialState.RUNNING, intermediate_values={rung: loss})
        return pruner.prune(Facade(trials).as_study(), own)
