"""A run as a program sees it, and what can be done with its model."""

import json
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from sequifier_hpo.api.given import Table, as_file
from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.chosen_model import model_of_run
from sequifier_hpo.inference.evaluating import OutputFiles, evaluate, what_is_judged
from sequifier_hpo.inference.predicting import Request, predict_table
from sequifier_hpo.preprocessing.remarks import Remarks
from sequifier_hpo.records import Run, RunFigures, RunState, Stored
from sequifier_hpo.report.evaluations import keep_evaluation
from sequifier_hpo.report.leaderboard import value_of
from sequifier_hpo.report.run_files import train_file_of
from sequifier_hpo.report.tables import model_name


@dataclass(frozen=True)
class _Origin:
    """Where a run was read."""

    source: StudySource
    run: Run
    study_id: str | None


@dataclass(frozen=True)
class StudyRun:
    """A run of a study at the moment it was read."""

    number: int
    rank: int | None
    """From 1; None = it is not ranked: not complete, on other data, or outside the search space."""
    state: RunState
    """`complete`, `pruned`, `failed`, `interrupted` or `running`; it equals that text."""
    validation_loss: float | None
    """Of a complete run."""
    values: Mapping[str, Any]
    """Searched field -> value: numbers are numbers, lists text, arguments `optimizer.weight_decay`."""
    losses: Mapping[int, float] = field(repr=False)
    """Epoch, from 1 -> validation loss."""
    measured: RunFigures
    """`best_epoch`, `seconds`, `num_parameters` and others; None = not known."""
    model_name: str
    """What its files are called."""
    reason: str
    """Why it failed."""
    stopped_at: int | None
    """The epoch at which it was stopped early, also if it went on since."""
    duplicate_of: int | None
    """The run whose result this cell of a grid shares."""
    is_of_other_data: bool
    """Whether other data took the place of those it was trained on."""
    is_outside: bool
    """Whether the search space was changed since, and does not have it any more."""
    started: datetime | None
    ended: datetime | None
    _origin: _Origin = field(repr=False)

    @classmethod
    def of(
        cls, run: Run, rank: int | None, source: StudySource, study_id: str | None
    ) -> "StudyRun":
        """The run of a study that was read."""
        return cls(
            number=run.number,
            rank=rank,
            state=run.state,
            validation_loss=run.validation_loss,
            values=dict(run.values) or {name: _typed(text) for name, text in run.labels.items()},
            losses=dict(sorted(run.losses.items())),
            measured=run.figures,
            model_name=model_name(source.name, run),
            reason=run.figures.explanation or run.reason,
            stopped_at=run.stopped_at,
            duplicate_of=run.duplicate_of,
            is_of_other_data=run.is_of_other_data,
            is_outside=run.is_outside,
            started=run.started,
            ended=run.ended,
            _origin=_Origin(source, run, study_id),
        )

    @property
    def train_file(self) -> Path:
        """Its `train.yaml`.

        Raises:
            InputError: If it is not here.
        """
        origin = self._origin
        return train_file_of(origin.source, origin.run, origin.study_id)

    def evaluate(
        self,
        split: str | None = None,
        *,
        data: Table | None = None,
        events: str | Path | None = None,
        metadata: str | Path | None = None,
    ) -> dict[str, Any]:
        """Judge its model, as `sequifier-hpo evaluate` does; the report shows what is found.

        Args:
            split: `validation`, on which the search chose, or `test`; None = validation.
            data: A table of events to judge it on instead.
            events: A CSV file to write, with a row per event.
            metadata: The metadata of its data, for models of version 0.1.0.

        Returns:
            What `sequifier-hpo evaluate --json` prints: `loss`, `num_events`, `baselines`, and per
            target accuracy, calibration and others, or errors in the column's own units.

        Raises:
            InputError: If the model, the split or the table cannot be had.
        """
        outputs = OutputFiles(_path(events))
        source = self._origin.source
        with nullcontext() if data is None else as_file(data) as table:
            judged = what_is_judged(split, table)
            with model_of_run(source, self.number, _path(metadata), _warn) as chosen:
                found = evaluate(chosen, judged, outputs, _warn)
        if table is None:
            keep_evaluation(source.study_folder, found)
        return found

    def predict(
        self,
        data: Table,
        *,
        sequences: Sequence[int | str] | None = None,
        steps: int = 1,
        top_k: int = 1,
        allow_empty_history: bool = False,
        metadata: str | Path | None = None,
    ) -> pl.DataFrame:
        """Predict the next event of each sequence of a table, as `sequifier-hpo predict` does.

        Warns of values that the model was not trained with, and of missing ones.

        Args:
            data: The table, with the columns of the one that was preprocessed.
            sequences: The only sequences that are wanted; None = all.
            steps: Number of events, each predicted from those before.
            top_k: Number of categories, the most probable first.
            allow_empty_history: Whether to predict the first event of sequences that have none.
            metadata: The metadata of its data, for models of version 0.1.0.

        Returns:
            Rows ascending by sequence and step: the sequence; the position of the predicted event,
            or, where another column orders events, the step, as `ORDER.step`; and per target what is predicted and, of categories, the probability.

        Raises:
            InputError: If the model cannot be had, or the table not be used.
        """
        for name, number in (("steps", steps), ("top_k", top_k)):
            if number < 1:
                raise InputError(f"{name} is {number}", "give a number of at least 1")
        wanted = None if sequences is None else [str(sequence) for sequence in sequences]
        remarks = Remarks()
        with (
            as_file(data) as table,
            model_of_run(self._origin.source, self.number, _path(metadata), _warn) as chosen,
        ):
            request = Request(table, wanted, steps, top_k, allow_empty_history)
            frames = list(predict_table(chosen.model, chosen.metadata, request, remarks))
            lines = list(remarks.lines(chosen.metadata))
        for line in lines:
            _warn(line)
        return pl.concat(frames)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else expanded_path(str(path))


def _warn(text: str) -> None:
    warnings.warn(text.removeprefix("note: "), stacklevel=3)


def _typed(label: Stored) -> Any:
    """The value behind a label of 0.1.0, which stored nothing else; text if it is no number."""
    if not isinstance(label, str):
        return label
    text = value_of(label)
    with suppress(ValueError):
        value = json.loads(text)
        return text if isinstance(value, dict | list) else value
    return text
