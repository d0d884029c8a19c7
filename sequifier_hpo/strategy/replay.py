"""A search on a table of trained runs: what would have been tried, stopped and found, and when.

Nothing is trained. Proposals and stops are those of a search; the workers are simulated.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from sequifier_hpo.strategy.bayesian import Taught, suggest
from sequifier_hpo.strategy.past import Past, PastRun, best_stopped
from sequifier_hpo.strategy.pruning import Pruning
from sequifier_hpo.strategy.sample import draws, seed_of
from sequifier_hpo.strategy.table import RunTable

SearchStrategy = Literal["sample", "bayesian"]


@dataclass(frozen=True)
class ReplaySettings:
    """How a table is searched."""

    search_strategy: SearchStrategy = "sample"
    pruning: Pruning | None = None
    proposal_gap: int = 12
    pruning_gap: int = 2
    finish_best: int = 0
    """Stopped runs that the last round gives their full length."""
    n_samples: int | None = None
    """Runs in all; None: every run of the table."""
    workers: int = 4


@dataclass(frozen=True)
class Improvement:
    """A loss smaller than any that was seen before."""

    loss: float
    epochs: int
    """Trained by all workers until then, those that a stop dropped included."""


@dataclass
class Replay:
    """What a replayed search came to."""

    past: Past
    """The runs by ordinal."""
    tried: list[int] = field(default_factory=list)
    """Their places in the table."""
    finished: list[int] = field(default_factory=list)
    """Ordinals of the runs that the last round gave their full length, best first."""
    improvements: list[Improvement] = field(default_factory=list)
    epochs: int = 0
    """Trained, those that a stop dropped included."""
    seconds: float = 0.0
    """From the first start to the last end."""
    busy_seconds: float = 0.0
    """Of all workers."""

    def epochs_to(self, loss: float) -> int | None:
        """Epochs trained until a loss this small was seen; None if it never was."""
        return next((found.epochs for found in self.improvements if found.loss <= loss), None)

    def best_after(self, epochs: float) -> float | None:
        """The smallest loss seen within so many epochs."""
        return min((f.loss for f in self.improvements if f.epochs <= epochs), default=None)


def replay(
    table: RunTable,
    settings: ReplaySettings,
    *,
    seed: int,
    until: float | None = None,
    lessons: Sequence[PastRun] = (),
) -> Replay:
    """Search a table, with the proposals and the stops of a search with these settings.

    Args:
        table: What training would have given.
        settings: How it is searched.
        seed: Of the search.
        until: A loss at which it ends.
        lessons: Runs of an earlier search of the table, which guide this one.
    """
    simulation = _Simulation(table, settings, seed, lessons)
    simulation.search(until)
    if until is None:
        simulation.last_round()
    return simulation.result


class _Simulation:
    """Workers that train an epoch of their run at a time."""

    def __init__(
        self, table: RunTable, settings: ReplaySettings, seed: int, lessons: Sequence[PastRun]
    ) -> None:
        self._table = table
        self._lessons = lessons
        self._settings = settings
        self._seed = seed
        self._past = Past()
        self._num_runs = min(settings.n_samples or len(table.runs), len(table.runs))
        self._used: set[int] = set()
        self._in_training: list[tuple[float, int]] = []
        """(seconds at which the epoch ends, ordinal), a heap."""
        self._undecided: list[int] = []
        """Ordinals of the runs with an open rung."""
        self.result = Replay(self._past)

    def search(self, until: float | None) -> None:
        """Until every run has ended, or a loss was seen."""
        found = self.result.improvements
        self._hand_out()
        while self._in_training and (until is None or not found or found[-1].loss > until):
            self.result.seconds, ordinal = heapq.heappop(self._in_training)
            run = self._past.runs[ordinal]
            if run.stopped_at is None:
                self._train(ordinal, run)
                self._see(run)
            self._decide()
            self._hand_out()

    def last_round(self) -> None:
        """Give the best stopped runs their full length."""
        runs = self._past.runs
        stopped = {k: run.best_loss for k, run in enumerate(runs) if run.stopped_at is not None}
        self.result.finished = best_stopped(stopped, self._settings.finish_best)
        for ordinal in self.result.finished:
            run = runs[ordinal]
            of_table = self._table.runs[self.result.tried[ordinal]]
            self.result.epochs += run.num_epochs - (run.stopped_at or 0)
            self._improve(of_table.best_loss)

    def _train(self, ordinal: int, run: PastRun) -> None:
        of_table = self._table.runs[self.result.tried[ordinal]]
        run.report(of_table.losses[len(run.best_losses)])
        self.result.epochs += 1
        self.result.busy_seconds += of_table.seconds_per_epoch
        if not run.is_trained:
            self._start_epoch(ordinal)
        elif run.next_rung is None:
            run.has_ended = True

    def _start_epoch(self, ordinal: int) -> None:
        seconds = self._table.runs[self.result.tried[ordinal]].seconds_per_epoch
        heapq.heappush(self._in_training, (self.result.seconds + seconds, ordinal))

    def _see(self, run: PastRun) -> None:
        """A loss counts once no open rung lies before it: until then it may be dropped."""
        trained, rung = len(run.best_losses), run.next_rung
        loss = run.loss_at(trained if rung is None else min(rung, trained))
        if loss is not None:
            self._improve(loss)

    def _improve(self, loss: float) -> None:
        found = self.result.improvements
        if not found or loss < found[-1].loss:
            found.append(Improvement(loss, self.result.epochs))

    def _decide(self) -> None:
        """Take every decision that can be taken; one may settle what another waits for."""
        has_decided = True
        while has_decided:
            has_decided = sum(map(self._decide_one, self._undecided)) > 0
            self._undecided = [
                k for k in self._undecided if self._past.runs[k].next_rung is not None
            ]

    def _decide_one(self, ordinal: int) -> bool:
        """Whether it could be decided if a run goes on at its next rung."""
        run, pruning = self._past.runs[ordinal], self._settings.pruning
        if pruning is None or not run.is_at_rung:
            return False
        if not pruning.decide(self._past, ordinal, self._settings.pruning_gap):
            return False
        run.has_ended = run.stopped_at is not None or (run.is_trained and run.next_rung is None)
        self._see(run)
        return True

    def _hand_out(self) -> None:
        while (
            len(self._in_training) < self._settings.workers
            and len(self._past.runs) < self._num_runs
            and (place := self._propose(ordinal := len(self._past.runs))) is not None
        ):
            self._used.add(place)
            self.result.tried.append(place)
            params, num_epochs = self._table.params(place), self._table.runs[place].num_epochs
            pruning = self._settings.pruning
            rungs = tuple(pruning.rungs(num_epochs)) if pruning else ()
            self._past.runs.append(PastRun(params, num_epochs, rungs))
            self._undecided.append(ordinal)
            self._start_epoch(ordinal)

    def _propose(self, ordinal: int) -> int | None:
        """Place in the table of the next run; None while it must wait."""
        if self._settings.search_strategy == "sample":
            return self._draw(ordinal)
        past = self._past.ended(ordinal - self._settings.proposal_gap + 1)
        if past is None:
            return None
        params = suggest(
            self._table.space,
            [
                Taught(k, run.params, run.best_loss, run.stopped_at)
                for k, run in enumerate([*self._lessons, *past], -len(self._lessons))
            ],
            ordinal=ordinal,
            seed=seed_of(self._seed, ordinal),
            is_used=lambda params: self._is_used(self._table.find(params)),
        )
        return self._draw(ordinal) if params is None else self._table.find(params)

    def _draw(self, ordinal: int) -> int:
        for params in draws(self._table.space, seed=self._seed, ordinal=ordinal):
            place = self._table.find(params)
            if place is not None and not self._is_used(place):
                return place
        unused = [place for place in range(len(self._table.runs)) if not self._is_used(place)]
        return unused[seed_of(self._seed, ordinal) % len(unused)]

    def _is_used(self, place: int | None) -> bool:
        """What the table does not have counts as used."""
        return place is None or place in self._used
