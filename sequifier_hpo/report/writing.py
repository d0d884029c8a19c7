"""Gather what a report shows, and write it; cheap enough to do while a search runs."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.plain_files import read_plain
from sequifier_hpo.records import Baseline, Run
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.evaluations import read_evaluations
from sequifier_hpo.report.latencies import with_latencies
from sequifier_hpo.report.leaderboard import MIN_RUNS_FOR_IMPORTANCE
from sequifier_hpo.report.page import report_page
from sequifier_hpo.report.page_frame import read_assets
from sequifier_hpo.report.run_files import run_file_of
from sequifier_hpo.report.study_facts import StudyFacts, facts_of_study
from sequifier_hpo.report.tables import model_name
from sequifier_hpo.report.training_losses import training_losses
from sequifier_hpo.study import StudySnapshot, WarmStart
from sequifier_hpo.study.importance import parameter_importances

_MIN_SECONDS = 15.0  # between two refreshes while a search runs
_MAX_SHARE = 0.02  # of the search's time that refreshes may take


def default_report_path(source: StudySource) -> Path:
    """Where the report of a study is written."""
    return source.study_folder / "report.html"


def write_report(source: StudySource, snapshot: StudySnapshot, target: Path) -> ReportData:
    """Write the report of a study that was read; returns what is in it.

    Raises:
        EnvironmentFaultError: If the file cannot be written.
    """
    data = report_data(source, snapshot)
    write_atomically(target, report_page(data, read_assets()))
    return data


def report_data(source: StudySource, snapshot: StudySnapshot) -> ReportData:
    """All that the report of a study shows."""
    known = snapshot.identity
    data = _gathered(
        source,
        ReportData(
            study_name=source.name,
            study_id=snapshot.study_id,
            recounted_to=None if known is None else known.recounted_to,
            storage=source.shown_storage,
            strategy=snapshot.strategy,
            num_runs=snapshot.num_runs,
            runs=snapshot.runs,
            read_at=snapshot.read_at,
            baselines=snapshot.baselines,
            stopped_by=snapshot.stopped_by,
        ),
    )
    last = None if known is None else known.data[-1].digest
    facts = facts_of_study(snapshot.space, last, data.best_yaml)
    warm_start = None if known is None else known.warm_start
    return replace(data, facts=facts, warm_start=warm_start)


def _gathered(source: StudySource, data: ReportData) -> ReportData:
    """Add what takes a computation or a file: importances, evaluations, the best run's file."""
    kept = read_evaluations(source.study_folder, data.study_id, data.recounted_to)
    data, done = replace(data, evaluations=kept), data.progress
    if done.num_with_a_loss >= MIN_RUNS_FOR_IMPORTANCE:
        data = replace(data, importances=_importances(data.own_runs))
    return data if done.best is None else _with_best(data, source, done.best)


def _importances(runs: Sequence[Run]) -> dict[str, float]:
    """How much parameters matter; nothing where no run is better than another."""
    if len({run.loss for run in runs if run.loss is not None}) < 2:
        return {}
    return parameter_importances(runs)


def _with_best(data: ReportData, source: StudySource, best: Run) -> ReportData:
    """Add the best run's file, or where it is if it cannot be reached from here."""
    file = run_file_of(source, best, data.study_id)
    if file is None:
        return data
    data = replace(data, best_file=file.shown)
    if file.missing:
        return data
    with suppress(OSError, UnicodeDecodeError):
        data = replace(data, best_yaml=read_plain(file.path).decode())
    metrics = source.paths.metrics(model_name(source.name, best))
    return replace(data, best_training_losses=training_losses(metrics, best))


class SearchReport:
    """The report of a search that runs: refreshed now and then, and written at its end."""

    def __init__(
        self,
        source: StudySource,
        *,
        strategy: str,
        num_runs: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Name the search; nothing is written yet.

        Args:
            source: Its study.
            strategy: How it chooses its runs.
            num_runs: Distinct runs that it is to have.
            clock: Seconds that only grow.
        """
        self._source = source
        self._strategy = strategy
        self._num_runs = num_runs
        self._clock = clock
        self._not_before = clock() + _MIN_SECONDS
        self.path = default_report_path(self._source)
        self.study_id: str | None = None
        """The study's unique id, once it is open."""
        self.recounted_to: int | None = None
        """How many positions its losses count, if there were more of them once."""
        self.baselines: Sequence[Baseline] = ()
        """Losses of the trivial predictors, once they are known."""
        self.warm_start: WarmStart | None = None
        """The earlier studies that guide it, once it is open."""
        self.facts: StudyFacts | None = None
        """What the study is about, once its data are known."""
        self.stopped_by = ""
        """The budget that left runs, once the search has ended."""

    def refresh(self, runs: Sequence[Run]) -> None:
        """Rewrite the report if it is due; what cannot be written now is left for later."""
        began = self._clock()
        if began < self._not_before:
            return
        with suppress(EnvironmentFaultError):
            self._write(runs, is_rewritten=True)
        cost = self._clock() - began
        self._not_before = began + max(_MIN_SECONDS, cost / _MAX_SHARE)

    def write(self, runs: Sequence[Run]) -> ReportData:
        """Write the report as the search leaves it; returns what is in it.

        Raises:
            EnvironmentFaultError: If the file cannot be written.
        """
        return self._write(runs, is_rewritten=False)

    def _write(self, runs: Sequence[Run], *, is_rewritten: bool) -> ReportData:
        data = _gathered(
            self._source,
            ReportData(
                study_name=self._source.name,
                study_id=self.study_id,
                recounted_to=self.recounted_to,
                storage=self._source.shown_storage,
                strategy=self._strategy,
                num_runs=self._num_runs,
                runs=with_latencies(self._source.study_folder, runs),
                read_at=datetime.now().astimezone(),
                facts=self.facts,
                warm_start=self.warm_start,
                baselines=self.baselines,
                is_rewritten=is_rewritten,
                stopped_by=self.stopped_by,
            ),
        )
        write_atomically(self.path, report_page(data, read_assets()))
        return data
