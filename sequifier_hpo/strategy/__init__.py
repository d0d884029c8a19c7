"""Which run comes next, and which is stopped.

Optuna's samplers and pruners do the work; the ledger of `study` hands runs out.
"""

from sequifier_hpo.strategy.budgets import EPOCHS, TIME, Budget
from sequifier_hpo.strategy.chosen import ChosenRuns
from sequifier_hpo.strategy.grid import GridRuns
from sequifier_hpo.strategy.learning import LearningRuns
from sequifier_hpo.strategy.retraining import Retraining, retrainings_of
from sequifier_hpo.strategy.sample import SampledRuns
from sequifier_hpo.strategy.strategies import (
    budget_of,
    proposer_of,
    pruner_of,
    pruning_settings,
)

__all__ = [
    "EPOCHS",
    "TIME",
    "Budget",
    "ChosenRuns",
    "GridRuns",
    "LearningRuns",
    "Retraining",
    "SampledRuns",
    "budget_of",
    "proposer_of",
    "pruner_of",
    "pruning_settings",
    "retrainings_of",
]
