"""The log of a search: its lines, and that it never gets into the way."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sequifier_hpo.coordinator.log import log_to, logging_by
from tests.full_disk import largest_file

LOG = logging.getLogger("sequifier_hpo.coordinator")


@pytest.fixture
def lines() -> Iterator[list[str]]:
    found: list[str] = []
    with logging_by(found.append):
        yield found


def test_a_record_is_a_line_of_time_level_message_and_fields(lines: list[str]) -> None:
    LOG.warning("lease lost", extra={"run_number": 3, "why": "it hung"})

    time, level, message, fields = lines[0].split(" | ")
    assert time.endswith("Z")
    assert len(time) == len("2026-11-25T18:03:07.123Z")
    assert (level, message) == ("WARNING", "lease lost")
    assert fields.endswith('run_number=3 why="it hung"')
    assert fields.startswith("host=")


def test_a_field_never_breaks_its_line(lines: list[str]) -> None:
    LOG.info("storage lost", extra={"reason": 'two\nlines and "quotes"', "trials": [1, 2]})

    assert len(lines[0].splitlines()) == 1
    assert lines[0].endswith(r'reason="two\nlines and \"quotes\"" trials=[1,2]')


def test_a_line_says_of_which_study_it_is() -> None:
    found: list[str] = []

    with logging_by(found.append, study="shop/verify"):
        LOG.info("stopping", extra={"signal": "SIGINT"})

    assert found[0].endswith(" study=shop/verify signal=SIGINT")


def test_records_are_appended_to_the_file_and_only_within_the_block(tmp_path: Path) -> None:
    path = tmp_path / "studies/shop/coordinator.log"
    for _ in range(2):
        with log_to(path):
            LOG.info("stopping")
        LOG.info("not in the log")

    assert [line.split(" | ")[2] for line in path.read_text().splitlines()] == ["stopping"] * 2


@pytest.mark.parametrize("spoil", [Path.touch, Path.mkdir])
def test_a_disk_that_takes_nothing_stops_nothing(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    path = tmp_path / "coordinator.log"
    spoil(path)

    with largest_file(0), log_to(path):
        LOG.warning("retried", extra={"run_number": 1})


def test_a_stream_that_is_closed_stops_nothing() -> None:
    def write(_line: str) -> None:
        raise ValueError("I/O operation on closed file")

    with logging_by(write):
        LOG.info("stopping")
