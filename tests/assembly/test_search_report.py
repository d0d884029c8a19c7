"""The report of a search that runs: how often it is rewritten, and that it never stops a search."""

import json
from pathlib import Path

import polars as pl
import pytest

from sequifier_hpo.assembly.prepare import PreparedSearch, prepare_search
from sequifier_hpo.assembly.report import SearchReport
from sequifier_hpo.errors import EnvironmentFaultError
from tests.conftest import METADATA, WriteSearch


@pytest.fixture
def prepared(write_search: WriteSearch, project: Path) -> PreparedSearch:
    """A search whose splits are on disk: one window of nothing for each column."""
    window = {str(i): [1.0] * 3 for i in range(6, -1, -1)}
    ids = {"sequenceId": [0] * 3, "subsequenceId": [0] * 3, "startItemPosition": [0] * 3}
    table = pl.DataFrame({**ids, "inputCol": list(METADATA["column_types"]), **window})
    (project / "data").mkdir()
    for i in range(3):
        table.write_parquet(project / "data" / f"shop-split{i}.parquet")
    return prepare_search(
        write_search(), overrides={}, skip_metadata=False, storage=None, workers=None
    )


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_it_is_written_when_due_and_not_before(prepared: PreparedSearch) -> None:
    clock = Clock()
    report = SearchReport(prepared, clock)

    report.refresh([])
    too_early = report.path.exists()
    clock.now += 60
    report.refresh([])

    assert not too_early
    assert "0 of 8" in report.path.read_text()


def test_it_says_that_the_search_goes_on_until_its_end(prepared: PreparedSearch) -> None:
    clock = Clock()
    report = SearchReport(prepared, clock)
    clock.now += 60

    report.refresh([])
    meanwhile = report.path.read_text()
    report.write([])

    assert "still running" in meanwhile  # though between two runs none is running
    assert "still running" not in report.path.read_text()


def test_an_expensive_report_is_written_less_often(prepared: PreparedSearch) -> None:
    times = iter([0.0, 100.0, 110.0, 200.0, 700.0, 700.5])  # a report of ten seconds
    report = SearchReport(prepared, lambda: next(times))

    report.refresh([])
    report.path.unlink()
    report.refresh([])
    after_a_minute = report.path.exists()
    report.refresh([])

    assert not after_a_minute
    assert report.path.exists()


def test_a_disk_that_refuses_it_does_not_stop_the_search(prepared: PreparedSearch) -> None:
    clock = Clock()
    report = SearchReport(prepared, clock)
    report.path.parent.parent.mkdir()
    report.path.parent.write_text("a file where the folder should be")
    clock.now += 60

    report.refresh([])

    with pytest.raises(EnvironmentFaultError, match="cannot write"):
        report.write([])


def test_the_page_has_no_password(write_search: WriteSearch, prepared: PreparedSearch) -> None:
    url = "postgresql://me:secret@host/db"
    with_password = prepare_search(
        Path("configs/search.yaml"), overrides={}, skip_metadata=False, storage=url, workers=None
    )
    report = SearchReport(with_password)

    report.write([])

    page = report.path.read_text()
    assert "postgresql://me:***@host/db" in page
    assert "secret" not in json.dumps(page)
