"""What the user sees while a search runs: a live display, or plain lines."""

import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sequifier_hpo.cli.visible_output import drawing_stream
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.records import BatchReport, EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.strategy import Budget
from sequifier_hpo.words import counted, duration, run_numbers, visible

_LINE_SECONDS = 30.0  # between progress lines when nothing else happens


@dataclass
class _Row:
    """What is known of a running trial."""

    title: str
    epochs: int
    epoch: int = 0
    fraction: float = 0.0
    loss: float | None = None
    best_loss: float | None = None
    tokens_per_second: float = 0.0
    note: str = ""


@dataclass
class SearchProgress:
    """Everything both displays show, kept up to date by the coordinator's calls."""

    num_runs: int
    num_done: int
    """Runs that had ended before, and that did since."""
    best_loss: float | None
    best_run: str | None
    rows: dict[int, _Row] = field(default_factory=dict)
    """Run number -> state."""
    run_seconds: list[float] = field(default_factory=list)
    num_failed: int = 0
    num_pruned: int = 0
    epochs_saved: int = 0
    """By stopping runs, less those that were given their full length after all."""
    names_best: bool = True
    """Whether the display says which run is the best so far."""
    num_parallel: int = 1
    """Most trials that ran at the same time."""
    is_stopping: bool = False
    budget: Budget | None = None
    """What ends the search before its last run."""
    epochs_trained: int = 0
    """By all runs of the study, as far as they are known."""
    waits_for: Sequence[int] = ()
    """Runs that must end before the next one can be proposed."""
    started: float = field(default_factory=time.monotonic)

    def start(self, run: ActiveRun) -> None:
        """An attempt begins."""
        self.waits_for = ()
        self.rows[run.claim.run_number] = _Row(
            title=run.claim.title, epochs=run.config.training_spec.epochs
        )
        self.num_parallel = max(self.num_parallel, len(self.rows))

    def resume(self, run: ActiveRun, losses: Mapping[int, float]) -> None:
        """An attempt goes on after these epochs."""
        row = self.rows[run.claim.run_number]
        row.epoch = max(losses)
        row.fraction = row.epoch / row.epochs
        row.loss, row.best_loss = losses[row.epoch], min(losses.values())

    def epoch(self, run: ActiveRun, report: EpochReport) -> None:
        """An epoch ended."""
        row = self.rows[run.claim.run_number]
        row.epoch, row.fraction = report.epoch, report.epoch / row.epochs
        row.loss, row.tokens_per_second = report.validation_loss, report.tokens_per_second
        self.epochs_trained += 1
        if report.is_best:
            row.best_loss = report.validation_loss

    def batch(self, run: ActiveRun, report: BatchReport) -> None:
        """Some batches are done."""
        row = self.rows[run.claim.run_number]
        inside = report.batch / max(1, report.num_batches)
        row.fraction = (report.epoch - 1 + inside) / row.epochs
        row.tokens_per_second = report.tokens_per_second

    def prune(self, run: ActiveRun, rung: int) -> None:
        """A run was stopped at a rung."""
        self.rows.pop(run.claim.run_number, None)
        self.num_done += 1
        self.num_pruned += 1
        self.epochs_saved += run.config.training_spec.epochs - rung

    def finish(self, run: ActiveRun, loss: float | None, *, counts: bool) -> bool:
        """A run ended; returns whether it is the best so far."""
        self.rows.pop(run.claim.run_number, None)
        if counts and (rung := run.claim.stopped_at) is not None:
            counts = False  # it was counted when it was stopped
            self.num_pruned -= 1
            self.epochs_saved -= run.config.training_spec.epochs - rung
        self.num_done += counts
        if loss is None:
            self.num_failed += counts
            return False
        self.run_seconds.append(time.monotonic() - run.started)
        if self.names_best and (self.best_loss is None or loss < self.best_loss):
            self.best_loss, self.best_run = loss, run.claim.title
            return True
        return False

    def seconds_left(self) -> float | None:
        """Estimate from the runs that finished; None before the first."""
        if not self.run_seconds:
            return None
        per_run = sum(self.run_seconds) / len(self.run_seconds)
        left = self.num_runs - self.num_done - sum(row.fraction for row in self.rows.values())
        return max(0.0, left) * per_run / self.num_parallel


