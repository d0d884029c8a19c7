"""What a run may know of those before it: a fixed part of the past, and nothing else.

The *ordinal* k counts the runs of a study in the order in which they are first handed out. What is
proposed for run k depends on the ends of the runs up to k - `proposal_gap`; whether it is stopped
at a rung depends on the losses up to that rung of the runs up to k - `pruning_gap`. So neither the
number of workers nor an interruption changes what is tried, or where it is stopped.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite

_CREDIT = 0.5
"""Share of what the second half of its epochs brought that a run is given credit for; see decision
0026."""


@dataclass
class PastRun:
    """One run, as later ones may see it."""

    params: Mapping[str, int | float]
    """Parameter -> value as a sampler is told."""
    num_epochs: int
    """Length of its training, unless it is stopped."""
    rungs: Sequence[int] = ()
    """Epochs after which it may be stopped, in increasing order, all before its last."""
    best_losses: list[float] = field(default_factory=list)
    """Best validation loss so far, after each epoch."""
    num_rungs_passed: int = 0
    """Rungs at which it was decided that it goes on."""
    stopped_at: int | None = None
    """Epoch of the rung at which it was stopped."""
    has_ended: bool = False
    """Whether nothing will be added."""

    def report(self, loss: float) -> None:
        """Take in the next epoch."""
        self.best_losses.append(min(loss, self.best_losses[-1] if self.best_losses else inf))

    @property
    def next_rung(self) -> int | None:
        """The first rung at which it is open whether it goes on, be it there or not."""
        if self.stopped_at is not None or self.num_rungs_passed == len(self.rungs):
            return None
        return self.rungs[self.num_rungs_passed]

    @property
    def is_at_rung(self) -> bool:
        """Whether it has been through the epochs that are compared at its next rung."""
        return self.next_rung is not None and len(self.best_losses) >= self.next_rung

    @property
    def is_trained(self) -> bool:
        """Whether all its epochs are trained."""
        return len(self.best_losses) == self.num_epochs

    @property
    def best_loss(self) -> float | None:
        """Best loss up to where it ended or was stopped; None if it failed by itself.

        A run that diverged has no finite loss, and teaches as a bad one.
        """
        return self.loss_at(self.stopped_at or len(self.best_losses))

    def loss_at(self, epoch: int) -> float | None:
        """Best loss of so many epochs; None if there is none (yet)."""
        if not 0 < epoch <= len(self.best_losses):
            return None
        loss = self.best_losses[epoch - 1]
        return loss if isfinite(loss) else None

    def outlook_at(self, epoch: int) -> float | None:
        """Best loss of so many epochs, less half of what the second half of them brought.

        It is what is compared with the losses of others: a run that learns slowly is not stopped
        while it still learns. One that stands still has no more than its loss.
        """
        loss, before = self.loss_at(epoch), self.loss_at(epoch // 2)
        if loss is None or before is None:
            return loss
        return loss - _CREDIT * (before - loss)


class Past:
    """The runs of a study by ordinal, and what is settled of them."""

    def __init__(self) -> None:
        self.runs: list[PastRun] = []
        self._num_ended = 0
        self._settled: dict[int, _Settled] = {}
        """By epoch."""

    def ended(self, num_runs: int) -> Sequence[PastRun] | None:
        """The first runs, or None while one of them is in training."""
        while self._num_ended < len(self.runs) and self.runs[self._num_ended].has_ended:
            self._num_ended += 1
        return self.runs[: max(0, num_runs)] if self._num_ended >= num_runs else None

    def losses_at(self, rung: int, num_runs: int) -> Sequence[float] | None:
        """Best losses so far of those of the first runs that come to a rung.

        None while that is open for one of them.
        """
        settled = self._settled.setdefault(rung, _Settled())
        while settled.num_runs < len(self.runs) and self._is_settled(settled.num_runs, rung):
            run = self.runs[settled.num_runs]
            loss = run.loss_at(rung)
            if loss is not None and not _is_stopped_before(run, rung):
                settled.ordinals.append(settled.num_runs)
                settled.losses.append(loss)
            settled.num_runs += 1
        if settled.num_runs < num_runs:
            return None
        return settled.losses[: bisect_left(settled.ordinals, num_runs)]

    def _is_settled(self, ordinal: int, rung: int) -> bool:
        run = self.runs[ordinal]
        if run.has_ended or _is_stopped_before(run, rung):
            return True
        has_passed = run.next_rung is None or run.next_rung >= rung
        return has_passed and len(run.best_losses) >= rung


@dataclass
class _Settled:
    """What is known at one rung of the first runs."""

    num_runs: int = 0
    ordinals: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


def _is_stopped_before(run: PastRun, rung: int) -> bool:
    return run.stopped_at is not None and run.stopped_at < rung


def best_stopped(losses: Mapping[int, float | None], count: int) -> list[int]:
    """The stopped runs that a last round gives their full length, best first.

    Args:
        losses: Ordinal of each stopped run -> its best loss when it was stopped.
        count: How many there are to be.
    """
    ranked = sorted((loss, ordinal) for ordinal, loss in losses.items() if loss is not None)
    return [ordinal for _, ordinal in ranked[:count]]
