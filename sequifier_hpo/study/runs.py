"""The runs of a study, read off its trials.

A run is one distinct effective configuration; its trials are the attempts at it. The first trial
gives the run its number, a later one continues it after an interruption.
"""

from collections.abc import Collection

from optuna.trial import TrialState

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.study.attempts import Attempt
from sequifier_hpo.study.samplers import RANK

RUN = "sequifier_hpo:run"
"""System attribute: number of the run's first trial, on the trials that continue it."""
DUPLICATE_OF = "duplicate_of"
"""User attribute: number of the run whose result a duplicate grid cell took."""
REASON = "reason"
"""User attribute: why a trial failed."""
OWNER = "sequifier_hpo:owner"
"""System attribute: the coordinator that runs the trial, as JSON."""
_OWNER_BEFORE = "owner"
"""The user attribute that it was once, and its name among the attributes of a run."""
MAX_LOST_ATTEMPTS = 5
"""A run whose coordinator died this often before an epoch of it ended is not tried again: it may be
what takes the machine down."""


RESUMABLE_REASONS = frozenset({"interrupted", "lost"})


class RunIndex:
    """Trials sorted by run. Everything asked while a search runs costs the same at any size."""

    def __init__(self) -> None:
        self._attempts: dict[int, list[Attempt]] = {}
        self._ranks: dict[RunState, set[int]] = {state: set() for state in RunState}
        self._state: dict[int, RunState] = {}
        self._runs: dict[int, Run] = {}
        self._outdated: set[int] = set()
        self.unfinished: dict[int, Attempt] = {}
        """Trials that are not finished, by id."""
        self.duplicates: dict[int, list[Attempt]] = {}
        """By rank, the grid cells that took the result of the rank's run."""
        self.next_rank = 0
        """The first rank that was never handed out."""

    def put(self, attempt: Attempt) -> None:
        """Take in a trial, new or changed."""
        rank = attempt.system_attrs.get(RANK)
        if rank is None:
            return  # not ours: enqueued by hand
        if DUPLICATE_OF in attempt.user_attrs:
            self.duplicates.setdefault(rank, []).append(attempt)
            self._runs[attempt.number] = _run([attempt])
            return
        attempts = self._attempts.setdefault(rank, [])
        for position, known in enumerate(attempts):
            if known.trial_id == attempt.trial_id:
                attempts[position] = attempt
                break
        else:
            attempts.append(attempt)
            attempts.sort(key=lambda a: a.number)
        if attempt.state.is_finished():
            self.unfinished.pop(attempt.trial_id, None)
        else:
            self.unfinished[attempt.trial_id] = attempt
        if rank in self._state:
            self._ranks[self._state[rank]].discard(rank)
        self._state[rank] = state_of(attempts)
        self._ranks[self._state[rank]].add(rank)
        self._outdated.add(rank)
        self.next_rank = max(self.next_rank, rank + 1)

    def attempts(self, rank: int) -> list[Attempt]:
        """Trials of a run, oldest first; none if the rank was never handed out."""
        return self._attempts.get(rank, [])

    def ranks(self, state: RunState) -> Collection[int]:
        """Ranks of the runs in a state."""
        return self._ranks[state]

    def runs(self) -> list[Run]:
        """All runs and duplicates, by number."""
        for rank in self._outdated:
            run = _run(self._attempts[rank])
            self._runs[run.number] = run
        self._outdated.clear()
        return [self._runs[number] for number in sorted(self._runs)]


def owner_text(attempt: Attempt) -> str | None:
    """The coordinator that runs a trial, as JSON; None if the trial is not ours."""
    owner = attempt.system_attrs.get(OWNER, attempt.user_attrs.get(_OWNER_BEFORE))
    return None if owner is None else str(owner)


def run_number(attempt: Attempt) -> int:
    """Number of the run a trial belongs to."""
    return int(attempt.system_attrs.get(RUN, attempt.number))


def state_of(attempts: list[Attempt]) -> RunState:
    """Where the run with these trials stands."""
    newest = attempts[-1]
    if newest.state == TrialState.COMPLETE:
        return RunState.COMPLETE
    if not newest.state.is_finished():
        return RunState.RUNNING
    reason = newest.user_attrs.get(REASON)
    num_lost = sum(a.user_attrs.get(REASON) == "lost" and not a.losses for a in attempts)
    if reason in RESUMABLE_REASONS and num_lost < MAX_LOST_ATTEMPTS:
        return RunState.INTERRUPTED
    return RunState.FAILED


def _run(attempts: list[Attempt]) -> Run:
    newest = attempts[-1]
    losses: dict[int, float] = {}
    for attempt in attempts:
        losses.update(attempt.losses)
    return Run(
        number=run_number(newest),
        trial_number=newest.number,
        state=state_of(attempts),
        validation_loss=newest.value if newest.state == TrialState.COMPLETE else None,
        labels=newest.params,
        losses=losses,
        attributes={**newest.user_attrs, _OWNER_BEFORE: owner_text(newest)},
        reason=str(newest.user_attrs.get(REASON, "")),
        duplicate_of=newest.user_attrs.get(DUPLICATE_OF),
        started=attempts[0].started,
        ended=newest.ended,
        num_attempts=len(attempts),
    )