class LineView:
    """Plain lines, for logs and pipes."""

    def __init__(self, progress: SearchProgress, write_results: Callable[[], None]) -> None:
        self._progress = progress
        self._write_results = write_results
        self._last_line = time.monotonic()
        self._has_said_waiting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def trial_started(self, run: ActiveRun) -> None:
        """Say which run starts."""
        self._progress.start(run)
        again = " (continued)" if run.claim.is_continuation and run.attempt == 1 else ""
        if (rung := run.claim.stopped_at) is not None:
            again = f" again, to its full length: it was stopped after epoch {rung}"
        self._say(f"{run.claim.title}: started{again}")

    def trial_resumed(self, run: ActiveRun, losses: Mapping[int, float]) -> None:
        """Remember it for the next line."""
        if losses:
            self._progress.resume(run, losses)

    def trial_progressed(self, run: ActiveRun, report: BatchReport) -> None:
        """Remember it for the next line."""
        self._progress.batch(run, report)

    def epoch_ended(self, run: ActiveRun, report: EpochReport) -> None:
        """Remember it for the next line."""
        self._progress.epoch(run, report)

    def trial_completed(self, run: ActiveRun, result: TrainingResult) -> None:
        """Print the result of a run."""
        is_best = self._progress.finish(run, result.best_validation_loss, counts=True)
        self._say(
            f"{run.claim.title}: validation loss {result.best_validation_loss:.6g}"
            f" at epoch {result.best_epoch} of {result.last_epoch}, {duration(result.seconds, decimals=1)}"
            f"{', best so far' if is_best else ''}"
            f"  {_so_far(self._progress)}"
        )
        self._write_results()

    def trial_pruned(self, run: ActiveRun, rung: int, best_loss: float) -> None:
        """Say where a run was stopped."""
        self._progress.prune(run, rung)
        self._say(
            f"{run.claim.title}: stopped after epoch {rung} of "
            f"{run.config.training_spec.epochs}, validation loss {best_loss:.6g}"
            f"  {_so_far(self._progress)}"
        )
        self._write_results()

    def trial_failed(self, run: ActiveRun, result: TrainingResult) -> None:
        """Say why a run failed."""
        is_final = result.kind != OutcomeKind.INTERRUPTED
        self._progress.finish(run, None, counts=is_final)
        detail = f": {result.reason}" if result.reason else ""
        self._say(f"{run.claim.title}: {result.kind.value}{detail}")
        self._write_results()

    def trial_lost(self, run: ActiveRun) -> None:
        """Say that another coordinator continues the run."""
        self._progress.finish(run, None, counts=False)
        self._say(f"{run.claim.title}: taken over by another search process")

    def trial_retried(self, run: ActiveRun, why: str) -> None:
        """Say why an attempt is retried."""
        self._say(f"{run.claim.title}: {why}")

    def waiting(self, runs: Sequence[int], setting: str) -> None:
        """Say once what an idle worker waits for, and how to avoid it."""
        self._progress.waits_for = runs
        if not self._has_said_waiting:
            self._has_said_waiting = True
            hint = f" (a larger {setting} keeps more workers busy)" if setting else ""
            self._say(f"{_waiting(runs)}{hint}")

    def stopping(self, *, is_time_up: bool = False) -> None:
        """Say that the search is about to stop."""
        self._progress.is_stopping = True
        why = ": its time budget is spent" if is_time_up else ""
        self._say(
            f"stopping{why}: running trials are writing checkpoints; signal again to stop immediately"
        )

    def storage_lost(self, reason: str) -> None:
        """Say that nothing is lost yet."""
        self._say(f"{reason}; training continues, and results are kept until it is back")

    def storage_returned(self, seconds: float) -> None:
        """Say that the storage is back."""
        self._say(f"the storage is back after {duration(seconds)}")

    def ticked(self) -> None:
        """Print progress from time to time."""
        if time.monotonic() - self._last_line < _LINE_SECONDS:
            return
        for _, row in sorted(self._progress.rows.items()):
            loss = f", validation loss {row.loss:.6g}" if row.loss is not None else ""
            speed = f", {row.tokens_per_second:,.0f} tokens/s" if row.tokens_per_second else ""
            self._say(f"{row.title}: epoch {row.epoch}/{row.epochs}{loss}{speed}")

    def _say(self, text: str) -> None:
        self._last_line = time.monotonic()
        print(visible(text), file=sys.stderr, flush=True)


