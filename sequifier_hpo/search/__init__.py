"""Which run comes next, and which is stopped.

Optuna's samplers and pruners do the work; the ledger of `study` hands runs out.
"""

from sequifier_hpo.search.chosen import ChosenRuns
from sequifier_hpo.search.grid import GridRuns
from sequifier_hpo.search.learning import LearningRuns
from sequifier_hpo.search.retraining import Retraining, retrainings_of
from sequifier_hpo.search.sample import SampledRuns
from sequifier_hpo.search.strategies import proposer_of, pruner_of

__all__ = [
    "ChosenRuns",
    "GridRuns",
    "LearningRuns",
    "Retraining",
    "SampledRuns",
    "proposer_of",
    "pruner_of",
    "retrainings_of",
]
