"""Searches of stock Optuna, and that of Sequifier 3.1.1.0, on a table of trained runs.

Nothing is trained; workers that share a study are simulated, an epoch at a time.
"""

import heapq
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import TPESampler
from optuna.trial import Trial, TrialState

from sequifier_hpo.strategy.past import Past, PastRun
from sequifier_hpo.strategy.replay import Improvement, Replay
from sequifier_hpo.strategy.table import RunTable

MAX_REPEATS = 100
"""Proposals in a row that were trained before, after which a search ends."""


@dataclass(frozen=True)
class Way:
    """A study, its sampler and its pruner, as a user sets them up."""

    pruner: Callable[[int], BasePruner]
    """Of the longest training's epochs."""
    workers: int = 1
    is_multivariate: bool | None = None
    """None: the sampler's default."""
    is_ordered: bool = False
    """Whether numbers are suggested in their order, and not as categories."""
    trains_again: bool = True
    """Whether a configuration that is proposed again is trained again, as Optuna has it; else the
    trial fails, and the study is asked for another."""
    steps_per_epoch: Callable[[tuple[str, ...]], int] = lambda _labels: 1
    """Of a run with these labels: what a loss is reported under."""


def optuna_ways(workers: int) -> dict[str, Way]:
    """Optuna's pruners with its TPE, as its documentation sets them up."""

    def halving(_epochs: int) -> BasePruner:
        return SuccessiveHalvingPruner(min_resource=1)

    def hyperband(epochs: int) -> BasePruner:
        return HyperbandPruner(min_resource=1, max_resource=epochs)

    pruners = {"no pruner": lambda _epochs: NopPruner(), "Median": lambda _epochs: MedianPruner()}
    pruners |= {"SuccessiveHalving": halving, "Hyperband": hyperband}
    ways = {
        f"Optuna TPE, {name}": Way(pruner, workers, is_multivariate=True, is_ordered=True)
        for name, pruner in pruners.items()
    }
    ways["Optuna TPE of categories, Median"] = Way(pruners["Median"], workers)
    return ways


def sequifier_way(windows: int, parameters: tuple[str, ...]) -> Way:
    """The search of Sequifier 3.1.1.0 as it is unless set otherwise.

    It trains a run at a time, proposes with a multivariate TPE among categories and reports each epoch's
    loss under the number of batches so far to the pruner that a study has by default (the median).

    Args:
        windows: Of the training split.
        parameters: Columns of the table; batches are counted where one is `batch_size`.
    """

    def steps(labels: tuple[str, ...]) -> int:
        if "batch_size" not in parameters:
            return 1
        batch_size = re.findall(r"\d+", labels[parameters.index("batch_size")])[-1]
        return math.ceil(windows / int(batch_size))

    return Way(
        lambda _epochs: MedianPruner(),
        is_multivariate=True,
        trains_again=False,
        steps_per_epoch=steps,
    )


def search(table: RunTable, way: Way, *, seed: int, max_epochs: float) -> Replay:
    """Search until the best loss of the table was seen, or so many epochs are trained."""
    simulation = _Simulation(table, way, seed)
    simulation.search(max_epochs)
    return simulation.result


@dataclass
class _Training:
    """A trial that a worker trains."""

    trial: Trial
    ordinal: int
    num_trained: int = 0


class _Simulation:
    """Workers that share a study."""

    def __init__(self, table: RunTable, way: Way, seed: int) -> None:
        self._table = table
        self._way = way
        self._space = table.space if way.is_ordered else _categories(table)
        self._study = optuna.create_study(
            sampler=TPESampler(seed=seed, multivariate=way.is_multivariate),
            pruner=way.pruner(max(run.num_epochs for run in table.runs)),
            study_name="study",  # Hyperband's brackets depend on it
        )
        self._in_training: list[tuple[float, int, _Training]] = []
        self.result = Replay(Past())

    def search(self, max_epochs: float) -> None:
        result, best = self.result, self._table.best(0)
        self._hand_out()
        while self._in_training and result.epochs < max_epochs:
            result.seconds, _, training = heapq.heappop(self._in_training)
            self._train(training)
            if result.improvements and result.improvements[-1].loss <= best:
                return
            self._hand_out()

    def _train(self, training: _Training) -> None:
        result, trial = self.result, training.trial
        run = self._table.runs[result.tried[training.ordinal]]
        loss = run.losses[training.num_trained]
        training.num_trained += 1
        result.epochs += 1
        result.busy_seconds += run.seconds_per_epoch
        if not result.improvements or loss < result.improvements[-1].loss:
            result.improvements.append(Improvement(loss, result.epochs))
        trial.report(loss, training.num_trained * self._way.steps_per_epoch(run.labels))
        if training.num_trained == run.num_epochs:
            self._study.tell(trial, run.best_loss)
        elif trial.should_prune():
            result.past.runs[training.ordinal].stopped_at = training.num_trained
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._start_epoch(training)

    def _hand_out(self) -> None:
        while len(self._in_training) < self._way.workers:
            place, trial = self._ask()
            if place is None:
                return
            ordinal = len(self.result.tried)
            self.result.tried.append(place)
            run = self._table.runs[place]
            self.result.past.runs.append(PastRun(self._table.params(place), run.num_epochs))
            self._start_epoch(_Training(trial, ordinal))

    def _start_epoch(self, training: _Training) -> None:
        seconds = self._table.runs[self.result.tried[training.ordinal]].seconds_per_epoch
        ends_at = self.result.seconds + seconds
        heapq.heappush(self._in_training, (ends_at, training.ordinal, training))

    def _ask(self) -> tuple[int | None, Trial]:
        """Place in the table of what is proposed next; None if there is nothing new."""
        for _ in range(MAX_REPEATS):
            trial = self._study.ask(self._space)
            place = self._table.find(trial.params)
            if place is not None and (self._way.trains_again or place not in self.result.tried):
                return place, trial
            self._study.tell(trial, state=TrialState.FAIL)
        return None, trial


def _categories(table: RunTable) -> dict[str, BaseDistribution]:
    return {
        name: CategoricalDistribution(range(len(choices)))
        for name, choices in table.choices.items()
    }
