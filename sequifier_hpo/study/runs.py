"""The runs of a study, read off its trials.

A run is one distinct effective configuration; its trials are the attempts at it. The first trial
gives the run its number, a later one continues it after an interruption.
"""

from collections.abc import Iterable

from optuna.trial import FrozenTrial, TrialState

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.study.samplers import RANK

RUN = "sequifier_hpo:run"
"""System attribute: number of the run's first trial, on the trials that continue it."""
DUPLICATE_OF = "duplicate_of"
"""User attribute: number of the run whose result a duplicate grid cell took."""
REASON = "reason"
"""User attribute: why a trial failed."""
OWNER = "owner"
"""User attribute: the coordinator that runs the trial, as JSON."""
MAX_LOST_ATTEMPTS = 3
"""A run that took its machine down this often is not tried again."""


RESUMABLE_REASONS = frozenset({"interrupted", "lost"})


class RunIndex:
    """Trials sorted by run; fed with the trials that may have changed."""

    def __init__(self) -> None:
        self._trials_by_rank: dict[int, list[FrozenTrial]] = {}
        self._position: dict[int, tuple[int, int]] = {}
        self._unfinished: set[int] = set()
        self.duplicates: dict[int, list[FrozenTrial]] = {}

    def update(self, trials: Iterable[FrozenTrial]) -> None:
        """Take in new trials, and the newest state of those seen unfinished before."""
        for trial in trials:
            if trial.number in self._position and trial.number not in self._unfinished:
                continue
            rank = trial.system_attrs.get(RANK)
            if rank is None:
                continue  # not ours: enqueued by hand
            if DUPLICATE_OF in trial.user_attrs:
                self.duplicates.setdefault(rank, []).append(trial)
                self._position[trial.number] = (rank, -1)
                continue
            attempts = self._trials_by_rank.setdefault(rank, [])
            if trial.number in self._position:
                attempts[self._position[trial.number][1]] = trial
            else:
                self._position[trial.number] = (rank, len(attempts))
                attempts.append(trial)
            if trial.state.is_finished():
                self._unfinished.discard(trial.number)
            else:
                self._unfinished.add(trial.number)

    @property
    def ranks(self) -> Iterable[int]:
        """Ranks that have a trial."""
        return self._trials_by_rank.keys()

    @property
    def next_rank(self) -> int:
        """The first rank that was never handed out."""
        return max(self._trials_by_rank, default=-1) + 1

    def attempts(self, rank: int) -> list[FrozenTrial]:
        """Trials of a run, oldest first."""
        return self._trials_by_rank[rank]

    def running(self) -> list[FrozenTrial]:
        """Trials that are not finished."""
        found = []
        for number in sorted(self._unfinished):
            rank, position = self._position[number]
            found.append(self._trials_by_rank[rank][position])
        return found

    def state(self, rank: int) -> RunState:
        """Where the run of a rank stands."""
        return state_of(self._trials_by_rank[rank])

    def runs(self) -> list[Run]:
        """All runs and duplicates, by number."""
        found = [_run(attempts) for attempts in self._trials_by_rank.values()]
        found += [_run([trial]) for trials in self.duplicates.values() for trial in trials]
        return sorted(found, key=lambda run: run.number)


def run_number(trial: FrozenTrial) -> int:
    """Number of the run a trial belongs to."""
    return int(trial.system_attrs.get(RUN, trial.number))


def state_of(attempts: list[FrozenTrial]) -> RunState:
    """Where the run with these trials stands."""
    newest = attempts[-1]
    if newest.state == TrialState.COMPLETE:
        return RunState.COMPLETE
    if not newest.state.is_finished():
        return RunState.RUNNING
    reason = newest.user_attrs.get(REASON)
    num_lost = sum(trial.user_attrs.get(REASON) == "lost" for trial in attempts)
    if reason in RESUMABLE_REASONS and num_lost < MAX_LOST_ATTEMPTS:
        return RunState.INTERRUPTED
    return RunState.FAILED


def _run(attempts: list[FrozenTrial]) -> Run:
    newest = attempts[-1]
    losses: dict[int, float] = {}
    for trial in attempts:
        losses.update(trial.intermediate_values)
    return Run(
        number=run_number(newest),
        trial_number=newest.number,
        state=state_of(attempts),
        validation_loss=newest.value if newest.state == TrialState.COMPLETE else None,
        labels=newest.params,
        losses=losses,
        attributes=newest.user_attrs,
        reason=str(newest.user_attrs.get(REASON, "")),
        duplicate_of=newest.user_attrs.get(DUPLICATE_OF),
        started=attempts[0].datetime_start,
        ended=newest.datetime_complete,
        num_attempts=len(attempts),
    )
