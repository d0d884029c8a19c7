"""The leaderboard: the runs of a study in the order of their validation loss."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sequifier_hpo.records import Run, RunState, Stored
from sequifier_hpo.searchspace import value_text
from sequifier_hpo.words import counted

MIN_RUNS_FOR_IMPORTANCE = 20
"""With fewer runs that have a loss, chance decides which parameters seem to matter."""


@dataclass(frozen=True)
class Progress:
    """Progress of a study."""

    num_runs: int
    """Runs planned for the study, or that it has: `n_samples` may have been lowered since."""
    num_complete: int
    num_failed: int
    num_running: int
    num_interrupted: int
    num_duplicates: int
    num_of_other_data: int
    """Trained on other data than the present; not part of the other numbers."""
    best: Run | None
    num_pruned: int = 0
    """Stopped early, and not given their full length since."""
    num_outside: int = 0
    """Outside the present space; not part of the other numbers."""

    @property
    def num_with_a_loss(self) -> int:
        """Runs that have ended with a loss: complete, or stopped early."""
        return self.num_complete + self.num_pruned

    @property
    def num_ended(self) -> int:
        """Runs that have ended, successfully or not."""
        return self.num_with_a_loss + self.num_failed

    @property
    def is_over(self) -> bool:
        """Whether every run has ended."""
        return self.num_ended >= self.num_runs

    @property
    def in_words(self) -> str:
        """The numbers in one line."""
        states = (
            (self.num_pruned, "stopped early"),
            (self.num_failed, "failed"),
            (self.num_running, "running"),
            (self.num_interrupted, "interrupted"),
        )
        parts = [f"{self.num_complete:,} of {counted(self.num_runs, 'run')} complete"]
        parts += [f"{number:,} {state}" for number, state in states if number]
        if self.num_duplicates:
            twins = counted(self.num_duplicates, "duplicate cell")
            parts.append(f"{twins} sharing another run's result")
        if self.num_of_other_data:
            parts.append(f"{self.num_of_other_data:,} more on earlier data, not ranked")
        if self.num_outside:
            parts.append(f"{self.num_outside:,} more outside the search space, not ranked")
        return ", ".join(parts)


def progress(runs: Sequence[Run], num_runs: int) -> Progress:
    """Count the runs of a study; duplicates of grid cells are counted apart."""
    present = [run for run in runs if run.is_current]
    own_of_all = [run for run in runs if run.duplicate_of is None]
    own = [run for run in present if run.duplicate_of is None]

    def count(state: RunState) -> int:
        return sum(run.state == state for run in own)

    ranked = leaderboard(own)
    num_complete, num_failed = count(RunState.COMPLETE), count(RunState.FAILED)
    num_pruned = count(RunState.PRUNED)
    return Progress(
        num_runs=max(num_runs, num_complete + num_pruned + num_failed),
        num_complete=num_complete,
        num_pruned=num_pruned,
        num_failed=num_failed,
        num_running=count(RunState.RUNNING),
        num_interrupted=count(RunState.INTERRUPTED),
        num_duplicates=len(present) - len(own),
        num_of_other_data=sum(run.is_of_other_data for run in own_of_all),
        num_outside=sum(not (run.is_current or run.is_of_other_data) for run in own_of_all),
        best=ranked[0] if ranked else None,
    )


def leaderboard(runs: Iterable[Run]) -> list[Run]:
    """Complete runs, the smallest validation loss first; the earlier run wins a tie.

    Runs on other data than the present are not ranked: their losses are not comparable. Nor are those
    outside the present space, which nobody wants any more.
    """
    complete = [run for run in runs if run.validation_loss is not None and run.is_current]
    return sorted(complete, key=lambda run: (run.validation_loss, run.number))


def top_runs(runs: Sequence[Run], count: int) -> list[Run]:
    """The best runs, without grid cells that share another run's result."""
    return leaderboard(run for run in runs if run.duplicate_of is None)[:count]


def count_a_part(runs: Iterable[Run]) -> bool:
    """Whether some losses count only part of their run's positions."""
    return any(run.figures.validation_loss_all_positions is not None for run in runs)


def varying_labels(runs: Iterable[Run]) -> list[str]:
    """Parameters with more than one value among some runs, in the order of the search file."""
    values: dict[str, set[Stored]] = {}
    for run in runs:
        for parameter, label in run.labels.items():
            values.setdefault(parameter, set()).add(label)
    return [name for name, labels in values.items() if len(labels) > 1]


def longer_line(run: Run) -> str:
    """What to do if a run was at its best when it ended; "" if it was not."""
    epoch = run.figures.best_epoch
    if epoch is None or epoch != run.figures.epochs_run:
        return ""
    return (
        f"the best epoch of run {run.number} is its last, {epoch}: train longer, it may get better"
    )


def anew_line(run: Run) -> str:
    """What a run had come to before its study counted fewer positions; "" if they are the same."""
    before = run.figures.as_trained
    if before is None or before.loss is None:
        return ""
    return (
        f"evaluated anew; {before.loss:.6g} over the last {before.last_positions} positions of a "
        "window when it was trained"
    )


def epochs_trained(runs: Iterable[Run]) -> int:
    """Of all runs together, as `epoch_budget` counts them."""
    return sum(run.epochs_trained for run in runs if run.duplicate_of is None)


def budget_line(stopped_by: str, done: Progress) -> str:
    """What the budget of this name has left to do, in words; "" = none has stopped the study."""
    if not stopped_by:
        return ""
    left = done.num_runs - done.num_ended
    what = counted(left, "run") if left else "the last round is"
    return f"stopped by its {stopped_by.replace('_', ' ')}: {what} left"


def value_of(label: Stored) -> str:
    """The readable part of a label: what follows its index; the number of a range."""
    return label.partition(": ")[2] if isinstance(label, str) else value_text(label)
