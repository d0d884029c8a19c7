"""What this machine can train on, found out without loading torch."""

import ctypes
import importlib.util
import os
import platform
import re
import resource
from collections.abc import Mapping
from pathlib import Path

from sequifier_hpo.config.yaml_file import Loc, YamlDocument
from sequifier_hpo.coordinator.pool import WorkerSpec
from sequifier_hpo.errors import ConfigError, ConfigIssue
from sequifier_hpo.words import counted

_CGROUPS = Path("/sys/fs/cgroup")


def best_device() -> str:
    """CUDA if there is a GPU that the installed torch can use, else mps on Apple chips, else cpu."""
    if num_cuda_devices():
        return "cuda"
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return "mps"
    return "cpu"


def require_device(issue: ConfigIssue | None) -> None:
    """Raise ConfigError if there is a device issue."""
    if issue is not None:
        raise ConfigError([issue])


def device_issue(
    device: str, num_processes: int, document: YamlDocument, loc: Loc
) -> ConfigIssue | None:
    """Why runs cannot train on a device of this machine, or None if nothing is known against it.

    Args:
        device: Torch device that a file asks for.
        num_processes: Processes that train one run; on GPUs each needs its own.
        document: The file.
        loc: Where the device stands in it.
    """
    problem = _device_problem(device, num_processes)
    fix = "run it on a machine that has the device, or write `device: cpu`"
    return document.issue(loc, f"{device}: {problem}", fix=fix) if problem else None


def _device_problem(device: str, num_processes: int) -> str | None:
    kind, _, index = device.partition(":")
    if kind not in {"cpu", "cuda", "mps"} or not (index or "0").isdecimal():
        return "it is not one of cpu, cuda, cuda:n and mps"
    if kind == "mps":
        return None if best_device() == "mps" else "this is not a Mac with an Apple chip"
    if kind != "cuda" or _torch_built_for("hip"):
        return None
    num_gpus = num_cuda_devices()
    if not num_gpus:
        if not _torch_built_for("cuda"):
            return "the torch that is installed was built without CUDA"
        return "there is no GPU here that CUDA can use; `nvidia-smi` lists them"
    if index and int(index) >= num_gpus:
        return f"there is no such GPU: this machine has {counted(num_gpus, 'GPU')}, from cuda:0 on"
    if num_processes > num_gpus:
        return f"a run of {num_processes} processes needs as many GPUs, and this machine has {num_gpus}"
    return None


def num_cuda_devices() -> int:
    """GPUs visible to this process, 0 if torch was built without CUDA."""
    if not _torch_built_for("cuda"):
        return 0
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def device_kind(device: str) -> str:
    """What kind of device runs train on here, with its memory; "" = that is not comparable.

    On the CPU it is the machine with the limit of each process's address space: without one the
    memory is shared with whoever else is there.

    Args:
        device: Torch device; plain `cuda` means any GPU here.
    """
    kind, _, index = device.partition(":")
    if kind == "cpu":
        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        is_limited = limit != resource.RLIM_INFINITY
        return f"cpu of {platform.node()}, {limit} bytes a process" if is_limited else ""
    if kind != "cuda":
        return ""
    gpus = [_gpu_kind(i) for i in range(num_cuda_devices()) if index in {"", str(i)}]
    return gpus[0] if len(set(gpus)) == 1 else ""


def _gpu_kind(index: int) -> str:
    driver, handle = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(0)
    name, num_bytes = ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    answers = (
        driver.cuDeviceGet(ctypes.byref(handle), index),
        driver.cuDeviceGetName(name, len(name), handle),
        driver.cuDeviceTotalMem_v2(ctypes.byref(num_bytes), handle),
    )
    return "" if any(answers) else f"{name.value.decode()}, {num_bytes.value} bytes"


def num_cores() -> int:
    """Processor cores that this process may use: of those it can see, what it was granted."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = (allowed, _cgroup_cores(_CGROUPS), _slurm_cores(os.environ))
    return min((limit for limit in limits if limit), default=1)


def worker_specs(
    device: str, workers: int | None, num_runs: int, processes_per_run: int = 1
) -> list[WorkerSpec]:
    """The worker processes for a search.

    Args:
        device: Torch device that the runs train on. Plain `cuda` is spread over all GPUs;
            `cuda:1` is that one for all runs.
        workers: Trials at the same time; None = one per core, or one per GPU, or as many of these
            as a run has processes.
        num_runs: More trials at the same time than this are never needed.
        processes_per_run: Processes that train one run together.
    """
    if device == "cpu":
        slots = min(workers or num_cores() // processes_per_run, num_runs)
        return [WorkerSpec(num_slots=max(1, slots), is_resident=False)]
    if device == "cuda":
        visible = _visible_devices(os.environ)
        groups = [
            ",".join(visible[first : first + processes_per_run])
            for first in range(0, len(visible), processes_per_run)
            if first == 0 or first + processes_per_run <= len(visible)
        ]
        count = max(1, min(workers or len(groups), num_runs))
        return [
            WorkerSpec(
                num_slots=1,
                is_resident=processes_per_run == 1,
                environment={"CUDA_VISIBLE_DEVICES": groups[i % len(groups)]} if groups else {},
            )
            for i in range(count)
        ]
    count = max(1, min(workers or 1, num_runs))
    return [WorkerSpec(num_slots=1, is_resident=True) for _ in range(count)]


def _visible_devices(environment: Mapping[str, str]) -> list[str]:
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given:
        return [name.strip() for name in given.split(",") if name.strip()]
    return [str(i) for i in range(num_cuda_devices())]


def _torch_built_for(platform_name: str) -> bool:
    """Whether torch's own version file names it; importing torch takes a second."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    version_file = Path(spec.origin).with_name("version.py")
    try:
        text = version_file.read_text(encoding="utf-8")
    except OSError:
        return False
    match = re.search(rf"^{platform_name}\b[^=]*=\s*(.+)$", text, re.MULTILINE)
    return match is not None and match[1].strip() != "None"


def _cgroup_cores(folder: Path) -> int | None:
    """What the quota of a container comes to; None without one."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):  # cgroup v1 has a file for each, and -1 for none
        try:
            quota, period = (
                (folder / f"cpu/cpu.cfs_{name}_us").read_text(encoding="ascii").strip()
                for name in ("quota", "period")
            )
        except OSError:
            return None
    if not quota.isdecimal() or not period.isdecimal():
        return None
    return max(1, round(int(quota) / int(period)))


def _slurm_cores(environment: Mapping[str, str]) -> int | None:
    """What Slurm allocated to a task; without a plugin for affinity it only says so."""
    cores = environment.get("SLURM_CPUS_PER_TASK", "")
    return int(cores) if cores.isdecimal() else None
