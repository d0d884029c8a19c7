"""Judges what a database was told during a search: who held which run, and when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Operation:
    """One change of a trial, as the server carried it out; in the order of the commits."""

    kind: Literal["claim", "report", "complete", "prune", "fail"]
    run: str
    """What is trained: the key of the run."""
    trial: int
    host: str
    """Whose connection it was."""
    epoch: int | None = None
    """Of a report."""
    loss: float | None = None
    """Of a report or a result."""
    silence: float | None = None
    """Seconds since the trial's last heartbeat, for the end of one."""


def violations(history: Sequence[Operation], grace_seconds: float) -> list[str]:
    """What happened that must not, in words; empty = all was right.

    A run is held by one trial at a time, and by none after its result; one that was pruned has none
    before it is given its full length. Only the host that holds a
    trial reports and completes it, each epoch once and in order, and nobody does after its end.
    Another host may only end it as lost, after a grace period without a heartbeat. An epoch that is
    trained again has the same loss.

    Args:
        history: All operations of one study, from its beginning.
        grace_seconds: After which silence a trial may be taken over by another host.
    """
    judge = _Judge(grace_seconds)
    found = []
    for each in history:
        what = f"{each.host}: {each.kind} of trial {each.trial}"
        found += [f"{what}: {problem}" for problem in judge.problems_of(each)]
    held = [number for number, trial in judge.trials.items() if trial.is_held]
    return found + [f"trial {number} is held in the end" for number in held]


@dataclass
class _Trial:
    run: str
    host: str
    epoch: int = 0
    is_held: bool = True


@dataclass
class _Judge:
    """What was told so far."""

    grace_seconds: float
    trials: dict[int, _Trial] = field(default_factory=dict)
    runs_with_result: set[str] = field(default_factory=set)
    losses: dict[tuple[str, int], float | None] = field(default_factory=dict)

    def problems_of(self, each: Operation) -> Iterator[str]:
        """What is wrong with the next operation."""
        if each.kind == "claim":
            yield from self._of_claim(each)
            return
        trial = self.trials.get(each.trial)
        if trial is None or not trial.is_held:
            yield "it is not held"
            return
        if each.kind == "report":
            yield from self._of_report(each, trial)
        else:
            yield from self._of_end(each, trial)
        if each.kind != "fail" and each.host != trial.host:
            yield f"it is held by {trial.host}"

    def _of_claim(self, claim: Operation) -> Iterator[str]:
        if claim.trial in self.trials:
            yield "it was claimed before"
        for number, trial in self.trials.items():
            if trial.run == claim.run and trial.is_held:
                yield f"its run is held by trial {number}"
        if claim.run in self.runs_with_result:
            yield "its run has a result"
        self.trials[claim.trial] = _Trial(claim.run, claim.host)

    def _of_report(self, report: Operation, trial: _Trial) -> Iterator[str]:
        assert report.epoch is not None, "a report is of an epoch"
        if report.epoch <= trial.epoch:
            yield f"epoch {report.epoch} after epoch {trial.epoch}"
        trial.epoch = report.epoch
        known = self.losses.setdefault((trial.run, report.epoch), report.loss)
        if known != report.loss:
            yield f"epoch {report.epoch} had the loss {known}, now {report.loss}"

    def _of_end(self, end: Operation, trial: _Trial) -> Iterator[str]:
        trial.is_held = False
        if end.kind == "complete":
            if trial.run in self.runs_with_result:
                yield "its run has a result already"
            self.runs_with_result.add(trial.run)
        elif (
            end.kind == "fail"
            and end.host != trial.host
            and (end.silence or 0) < self.grace_seconds
        ):
            yield f"its holder was silent for {end.silence} s only"
