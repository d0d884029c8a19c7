"""The leaderboard: the runs of a study in the order of their validation loss."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sequifier_hpo.records import Run, RunState

_ATTRIBUTES = (
    "best_epoch",
    "epochs_run",
    "seconds",
    "tokens_per_second",
    "num_parameters",
    "effective_batch_size",
    "oom_retries",
    "peak_memory_mib",
)
ALL_POSITIONS = "validation_loss_all_positions"
"""Attribute of a run whose validation loss counts a part of its positions: that over all."""


@dataclass(frozen=True)
class Progress:
    """How far a study has come."""

    num_runs: int
    """Runs that the study is to have, or has: `n_samples` may have been lowered since."""
    num_complete: int
    num_failed: int
    num_running: int
    num_interrupted: int
    num_duplicates: int
    best: Run | None

    @property
    def is_over(self) -> bool:
        """Whether every run has ended, well or not."""
        return self.num_complete + self.num_failed >= self.num_runs


def progress(runs: Sequence[Run], num_runs: int) -> Progress:
    """Count the runs of a study; duplicates of grid cells are counted apart."""
    own = [run for run in runs if run.duplicate_of is None]

    def count(state: RunState) -> int:
        return sum(run.state == state for run in own)

    ranked = leaderboard(own)
    num_complete, num_failed = count(RunState.COMPLETE), count(RunState.FAILED)
    return Progress(
        num_runs=max(num_runs, num_complete + num_failed),
        num_complete=num_complete,
        num_failed=num_failed,
        num_running=count(RunState.RUNNING),
        num_interrupted=count(RunState.INTERRUPTED),
        num_duplicates=len(runs) - len(own),
        best=ranked[0] if ranked else None,
    )


def leaderboard(runs: Iterable[Run]) -> list[Run]:
    """Complete runs, the smallest validation loss first; the earlier run wins a tie."""
    complete = [run for run in runs if run.validation_loss is not None]
    return sorted(complete, key=lambda run: (run.validation_loss, run.number))


def count_a_part(runs: Iterable[Run]) -> bool:
    """Whether there are losses that count a part of their run's positions."""
    return any(run.attributes.get(ALL_POSITIONS) is not None for run in runs)


def value_of(label: str) -> str:
    """The readable part of a label: what follows its index."""
    return label.partition(": ")[2]


def shortened(text: str, limit: int) -> str:
    """A text of at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def results_csv(study_name: str, runs: Sequence[Run]) -> str:
    """The study as a table: best first, then what is not complete; numbers in full precision."""
    ranked = leaderboard(runs)
    others = [run for run in runs if run.validation_loss is None]
    parameters = list(dict.fromkeys(name for run in runs for name in run.labels))
    beside = [ALL_POSITIONS] if count_a_part(runs) else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "rank",
            "run",
            "state",
            "validation_loss",
            *_ATTRIBUTES,
            *parameters,
            "duplicate_of",
            "reason",
            "model_name",
            *beside,
        ]
    )
    for position, run in enumerate([*ranked, *others], start=1):
        own = run.number if run.duplicate_of is None else run.duplicate_of
        writer.writerow(
            [
                position if run.validation_loss is not None else "",
                run.number,
                run.state.value,
                _text(run.validation_loss),
                *(_text(run.attributes.get(name)) for name in _ATTRIBUTES),
                *(value_of(run.labels.get(name, "")) for name in parameters),
                _text(run.duplicate_of),
                run.reason,
                f"{study_name}-run-{own}",
                *(_text(run.attributes.get(name)) for name in beside),
            ]
        )
    return text.getvalue()


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return str(value)
