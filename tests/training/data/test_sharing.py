"""What runs at the same time have of one set of data: the same memory."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.pool import WorkerPool, WorkerSpec
from sequifier_hpo.messages import EpochDone, RunTrial, TrialEnded, TrialStarted

Stored = Callable[..., TrainConfig]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux tells it there"),
]
_DEADLINE_SECONDS = 60


def data_mapped_by_runs(
    config: TrainConfig, specs: list[WorkerSpec], folder: Path
) -> list[set[tuple[str, int]]]:
    """Train in two slots; per run, once it is under way: (file, bytes of its own) of its data."""
    pool = WorkerPool(specs, folder / "workers.log")
    try:
        for number in (0, 1):
            run = config.model_copy(update={"model_name": f"run-{number}"})
            order = RunTrial(
                trial_number=number, attempt=1, config=run, config_path=None, resume=False
            )
            pool.run(number, order)
        return [mapped_data(pid) for pid in pids_under_way(pool)]
    finally:
        pool.kill()
        pool.close()


def pids_under_way(pool: WorkerPool) -> list[int]:
    """The processes of two runs, when each has ended an epoch."""
    pids: dict[int, int] = {}
    under_way: set[int] = set()
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while len(under_way) < 2:
        assert time.monotonic() < deadline
        for event in pool.poll(1.0):
            assert not isinstance(event, TrialEnded), event
            if isinstance(event, TrialStarted):
                pids[event.trial_number] = event.pid
            elif isinstance(event, EpochDone):
                under_way.add(event.trial_number)
    return list(pids.values())


def mapped_data(pid: int) -> set[tuple[str, int]]:
    """Files of data that a process has in its memory: (device and inode, pages changed by it)."""
    found = set()
    areas = re.split(
        r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path(f"/proc/{pid}/smaps").read_text(), flags=re.M
    )
    for area in areas:
        head, _, rest = area.partition("\n")
        if "sequifier-hpo-data" in head or head.endswith(".windows"):
            _, _, _, device, inode, _ = head.split(maxsplit=5)
            (changed,) = re.findall(r"^Private_Dirty: +(\d+) kB$", rest, re.M)
            found.add((f"{device} {inode}", int(changed)))
    return found


def test_runs_at_the_same_time_share_one_copy_of_the_data(stored: Stored, tmp_path: Path) -> None:
    config = stored("parquet", epochs=10**6)

    first, second = data_mapped_by_runs(
        config, [WorkerSpec(num_slots=2, is_resident=False)], tmp_path
    )

    assert first == second
    assert [changed for _, changed in first] == [0]


def test_workers_share_one_copy_of_lazily_loaded_shards(stored: Stored, tmp_path: Path) -> None:
    config = stored("pt", epochs=10**6, load_full_data_to_ram=False)
    resident = WorkerSpec(num_slots=1, is_resident=True)

    first, second = data_mapped_by_runs(config, [resident, resident], tmp_path)

    assert first == second
    assert [changed for _, changed in first] == [0, 0]
