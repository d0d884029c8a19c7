"""The pool of worker processes, as far as it needs no training."""

import logging
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from sequifier_hpo.coordinator.pool import WorkerPool, WorkerSpec
from sequifier_hpo.messages import RunTrial, TrialEnded
from sequifier_hpo.records import OutcomeKind
from tests.coordinator.story import config_of
from tests.process.chaos import children_of

pytestmark = pytest.mark.usefixtures("real_starts")


def end_of_trial(pool: WorkerPool) -> TrialEnded:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for event in pool.poll(1.0):
            if isinstance(event, TrialEnded):
                return event
    raise AssertionError("the trial does not end")


def order_that_crashes(folder: Path, trial_number: int) -> RunTrial:
    """An order whose run file cannot have its name."""
    path = str(folder / "no\0path")
    config = config_of(0, 8)
    return RunTrial(
        trial_number=trial_number, attempt=1, config=config, config_path=path, resume=False
    )


def test_a_pool_that_cannot_start_a_worker_ends_those_that_it_started(tmp_path: Path) -> None:
    can_start = WorkerSpec(1, is_resident=False)
    cannot_start = WorkerSpec(1, is_resident=False, environment={"NO=NAME": ""})
    children, files = children_of(os.getpid()), set(Path("/proc/self/fd").iterdir())

    with pytest.raises(ValueError, match="environment"):
        WorkerPool([can_start, cannot_start], tmp_path / "workers.log")

    assert children_of(os.getpid()) == children
    assert set(Path("/proc/self/fd").iterdir()) == files


@pytest.mark.slow
def test_a_worker_that_trains_by_itself_is_replaced_after_a_crash(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sequifier_hpo")
    order = order_that_crashes(tmp_path, 7)

    with closing(WorkerPool([WorkerSpec(1, is_resident=True)], tmp_path / "log")) as pool:
        before = children_of(os.getpid())
        pool.run(0, order)
        ended = end_of_trial(pool)
        after = children_of(os.getpid())

    (record,) = [found for found in caplog.records if found.getMessage() == "worker replaced"]
    assert ended.result.kind == OutcomeKind.CRASHED
    assert len(after) < len(before)
    assert (vars(record)["trial_number"], vars(record)["why"]) == (7, "crashed")


@pytest.mark.slow
def test_to_ask_a_trial_to_end_whose_end_was_polled_changes_nothing(tmp_path: Path) -> None:
    with closing(WorkerPool([WorkerSpec(1, is_resident=False)], tmp_path / "log")) as pool:
        pool.run(0, order_that_crashes(tmp_path, 7))
        ended = end_of_trial(pool)

        pool.end_trial(7)

        pool.run(0, order_that_crashes(tmp_path, 8))
        assert (ended.trial_number, end_of_trial(pool).trial_number) == (7, 8)
