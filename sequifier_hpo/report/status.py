"""The state of a study at one moment, gathered for `status`."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from statistics import mean

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.records import Baseline, Run, RunState
from sequifier_hpo.report.leaderboard import Progress, leaderboard, progress
from sequifier_hpo.report.study_reader import StudyReader
from sequifier_hpo.study import StudySnapshot


@dataclass(frozen=True)
class StudyStatus:
    """What `status` shows."""

    source: StudySource
    strategy: str
    read_at: datetime
    progress: Progress
    runs: Sequence[Run]
    """All of them, by number."""
    ranked: list[Run]
    """Complete runs, best first."""
    running: list[Run]
    failed: list[Run]
    baselines: tuple[Baseline, ...]
    stopped_by: str
    """The budget that left runs when its last search ended; "" = none, or it goes on."""
    seconds_left: float | None
    """Estimate; None if nothing runs, or no run has ended with a loss yet."""

    @property
    def is_over(self) -> bool:
        """Whether nothing runs and nothing is left that a running search would take up."""
        done = self.progress
        if not done.num_runs:
            return False  # the search is about to say how many there are
        return not done.num_running and (
            done.num_ended + done.num_interrupted >= done.num_runs
            or done.num_interrupted > 0
            or bool(self.stopped_by)
        )


@contextmanager
def status_reader(source: StudySource) -> Iterator[Callable[[], StudyStatus]]:
    """A function that reads a study's state again and again; errors as those of `StudyReader`."""
    with StudyReader(source) as reader:
        yield lambda: _status_of(source, reader.read())


def _status_of(source: StudySource, snapshot: StudySnapshot) -> StudyStatus:
    own = [run for run in snapshot.runs if run.duplicate_of is None]
    done = progress(snapshot.runs, snapshot.num_runs)
    return StudyStatus(
        source=source,
        strategy=snapshot.strategy,
        read_at=snapshot.read_at,
        progress=done,
        runs=snapshot.runs,
        ranked=leaderboard(snapshot.runs),
        running=[run for run in own if run.state == RunState.RUNNING],
        failed=[run for run in own if run.state == RunState.FAILED],
        baselines=snapshot.baselines,
        stopped_by="" if done.num_running else snapshot.stopped_by,
        seconds_left=_seconds_left(own, done),
    )


def _seconds_left(own: list[Run], done: Progress) -> float | None:
    seconds = [
        run.figures.seconds
        for run in own
        if run.loss is not None and run.figures.seconds is not None
    ]
    if not seconds or not done.num_running:
        return None
    to_come = done.num_runs - done.num_ended - done.num_running
    return (max(0, to_come) + done.num_running / 2) * mean(seconds) / done.num_running
