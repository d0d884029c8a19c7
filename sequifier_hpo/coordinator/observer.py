"""Who watches a search, and what is shown of it."""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import (
    BatchPlan,
    BatchReport,
    EpochReport,
    Failure,
    MemoryNeed,
    TrainingResult,
)
from sequifier_hpo.study import Claim


@dataclass
class ActiveRun:
    """A run in progress, as an observer sees it."""

    claim: Claim
    config: TrainConfig
    """What is trained now: as requested, with the batches left by out-of-memory retries."""
    notes: list[str]
    need: Callable[[BatchPlan], MemoryNeed | None] = lambda _plan: None
    """What training with a plan takes; None = that is not known."""
    attempt: int = 1
    started: float = field(default_factory=time.monotonic)
    reports: dict[int, EpochReport] = field(default_factory=dict)
    """By epoch, as far as this coordinator has seen them."""

    @property
    def train_losses(self) -> dict[int, float]:
        """By epoch, as far as this coordinator has seen them."""
        return {epoch: report.train_loss for epoch, report in self.reports.items()}

    @property
    def ids(self) -> Mapping[str, int]:
        """What a record in the log says of it."""
        return {
            "run_number": self.claim.run_number,
            "trial_number": self.claim.trial_number,
            "attempt": self.attempt,
        }


@dataclass(frozen=True)
class SearchEnd:
    """Why the loop ended."""

    stopped_by: signal.Signals | None
    """The signal, if the user stopped the search."""
    gave_up_after: tuple[Failure, ...]
    """The failures in a row that made the search give up."""
    stopped_by_budget: str = ""
    """The budget that left something to do: the field of the search file; "" = none."""


class Observer(Protocol):
    """Who watches a search: the terminal, a test."""

    def trial_started(self, run: ActiveRun) -> None:
        """An attempt begins."""

    def trial_resumed(self, run: ActiveRun, losses: Mapping[int, float]) -> None:
        """An attempt goes on after epochs with these validation losses."""

    def trial_progressed(self, run: ActiveRun, report: BatchReport) -> None:
        """Some batches of an epoch are done."""

    def epoch_ended(self, run: ActiveRun, report: EpochReport) -> None:
        """A trial has a new validation loss."""

    def trial_completed(self, run: ActiveRun, result: TrainingResult) -> None:
        """A run has its result, and it is stored."""

    def trial_pruned(self, run: ActiveRun, rung: int, best_loss: float) -> None:
        """A run was stopped at a rung, where its best loss was this, and that is stored."""

    def trial_failed(self, run: ActiveRun, result: TrainingResult) -> None:
        """A run failed for good, or was interrupted, and that is stored."""

    def trial_lost(self, run: ActiveRun) -> None:
        """Another coordinator has taken the trial over."""

    def trial_retried(self, run: ActiveRun, why: str) -> None:
        """An attempt is repeated."""

    def waiting(self, runs: Sequence[int], setting: str) -> None:
        """A worker is idle: what is trained next depends on these runs, which are to end first.

        A larger value of the setting would keep more workers busy; "" = none would.
        """

    def stopping(self, *, is_time_up: bool = False) -> None:
        """A stop was requested, or the time budget is spent; trials write their checkpoints."""

    def storage_lost(self, reason: str) -> None:
        """The storage cannot be used; results are kept here until it can."""

    def storage_returned(self, seconds: float) -> None:
        """The storage can be used again, after so many seconds."""

    def ticked(self) -> None:
        """About a second has passed."""
