"""How runs were stopped in studies that were begun before decision 0026, and keep the rule."""

from collections.abc import Iterator

from sequifier_hpo.strategy.past import PastRun
from sequifier_hpo.strategy.pruning import Pruning


class FirstPruning(Pruning):
    """Rungs lie `reduction_factor` times further on each, and the last epoch's pace counts."""

    def rungs(self, num_epochs: int) -> Iterator[int]:
        """The epochs after which runs are compared, for a training of this length."""
        rung = self.first_rung
        while rung < num_epochs:
            yield rung
            rung = rung * self.reduction_factor if self.is_halving else rung + 1

    def outlook(self, run: PastRun, rung: int) -> float | None:
        """Best loss so far, less what a quarter as many epochs would bring at the last one's pace."""
        loss, before = run.loss_at(rung), run.loss_at(rung - 1)
        return loss if loss is None or before is None else loss - 0.25 * rung * (before - loss)
