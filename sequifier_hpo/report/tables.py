"""Runs as records for programs: everything, in full precision."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sequifier_hpo.config.paths import run_name
from sequifier_hpo.records import Run
from sequifier_hpo.report.leaderboard import leaderboard, value_of

_NOT_SHOWN = frozenset({"owner", "reason", "duplicate_of", "run"})


def run_record(study_name: str, run: Run) -> dict[str, Any]:
    """One run as JSON values; numbers that JSON does not have become null."""
    own = run.number if run.duplicate_of is None else run.duplicate_of
    return {
        "run": run.number,
        "model_name": run_name(study_name, own),
        "state": run.state.value,
        "validation_loss": finite(run.validation_loss),
        "parameters": {name: value_of(label) for name, label in run.labels.items()},
        "validation_loss_by_epoch": {
            str(epoch): finite(loss) for epoch, loss in sorted(run.losses.items())
        },
        "attributes": shown_attributes(run),
        "reason": run.reason,
        "duplicate_of": run.duplicate_of,
        "started": run.started.isoformat() if run.started else None,
        "ended": run.ended.isoformat() if run.ended else None,
        "num_attempts": run.num_attempts,
    }


def run_records(study_name: str, runs: Sequence[Run]) -> list[dict[str, Any]]:
    """All runs, best first, then those that are not complete."""
    others = [run for run in runs if run.validation_loss is None]
    return [run_record(study_name, run) for run in [*leaderboard(runs), *others]]


def shown_attributes(run: Run) -> Mapping[str, Any]:
    """What was measured about a run, without our own bookkeeping."""
    return {
        name: finite(value) if isinstance(value, float) else value
        for name, value in run.attributes.items()
        if name not in _NOT_SHOWN
    }


def finite(value: float | None) -> float | None:
    """The number, or None where JSON has none."""
    return value if value is not None and math.isfinite(value) else None