class LiveView(LineView):
    """A terminal: overall progress, and one line per running trial, redrawn in place."""

    def __init__(
        self,
        progress: SearchProgress,
        write_results: Callable[[], None],
        title: str,
        console: Console,
    ) -> None:
        super().__init__(progress, write_results)
        self._live = Live(
            console=console,
            get_renderable=lambda: drawing(progress, title),
            refresh_per_second=4,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def trial_started(self, run: ActiveRun) -> None:
        """Add a line for the run."""
        self._progress.start(run)

    def ticked(self) -> None:
        """The display redraws itself."""

    def _say(self, text: str) -> None:
        self._live.console.print(Text(visible(text), style="dim"))


def drawing(progress: SearchProgress, title: str) -> Group:
    """Overall progress, and one line per running trial."""
    best = "no result yet" if progress.names_best else ""
    if progress.best_loss is not None:
        best = visible(f"best {progress.best_loss:.6g} ({progress.best_run})")
    others = f"  {progress.num_failed} failed" if progress.num_failed else ""
    if progress.num_pruned:
        saved = counted(progress.epochs_saved, "epoch")
        others += f"  {progress.num_pruned} stopped early, {saved} saved"
    waiting = f"  {_waiting(progress.waits_for)}" if progress.waits_for else ""
    state = "  stopping" if progress.is_stopping else waiting
    head = Text.assemble(
        (visible(title), "bold"),
        f"  {progress.num_done} of {progress.num_runs} runs{others}  ",
        (best, "green"),
        f"  {duration(time.monotonic() - progress.started)}{_left(progress)}{_budget(progress)}{state}",
    )
    done = progress.num_done + sum(row.fraction for row in progress.rows.values())
    table = Table.grid(padding=(0, 2))
    for _, row in sorted(progress.rows.items()):
        loss = f"loss {row.loss:.6g}" if row.loss is not None else "starting"
        best_here = f"best {row.best_loss:.6g}" if row.best_loss is not None else ""
        speed = f"{row.tokens_per_second:,.0f} tokens/s" if row.tokens_per_second else ""
        bar = ProgressBar(total=1.0, completed=row.fraction, width=16)
        cells = (
            Text(visible(row.title)),
            f"epoch {row.epoch}/{row.epochs}",
            bar,
            loss,
            best_here,
        )
        table.add_row(*cells, speed)
    overall = Table.grid()  # a bar alone would not end its line
    overall.add_row(ProgressBar(total=max(1, progress.num_runs), completed=done, width=60))
    return Group(head, overall, table)


def make_view(
    progress: SearchProgress, write_results: Callable[[], None], title: str
) -> "LineView | LiveView":
    """A live display on a terminal, plain lines elsewhere."""
    console = Console(file=drawing_stream(sys.stderr))
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(progress, write_results, title, console)
    return LineView(progress, write_results)


def _waiting(runs: Sequence[int]) -> str:
    return f"waiting for {run_numbers(runs)} to end before the next is chosen"


def _so_far(progress: SearchProgress) -> str:
    return f"[{progress.num_done}/{progress.num_runs}{_left(progress)}{_budget(progress)}]"


def _left(progress: SearchProgress) -> str:
    seconds = progress.seconds_left()
    return f", about {duration(seconds)} left" if seconds else ""


def _budget(progress: SearchProgress) -> str:
    if progress.budget is None:
        return ""
    seconds, epochs = progress.budget.seconds_left(), progress.budget.epochs
    time_left = f", {duration(max(0.0, seconds))} of its time" if seconds < math.inf else ""
    trained = f"{progress.epochs_trained:,} of {epochs:,} epochs"
    return f"{time_left}, {trained}" if epochs < math.inf else time_left
