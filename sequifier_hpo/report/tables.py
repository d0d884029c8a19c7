"""Runs as records for programs: complete, in full precision, the same in CSV and in JSON."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sequifier_hpo.config.paths import run_name
from sequifier_hpo.records import Run, RunFigures, Stored
from sequifier_hpo.report.leaderboard import leaderboard, value_of
from sequifier_hpo.words import visible

FIGURES = (
    "best_epoch",
    "epochs_run",
    "seconds",
    "tokens_per_second",
    "num_parameters",
    "effective_batch_size",
    "oom_retries",
    "peak_memory_mib",
)
"""The measurements that have a place among the first columns."""
_MORE_FIGURES = (
    "effective_accumulation_steps",
    "validation_loss_all_positions",
    "oom_foreseen",
    "milliseconds_per_event",
)
_NO_FIGURES = RunFigures()
_NOT_SHOWN = frozenset(
    {
        "owner",
        "reason",
        "duplicate_of",
        "run",
        "stopped_at",
        "milliseconds_per_event",
        "measured_on",
    }
)


def model_name(study_name: str, run: Run) -> str:
    """Name of a run's model and files; a duplicate cell has that of the run whose result it took."""
    return run_name(study_name, run.number if run.duplicate_of is None else run.duplicate_of)


def run_records(
    study_name: str, runs: Sequence[Run], only: Sequence[Run] | None = None
) -> list[dict[str, Any]]:
    """Runs as flat records, best first, then those that are not ranked.

    Args:
        study_name: The name of their study.
        runs: All runs of the study: they decide which columns there are, and the ranks.
        only: Those that are wanted; None = all.

    Returns:
        Column -> value that JSON has, in the order of results.csv.
    """
    ranked = leaderboard(runs)
    ranks = {run.number: rank for rank, run in enumerate(ranked, start=1)}
    others = [run for run in runs if run.number not in ranks]
    parameters = list(dict.fromkeys(name for run in runs for name in run.labels))
    varied = varied_fields(runs)
    wanted = None if only is None else {run.number for run in only}
    return [
        _record(study_name, run, ranks.get(run.number), parameters, varied)
        for run in [*ranked, *others]
        if wanted is None or run.number in wanted
    ]


def detailed_records(
    study_name: str, runs: Sequence[Run], only: Sequence[Run] | None = None
) -> list[dict[str, Any]]:
    """The same with loss curves, and everything else stored about the runs."""
    by_number = {run.number: run for run in runs}
    return [
        _detailed(record, by_number[record["run"]])
        for record in run_records(study_name, runs, only)
    ]


def results_csv(study_name: str, runs: Sequence[Run], only: Sequence[Run] | None = None) -> str:
    """The study as a table: best first, then unranked runs; numbers in full precision."""
    records = run_records(study_name, runs, only)
    columns = _record(study_name, None, None, [], []) if not records else records[0]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(csv_cell, columns))
    writer.writerows([csv_cell(value) for value in record.values()] for record in records)
    return text.getvalue()


def _record(
    study_name: str,
    run: Run | None,
    rank: int | None,
    parameters: Sequence[str],
    varied: Sequence[str],
) -> dict[str, Any]:
    """One row; of None the columns alone."""
    figures = vars(run.figures if run else _NO_FIGURES)
    values = run.values if run else {}
    labels = run.labels if run else {}
    return {
        "rank": rank,
        "run": run and run.number,
        "state": run and run.state.value,
        "validation_loss": run and finite(run.validation_loss),
        **{name: finite(figures[name]) for name in FIGURES},
        **{
            name: values[name] if name in values else _cell(labels.get(name, ""))
            for name in parameters
        },
        "duplicate_of": run and run.duplicate_of,
        "reason": run and run.reason,
        "model_name": run and model_name(study_name, run),
        "of_other_data": run and run.is_of_other_data,
        "stopped_at": run and run.stopped_at,
        "best_loss": run and finite(run.best_loss),
        **{name: finite(figures[name]) for name in _MORE_FIGURES},
        "measured_on": figures["measured_on"],
        "outside_space": run and run.is_outside,
        **{name: values.get(name) for name in varied if name not in parameters},
    }


def _detailed(record: Mapping[str, Any], run: Run) -> dict[str, Any]:
    return {
        **record,
        "parameters": {name: _cell(label) for name, label in run.labels.items()},
        "point": run.point,
        "validation_loss_by_epoch": {
            str(epoch): finite(loss) for epoch, loss in sorted(run.losses.items())
        },
        "attributes": shown_attributes(run),
        "explanation": run.figures.explanation,
        "started": run.started.isoformat() if run.started else None,
        "ended": run.ended.isoformat() if run.ended else None,
        "num_attempts": run.num_trials,
        "host": run.host,
        "folder": run.folder,
    }


def _cell(label: Stored) -> Stored:
    """The readable part of a label; a number as it is."""
    return value_of(label) if isinstance(label, str) else label


def varied_fields(runs: Sequence[Run]) -> list[str]:
    """Fields whose values differ between runs, those of recipes one by one.

    They are called as in the search file, an argument of a recipe `optimizer.weight_decay`.
    """
    seen: dict[str, set[tuple[type, Any]]] = {}
    counts: dict[str, int] = {}
    for run in runs:
        for field, value in run.values.items():
            seen.setdefault(field, set()).add((type(value), value))
            counts[field] = counts.get(field, 0) + 1
    return [field for field in seen if len(seen[field]) > 1 or counts[field] < len(runs)]


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


def csv_cell(value: Any) -> str:
    """A value in a table of text; numbers keep all their digits.

    A text that a spreadsheet would calculate gets an apostrophe in front, which shows it as text.
    """
    if value is None or value is False:
        return ""
    if value is True:
        return "true"
    if not isinstance(value, str):
        return repr(value) if isinstance(value, float) else str(value)
    is_formula = value.lstrip().startswith(("=", "+", "-", "@")) and not _is_number(value)
    return visible(f"'{value}" if is_formula else value)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
