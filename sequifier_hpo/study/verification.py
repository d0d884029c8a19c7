"""The study of a winner check: runs of a search, trained again with other seeds.

It lies beside the study of the search, in the same storage, under a name that no search can have.
So nothing that reads or continues the search ever meets one of its trials.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.samplers import RandomSampler
from sqlalchemy import Connection

from sequifier_hpo.records import Run
from sequifier_hpo.searchspace import Cell, SearchSpace
from sequifier_hpo.study import transactions
from sequifier_hpo.study.attempts import Attempt
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.runs import run_number
from sequifier_hpo.study.storages import Storage
from sequifier_hpo.study.trials import Task, TrialStudy

VERIFIES = "verifies"
"""Study attribute: name of the study whose runs are checked."""


@dataclass(frozen=True)
class Retraining:
    """One run of a search with one other seed."""

    run_number: int
    """In the study of the search."""
    cell: Cell
    seed: int
    attributes: Mapping[str, Any]
    """User attributes that its trials begin with."""
    note: str
    """Markdown that describes it."""

    @property
    def title(self) -> str:
        """What it is called in front of people."""
        return f"run {self.run_number}, seed {self.seed}"


def verification_name(search_name: str) -> str:
    """Name of the study that checks the winners of a search; no search may have a slash in its name."""
    return f"{search_name}/verify"


class VerificationStudy(TrialStudy):
    """The study of a winner check, as its coordinator sees it.

    What was trained at an earlier call, with more or other runs and seeds, stays where it is and
    is used again when it is asked for.
    """

    def __init__(
        self,
        storage: Storage,
        search_name: str,
        space: SearchSpace,
        retrainings: Sequence[Retraining],
        owner: Owner,
        *,
        note: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the study, or open it if it exists.

        Args:
            storage: Where the study of the search is.
            search_name: The name of that study.
            space: Its search space.
            retrainings: What is wanted now, in the order in which it is to be begun.
            owner: Who we are.
            note: Markdown that says what the study is.
            clock: Seconds that only grow.

        Raises:
            SpaceChangedError: If it exists, but checks another search of that name.
        """
        self._wanted = {
            _rank(space, retraining.cell, retraining.seed): retraining for retraining in retrainings
        }
        super().__init__(
            storage,
            owner,
            name=verification_name(search_name),
            space=space,
            sampler=RandomSampler(),
            clock=clock,
        )
        storage.patiently(lambda: self._describe(search_name, note))

    def retraining(self, rank: int) -> Retraining:
        """What a claim of this rank is to train."""
        return self._wanted[rank]

    def results(self) -> list[tuple[Retraining, Run | None]]:
        """Everything that is wanted, with its state; None = not begun."""
        runs = {run.number: run for run in self.runs()}
        found: list[tuple[Retraining, Run | None]] = []
        for rank, retraining in self._wanted.items():
            attempts = self._index.attempts(rank)
            found.append((retraining, runs[run_number(attempts[-1])] if attempts else None))
        return found

    def _describe(self, search_name: str, note: str) -> None:
        with self._storage.writing() as connection:
            transactions.lock_study(connection, self._study_id)
            transactions.note_study(connection, self._study_id, note)
            transactions.set_study_attrs(connection, self._study_id, {VERIFIES: search_name})

    # What there is to run

    def _next_new(self) -> int | None:
        return next((rank for rank in self._wanted if not self._index.attempts(rank)), None)

    def _is_wanted(self, rank: int) -> bool:
        return rank in self._wanted

    def _cell(self, rank: int) -> Cell:
        return self._wanted[rank].cell

    def _task(self, rank: int) -> Task:
        retraining = self._wanted[rank]
        about = {"verified_run": retraining.run_number, "seed": retraining.seed}
        return Task(
            params=self._space.labels_at(retraining.cell),
            attributes={**retraining.attributes, **about},
            note=lambda _: retraining.note,
        )

    def _title(self, rank: int, run_number: int) -> str:  # noqa: ARG002 - named by what it checks
        return self._wanted[rank].title

    def _add_to_completion(self, connection: Connection, attempt: Attempt) -> None:
        """Nothing: each result stands for itself."""


def _rank(space: SearchSpace, cell: Cell, seed: int) -> int:
    """A number of its own for every cell with every seed; seeds of a cell are far apart.

    Independent of how many are wanted, and of the numbers of the runs: these could change if the
    study of the search was deleted and begun again.
    """
    rank = seed
    for index, size in zip(cell, space.sizes, strict=True):
        rank = rank * size + index
    return rank
