import ctypes
import platform
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.config.yaml_file import parse_yaml
from sequifier_hpo.coordinator import devices
from sequifier_hpo.coordinator.devices import device_issue, device_kind, worker_specs


@pytest.mark.parametrize(
    ("visible", "processes", "expected"),
    [
        ("0,1,2", 1, ["0", "1", "2"]),
        ("0,1,2,3", 2, ["0,1", "2,3"]),
        ("4,5,6", 2, ["4,5"]),
        ("7", 2, ["7"]),  # too few: the run itself says so
    ],
)
def test_gpus_are_dealt_to_trials_in_groups_as_large_as_a_run(
    monkeypatch: pytest.MonkeyPatch, visible: str, processes: int, expected: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    specs = worker_specs("cuda", workers=None, num_runs=9, processes_per_run=processes)

    assert [spec.environment["CUDA_VISIBLE_DEVICES"] for spec in specs] == expected
    assert {spec.is_resident for spec in specs} == {processes == 1}


@pytest.mark.parametrize(
    ("cores", "workers", "expected"), [(8, None, 2), (2, None, 1), (8, 5, 5), (64, None, 9)]
)
def test_cores_are_shared_by_as_many_trials_as_have_one_for_each_process(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int | None, expected: int
) -> None:
    monkeypatch.setattr(devices, "num_cores", lambda: cores)

    (spec,) = worker_specs("cpu", workers, num_runs=9, processes_per_run=4)

    assert spec.num_slots == expected


@pytest.mark.parametrize(
    ("files", "slurm", "expected"),
    [
        ({}, "", 8),
        ({"cpu.max": "max 100000"}, "", 8),
        ({"cpu.max": "300000 100000"}, "", 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "", 8),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, "", 2),
        ({"cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "100000"}, "", 1),
        ({}, "4", 4),
        ({}, "16", 8),
        ({"cpu.max": "300000 100000"}, "4", 3),
    ],
    ids=lambda value: "" if isinstance(value, int) else str(value),
)
def test_only_the_cores_are_counted_that_a_container_or_slurm_has_granted(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files: dict[str, str],
    slurm: str,
    expected: int,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(8)), raising=False)
    monkeypatch.setattr(devices, "_CGROUPS", tmp_path)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")

    assert devices.num_cores() == expected


@pytest.mark.parametrize(
    ("device", "processes", "num_gpus", "built_for", "words"),
    [
        ("cpu", 4, 0, "", None),
        ("cuda", 1, 0, "", "built without CUDA"),
        ("cuda", 1, 0, "cuda", "no GPU here"),
        ("cuda", 1, 1, "cuda", None),
        ("cuda", 2, 2, "cuda", None),
        ("cuda", 2, 1, "cuda", "as many GPUs, and this machine has 1"),
        ("cuda:1", 1, 2, "cuda", None),
        ("cuda:2", 1, 2, "cuda", "2 GPUs, from cuda:0 on"),
        ("cuda", 1, 0, "hip", None),  # such GPUs are known to torch alone
        ("mps", 1, 0, "", "Apple"),
        ("gpu", 1, 0, "", "not one of cpu"),
        ("cuda:x", 1, 0, "", "not one of cpu"),
    ],
)
def test_a_device_that_this_machine_does_not_have_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    processes: int,
    num_gpus: int,
    built_for: str,
    words: str | None,
) -> None:
    monkeypatch.setattr(devices, "num_cuda_devices", lambda: num_gpus)
    monkeypatch.setattr(devices, "_torch_built_for", lambda name: name == built_for)
    monkeypatch.setattr("platform.system", lambda: "Linux")
    document = parse_yaml(f"training_spec:\n  device: {device}\n", file="train.yaml")

    issue = device_issue(device, processes, document, ("training_spec", "device"))

    assert (issue is None) == (words is None)
    if issue is not None and words is not None:
        assert words in issue.problem
        assert (issue.file, issue.line, issue.path) == ("train.yaml", 2, "training_spec.device")


@dataclass
class Driver:
    """The part of CUDA's driver that says what a GPU is."""

    names: list[bytes]

    def cuDeviceGet(self, handle: Any, index: int) -> int:  # noqa: N802 - the driver's
        handle._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, length: int, handle: ctypes.c_int) -> int:  # noqa: N802 - the driver's
        name.value = self.names[handle.value][: length - 1]
        return 0

    def cuDeviceTotalMem_v2(self, num_bytes: Any, handle: ctypes.c_int) -> int:  # noqa: N802 - the driver's
        num_bytes._obj.value = 150_000_000_000
        return 0


@pytest.mark.parametrize(
    ("device", "names", "expected"),
    [
        ("cuda", [b"H200"], "H200, 150000000000 bytes"),
        ("cuda", [b"H200", b"H200"], "H200, 150000000000 bytes"),
        ("cuda", [b"H200", b"L4"], ""),  # it is open on which a run is trained
        ("cuda:1", [b"H200", b"L4"], "L4, 150000000000 bytes"),
        ("cuda", [], ""),  # such as are known to torch alone
        ("mps", [], ""),
    ],
)
def test_kinds_of_gpus_are_told_by_their_driver(
    monkeypatch: pytest.MonkeyPatch, device: str, names: list[bytes], expected: str
) -> None:
    monkeypatch.setattr(devices, "num_cuda_devices", lambda: len(names))
    monkeypatch.setattr("ctypes.CDLL", lambda _name: Driver(names))

    assert device_kind(device) == expected


def test_cpus_are_compared_where_each_process_has_a_limit() -> None:
    assert device_kind("cpu") == ""

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**40, hard))
    limited = device_kind("cpu")
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))

    assert limited == f"cpu of {platform.node()}, {2**40} bytes a process"
