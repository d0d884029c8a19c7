"""What `evaluate` found of a study's runs, as a section of the report."""

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, ValidationError

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.config.paths import evaluation_name
from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.plain_files import read_json
from sequifier_hpo.report.page_frame import figures_table

_MOST_FILES = 50


class _Kept(FrozenModel):
    model_config = ConfigDict(extra="ignore")


class Bin(_Kept):
    """Events whose most probable class was about as probable."""

    mean_probability: float
    accuracy: float
    num_events: int


class Calibration(_Kept):
    """How often what was predicted came true."""

    error: float
    bins: list[Bin]


class Confusion(_Kept):
    """Rows: what came; columns: what was predicted."""

    labels: list[str]
    counts: list[list[int]]


class Errors(_Kept):
    """Of a number, in its own unit."""

    mae: float
    rmse: float
    r2: float | None


class Figures(_Kept):
    """Of a target; those of classes or those of numbers are None."""

    loss: float
    baselines: dict[str, float]
    accuracy: float | None = None
    accuracy_of_last_value: float | None = None
    accuracy_of_most_frequent: float | None = None
    top_k_accuracy: dict[str, float] = Field(default={})
    macro_f1: float | None = None
    calibration: Calibration | None = None
    confusion: Confusion | None = None
    mae: float | None = None
    rmse: float | None = None
    r2: float | None = None
    trivial: dict[str, Errors] = Field(default={})


class KeptEvaluation(_Kept):
    """A file of the folder `evaluations`."""

    study_id: str | None
    run: int
    split: str
    data: str
    num_events: int
    last_positions: int | None = None
    """So many at the end of every window counted; None = those of the study when it was written."""
    loss: float
    baselines: dict[str, float]
    targets: dict[str, Figures]


def keep_evaluation(study_folder: Path, found: Mapping[str, Any]) -> Path:
    """Keep what was found of a run on a split for the report; returns the file.

    Raises:
        EnvironmentFaultError: If it cannot be written.
    """
    path = study_folder / evaluation_name(found["run"], found["split"])
    write_atomically(path, json.dumps(found, indent=2) + "\n")
    return path


def read_evaluations(
    study_folder: Path, study_id: str | None, recounted_to: int | None = None
) -> list[KeptEvaluation]:
    """What is kept of a study's runs; what cannot be read, or is another study's, is left out.

    Args:
        study_folder: Of the study.
        study_id: Its unique id; None in studies of 0.1.0.
        recounted_to: How many positions its losses count, if there were more of them once: others
            are left out as well.
    """
    found = []
    for path in sorted((study_folder / "evaluations").glob("*.json"))[:_MOST_FILES]:
        with suppress(OSError, ValueError, ValidationError):
            kept = KeptEvaluation.model_validate(read_json(path))
            is_comparable = recounted_to in {None, kept.last_positions}
            if kept.study_id == study_id and is_comparable:
                found.append(kept)
    return sorted(found, key=lambda kept: (kept.run, kept.split))


def evaluations_section(evaluations: Sequence[KeptEvaluation]) -> str:
    """The section of the page; empty without evaluations."""
    if not evaluations:
        return ""
    parts = "".join(part for kept in evaluations for part in _parts(kept))
    return f"<section><h2>What runs are worth</h2>{parts}</section>"


def _parts(kept: KeptEvaluation) -> Iterator[str]:
    yield (
        f"<h3>Run {kept.run} on the {html.escape(kept.split)} split</h3>"
        f'<p class="note">{html.escape(kept.data)}, {kept.num_events:,} events</p>'
    )
    trivial = [(f"trivial: {name}", f"{loss:.6g}") for name, loss in kept.baselines.items()]
    yield figures_table([("loss", f"{kept.loss:.6g}"), *trivial])
    for target, figures in kept.targets.items():
        yield f"<h4>{html.escape(target)}</h4>"
        if len(kept.targets) > 1:
            others = [(f"trivial: {n}", f"{loss:.6g}") for n, loss in figures.baselines.items()]
            yield figures_table([("loss", f"{figures.loss:.6g}"), *others])
        yield from _of_classes(figures)
        yield from _of_numbers(figures)


def _of_classes(figures: Figures) -> Iterator[str]:
    shares = {
        "accuracy": figures.accuracy,
        "always the most frequent": figures.accuracy_of_most_frequent,
        "the last value again": figures.accuracy_of_last_value,
        **{f"among the first {k}": share for k, share in figures.top_k_accuracy.items()},
    }
    rows = [(name, f"{share:.1%}") for name, share in shares.items() if share is not None]
    if figures.macro_f1 is not None:
        rows.append(("macro F1", f"{figures.macro_f1:.3f}"))
    if figures.calibration is not None:
        rows.append(("calibration error", f"{figures.calibration.error:.3f}"))
    if rows:
        yield figures_table(rows)
    if figures.calibration is not None:
        bins = [
            (f"{b.mean_probability:.1%}", f"{b.accuracy:.1%}", f"{b.num_events:,}")
            for b in figures.calibration.bins
        ]
        yield figures_table(bins, ("predicted with", "came true", "events"))
    if figures.confusion is not None:
        labels = figures.confusion.labels
        counts = zip(labels, figures.confusion.counts, strict=False)
        cells = [(label, *(f"{number:,}" for number in row)) for label, row in counts]
        yield figures_table(cells, ("came ↓ predicted →", *labels))


def _of_numbers(figures: Figures) -> Iterator[str]:
    if figures.mae is None or figures.rmse is None:
        return
    own = Errors(mae=figures.mae, rmse=figures.rmse, r2=figures.r2)
    rows = [
        (name, f"{e.mae:.4g}", f"{e.rmse:.4g}", "-" if e.r2 is None else f"{e.r2:.3f}")
        for name, e in (("model", own), *figures.trivial.items())
    ]
    yield figures_table(rows, ("in its own units", "MAE", "RMSE", "R²"))
