"""Gather what a report shows, and write it; cheap enough to do while a search runs."""

import time
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

from sequifier_hpo.assembly.atomic import write_atomically
from sequifier_hpo.assembly.baseline import baselines
from sequifier_hpo.assembly.locate import StudySource, source_of
from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.assembly.view import read_source, train_file_of
from sequifier_hpo.config.train import load_train_config
from sequifier_hpo.errors import EnvironmentFaultError, SequifierHpoError
from sequifier_hpo.records import Run
from sequifier_hpo.report.data import ReportData
from sequifier_hpo.report.page import MIN_RUNS_FOR_IMPORTANCE, PageAssets, report_page
from sequifier_hpo.study import StudySnapshot
from sequifier_hpo.study.importance import parameter_importances

_MIN_SECONDS = 15.0  # between two refreshes while a search runs
_MAX_SHARE = 0.02  # of the search's time that refreshes may take


def default_report_path(source: StudySource) -> Path:
    """Where the report of a study is written."""
    return source.study_folder / "report.html"


def write_report(source: StudySource, target: Path) -> ReportData:
    """Read a study and write its report; returns what is in it.

    Raises:
        InputError: If there is no such study.
        EnvironmentFaultError: If the storage cannot be reached, or the file not be written.
    """
    data = report_data(source, read_source(source))
    write_atomically(target, report_page(data, read_assets()))
    return data


def report_data(source: StudySource, snapshot: StudySnapshot) -> ReportData:
    """Everything that a report shows."""
    data = ReportData(
        study_name=source.name,
        storage=source.shown_storage,
        strategy=snapshot.strategy,
        num_runs=snapshot.num_runs,
        runs=snapshot.runs,
        read_at=snapshot.read_at,
    )
    done = data.progress
    if done.num_complete >= MIN_RUNS_FOR_IMPORTANCE:
        data = replace(data, importances=parameter_importances(data.runs))
    return data if done.best is None else _with_best(data, source, done.best)


def _with_best(data: ReportData, source: StudySource, best: Run) -> ReportData:
    """Add the best run's file and baselines, as far as they can be reached from here."""
    try:
        file = train_file_of(source, best)
        data = replace(data, best_file=str(file), best_yaml=file.read_text(encoding="utf-8"))
        config = load_train_config(file)
    except (SequifierHpoError, OSError):
        return data
    return replace(data, baselines=baselines(config, source.study_folder / "baselines.json"))


def read_assets() -> PageAssets:
    """Style, behaviour and the chart library, as they are built into the page."""
    own = resources.files("sequifier_hpo.report")
    plotly = resources.files("plotly") / "package_data" / "plotly.min.js"
    return PageAssets(
        css=(own / "page.css").read_text(encoding="utf-8"),
        js=(own / "page.js").read_text(encoding="utf-8"),
        plotly_js=plotly.read_text(encoding="utf-8"),
    )


class SearchReport:
    """The report of a search that runs: refreshed now and then, and written at its end."""

    def __init__(
        self, prepared: PreparedSearch, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Name the search; nothing is written yet."""
        self._source = source_of(prepared)
        self._clock = clock
        self._not_before = clock() + _MIN_SECONDS
        self.path = default_report_path(self._source)

    def refresh(self) -> None:
        """Rewrite the report if that is due; a disk that is full does not stop the search."""
        started = self._clock()
        if started < self._not_before:
            return
        self.write()
        cost = self._clock() - started
        self._not_before = started + max(_MIN_SECONDS, cost / _MAX_SHARE)

    def write(self) -> bool:
        """Rewrite the report now; returns whether that was possible."""
        try:
            write_report(self._source, self.path)
        except EnvironmentFaultError:
            return False
        return True
