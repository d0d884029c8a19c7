import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.worker.run_log import RunLog
from tests.training.conftest import make_config

__all__ = ["make_config"]

MakeConfig = Callable[..., TrainConfig]


def test_a_full_disk_costs_lines_of_the_log_and_nothing_else(make_config: MakeConfig) -> None:
    config = make_config()
    config.paths.logs.mkdir()
    config.paths.log("small").symlink_to("/dev/full")
    config.paths.metrics("small").symlink_to("/dev/full")

    log = RunLog(config)
    log.message("one")
    log.event("two")
    log.close()


def test_a_line_that_was_cut_off_does_not_spoil_the_next(make_config: MakeConfig) -> None:
    config = make_config()
    log = RunLog(config)
    path = config.paths.metrics("small")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        log.event("torn")
        log.event("lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.event("whole")
    log.close()

    first, second = path.read_text().splitlines()
    assert first == '{"event": '
    assert second.startswith('{"event": "whole", "time": ')


def test_a_log_that_cannot_be_opened_is_named(make_config: MakeConfig) -> None:
    config = make_config()
    path: Path = config.paths.log("small")
    path.mkdir(parents=True)

    with pytest.raises(EnvironmentFaultError, match=r"cannot write .*sequifier-small\.log: Is a"):
        RunLog(config)
