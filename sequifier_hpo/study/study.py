"""The study of a search: which runs there are to claim, and what else a result is the result of."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection

from sequifier_hpo.records import RunState
from sequifier_hpo.searchspace import Cell, EffectiveSpace, Point, SearchSpace
from sequifier_hpo.study import transactions
from sequifier_hpo.study.attempts import Attempt
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.runs import DUPLICATE_OF, run_number
from sequifier_hpo.study.samplers import RANK, make_sampler
from sequifier_hpo.study.storages import Storage
from sequifier_hpo.study.transactions import NewTrial
from sequifier_hpo.study.trials import Task, TrialStudy

STRATEGY, NUM_RUNS = "strategy", "num_runs"
"""User attributes of the study."""


@dataclass(frozen=True)
class SearchPlan:
    """What a study is to run."""

    name: str
    space: SearchSpace
    effective: EffectiveSpace
    strategy: str
    num_runs: int
    """Distinct runs in all: ranks 0 ... num_runs-1."""
    describe: Callable[[Point], Mapping[str, Any]]
    """User attributes that describe a point's configuration."""
    note: str = ""
    """Markdown that says what the study is; "" = none."""
    trial_note: Callable[[Point, int], str] | None = None
    """(point, run number) -> Markdown that describes the run; None = no notes."""


class SearchStudy(TrialStudy):
    """The study of one search, as its coordinator sees it."""

    def __init__(
        self,
        storage: Storage,
        plan: SearchPlan,
        owner: Owner,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the study, or open it if it exists.

        Args:
            storage: Where it is.
            plan: What it is to run.
            owner: Who we are.
            clock: Seconds that only grow.

        Raises:
            SpaceChangedError: If it exists with another search space.
        """
        self._plan = plan
        self._proposals = make_sampler(plan.space, plan.effective, plan.strategy)
        super().__init__(
            storage,
            owner,
            name=plan.name,
            space=plan.space,
            sampler=self._proposals,
            clock=clock,
        )
        storage.patiently(self._mirror_missing_duplicates)

    def set_num_runs(self) -> None:
        """Store how many runs the study is to have now, and the note that says what it is."""
        attrs = {NUM_RUNS: self._plan.num_runs, STRATEGY: self._plan.strategy}
        with self._storage.writing() as connection:
            transactions.lock_study(connection, self._study_id)
            transactions.set_study_attrs(connection, self._study_id, attrs)
            if self._plan.note:
                transactions.note_study(connection, self._study_id, self._plan.note)

    # What there is to run

    def _next_new(self) -> int | None:
        rank = self._index.next_rank
        return rank if rank < self._plan.num_runs else None

    def _is_wanted(self, rank: int) -> bool:  # noqa: ARG002 - whichever it is
        return True  # whatever was begun is brought to its end

    def _cell(self, rank: int) -> Cell:
        return self._plan.effective.representative(rank)

    def _task(self, rank: int) -> Task:
        cell = self._cell(rank)
        return Task(
            self._proposals.propose(rank),
            self._plan.describe(self._plan.space.point_at(cell)),
            self._note(cell),
        )

    def _note(self, cell: Cell) -> Callable[[int], str] | None:
        write = self._plan.trial_note
        return None if write is None else partial(write, self._plan.space.point_at(cell))

    def _title(self, rank: int, run_number: int) -> str:  # noqa: ARG002 - runs have a number
        return f"run {run_number}"

    # Duplicates

    def _add_to_completion(self, connection: Connection, attempt: Attempt) -> None:
        self._insert_duplicates(connection, attempt)

    def _mirror_missing_duplicates(self) -> None:
        """Make up for the duplicates of runs that were completed when the study was a sample."""
        has_none = self._plan.effective.num_distinct == self._plan.space.num_cells
        if self._plan.strategy != "grid" or has_none:
            return
        with self._storage.writing() as connection:
            transactions.lock_study(connection, self._study_id)
            self._take_in_new(connection)
            complete = sorted(self._index.ranks(RunState.COMPLETE))
            for attempt in (self._index.attempts(rank)[-1] for rank in complete):
                self._insert_duplicates(connection, attempt)
        self._catch_up()

    def _insert_duplicates(self, connection: Connection, original: Attempt) -> None:
        """Give the other grid cells of a complete run its result."""
        rank = original.system_attrs[RANK]
        if self._plan.strategy != "grid" or not self._plan.effective.num_duplicates(rank):
            return
        transactions.lock_study(connection, self._study_id)
        done = {self._plan.space.cell_of(a.params) for a in self._index.duplicates.get(rank, [])}
        cells = [cell for cell in self._plan.effective.duplicates(rank) if cell not in done]
        run = run_number(original)
        twins = [
            NewTrial(
                state=TrialState.COMPLETE,
                value=original.value,
                params=self._plan.space.labels_at(cell),
                user_attrs={
                    **self._plan.describe(self._plan.space.point_at(cell)),
                    DUPLICATE_OF: run,
                },
                system_attrs={RANK: rank},
            )
            for cell in cells
        ]
        inserted = transactions.insert_trials(
            connection, self._study_id, self._distributions, twins
        )
        for (trial_id, number), cell in zip(inserted, cells, strict=True):
            self._note_trial(connection, trial_id, number, run, self._note(cell))
