from collections.abc import Callable
from pathlib import Path

import pytest

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.worker.run_log import RunLog
from tests.full_disk import largest_file
from tests.training.conftest import make_config

__all__ = ["make_config"]

MakeConfig = Callable[..., TrainConfig]


def test_a_full_disk_costs_lines_of_the_log_and_nothing_else(make_config: MakeConfig) -> None:
    log = RunLog(make_config())

    with largest_file(0):
        log.message("one")
        log.event("two")
    log.close()


def test_a_line_that_was_cut_off_does_not_spoil_the_next(make_config: MakeConfig) -> None:
    config = make_config()
    log = RunLog(config)
    path = config.paths.metrics("small")

    with largest_file(10):
        log.event("torn")
        log.event("lost")
    log.event("whole")
    log.close()

    first, second = path.read_text().splitlines()
    assert first == '{"event": '
    assert second.startswith('{"event": "whole", "time": ')


def test_a_log_that_cannot_be_opened_is_named(make_config: MakeConfig) -> None:
    config = make_config()
    path: Path = config.paths.log("small")
    path.mkdir(parents=True)

    with pytest.raises(
        EnvironmentFaultError, match=r"cannot write .*sequifier-small\.log: it is a f"
    ):
        RunLog(config)
