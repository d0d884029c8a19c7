"""The report of a search that runs: how often it is rewritten, and that it never stops a search."""

import time
from collections.abc import Callable

import pytest

from sequifier_hpo.config.locate import StudySource, find_study
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.report.writing import SearchReport
from tests.conftest import WriteSearch


@pytest.fixture
def source(write_search: WriteSearch) -> StudySource:
    return find_study(write_search(), None, None)


def report_of(source: StudySource, clock: Callable[[], float] = time.monotonic) -> SearchReport:
    return SearchReport(source, strategy="grid", num_runs=8, clock=clock)


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_is_written_when_due_and_not_before(source: StudySource) -> None:
    clock = Clock()
    report = report_of(source, clock)

    report.refresh([])
    too_early = report.path.exists()
    clock.now += 60
    report.refresh([])

    assert not too_early
    assert "0 of 8" in report.path.read_text()


def test_it_says_that_the_search_goes_on_until_its_end(source: StudySource) -> None:
    clock = Clock()
    report = report_of(source, clock)
    clock.now += 60

    report.refresh([])
    meanwhile = report.path.read_text()
    report.write([])

    assert "still running" in meanwhile  # though between two runs none is running
    assert "still running" not in report.path.read_text()


def test_an_expensive_report_is_written_less_often(source: StudySource) -> None:
    times = iter([0.0, 100.0, 110.0, 200.0, 700.0, 700.5])  # a report of ten seconds
    report = report_of(source, lambda: next(times))

    report.refresh([])
    report.path.unlink()
    report.refresh([])
    after_a_minute = report.path.exists()
    report.refresh([])

    assert not after_a_minute
    assert report.path.exists()


def test_a_disk_that_refuses_it_does_not_stop_the_search(source: StudySource) -> None:
    clock = Clock()
    report = report_of(source, clock)
    report.path.parent.parent.mkdir()
    report.path.parent.write_text("a file where the folder should be")
    clock.now += 60

    report.refresh([])

    with pytest.raises(EnvironmentFaultError, match="cannot write"):
        report.write([])


def test_the_page_has_no_password(write_search: WriteSearch) -> None:
    report = report_of(find_study(write_search(), "postgresql://me:hush-hush@host/db", None))

    report.write([])

    page = report.path.read_text()
    assert "postgresql://me:***@host/db" in page
    assert "hush-hush" not in page
