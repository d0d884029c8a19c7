"""Checks of the machine, made before a search depends on the results."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.config.search_rules import TRAINING_SECTION
from sequifier_hpo.config.storage_url import sqlite_path
from sequifier_hpo.config.yaml_file import read_yaml
from sequifier_hpo.coordinator.devices import best_device, device_issue, num_cores
from sequifier_hpo.errors import SequifierHpoError
from sequifier_hpo.python_path import python_environment

_MIN_PYTHON = (3, 11)
_MIN_FREE_BYTES = 2**30
_TORCH_SECONDS = 120
# Run in a separate process: this one never loads torch.
_ASK_TORCH = (
    "import json, torch; print(json.dumps({'version': torch.__version__, "
    "'cuda': [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())], "
    "'threads': torch.get_num_threads()}))"
)
_OPTIONAL = {
    "optuna-dashboard": "pip install 'sequifier-hpo[dashboard]', for sequifier-hpo dashboard",
    "psycopg": "pip install 'sequifier-hpo[postgres]', for several machines on one study",
    "apprise": "pip install 'sequifier-hpo[notify]', for hyperparameter-search --notify",
}


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    is_fine: bool
    found: str
    fix: str = ""
    """What to do; for a passed check, an optional improvement."""


def examine(source: StudySource | None, root: Path) -> Iterator[Check]:
    """Check everything that a search needs; the slow checks come last.

    Args:
        source: The study to run, or None if there is no search file yet.
        root: Where the project is.
    """
    yield _python()
    yield from _packages()
    yield _disk(root)
    for folder in _folders(source, root):
        yield _folder(folder)
    if source is not None:
        yield _storage(source)
    yield _torch(source)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    is_fine = sys.version_info[:2] >= _MIN_PYTHON
    return Check("python", is_fine, version, "" if is_fine else "use Python 3.11 or newer")


def _packages() -> Iterator[Check]:
    for name in ("optuna", "onnx", "polars", "plotly"):
        version = _version(name)
        fix = "" if version else "reinstall it: pip install sequifier-hpo"
        yield Check(name, version is not None, version or "not installed", fix)
    for name, fix in _OPTIONAL.items():
        version = _version(name)
        yield Check(
            name, is_fine=True, found=version or "not installed", fix="" if version else fix
        )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _disk(root: Path) -> Check:
    free = shutil.disk_usage(_existing(root)).free
    is_fine = free >= _MIN_FREE_BYTES
    fix = (
        "" if is_fine else "checkpoints and models need disk space: free some, or move project_root"
    )
    return Check("disk", is_fine, f"{free / 2**30:.1f} GiB free", fix)


def _folders(source: StudySource | None, root: Path) -> list[Path]:
    folders = [root / name for name in ("logs", "models", "checkpoints")]
    if source is None:
        return [*folders, root / "studies"]
    return [*folders, source.study_folder, *([source.run_folder] if source.run_folder else [])]


def _folder(folder: Path) -> Check:
    """Whether files can be written in a folder, or in the one it would be created in."""
    name, place = f"folder {folder}", _existing(folder)
    if folder.exists() and not folder.is_dir():
        return Check(name, is_fine=False, found="it is a file", fix="move or rename the file")
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        return Check(
            name,
            is_fine=False,
            found=f"{place}: {error.strerror}",
            fix="make it writable, or choose another project_root",
        )
    return Check(name, is_fine=True, found="writable")


def _existing(path: Path) -> Path:
    """The path, or the nearest folder above it that exists."""
    path = path.resolve()
    while not path.is_dir():
        path = path.parent
    return path


def _storage(source: StudySource) -> Check:
    from sequifier_hpo.study import Storage  # noqa: PLC0415 - half a second, after the quick checks

    name = f"storage {source.shown_storage}"
    file = sqlite_path(source.storage_url)
    if file is not None and not file.exists():
        return Check(name, is_fine=True, found="does not exist yet; the search creates it")
    try:
        Storage(source.storage_url).close()
    except SequifierHpoError as error:
        problem, _, fix = str(error).partition("\n    fix: ")
        return Check(name, is_fine=False, found=problem, fix=fix)
    return Check(name, is_fine=True, found="reachable")


def _torch(source: StudySource | None) -> Check:
    environment = {**python_environment(), "PYTHONWARNINGS": "ignore"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=_TORCH_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        found = f"the import did not finish within {_TORCH_SECONDS} s"
        return Check(
            "torch", is_fine=False, found=found, fix="check the disk and the load of this machine"
        )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["cannot be imported"])[-1]
        return Check("torch", is_fine=False, found=reason, fix="pip install torch")
    answer = json.loads(done.stdout.splitlines()[-1])
    device, problem, fix = _device(source)
    shown = f"{answer['version']}, trains on {device}"
    if answer["cuda"]:
        shown += f" ({', '.join(answer['cuda'])})"
    elif device == "cpu":
        shown += f" ({num_cores()} concurrent trials, one core each)"
    if not problem and device.startswith("cuda") and not answer["cuda"]:
        problem = "torch finds no GPU"
        fix = "check the driver with nvidia-smi, or write `device: cpu`"
    if problem:
        return Check("torch", is_fine=False, found=f"{shown}, but {problem}", fix=fix)
    return Check("torch", is_fine=True, found=shown)


def _device(source: StudySource | None) -> tuple[str, str, str]:
    """(the device of the runs, what is wrong with it, what to do about that)."""
    document = read_yaml(source.search_file) if source and source.search_file else None
    sampling = document.data.get(TRAINING_SECTION) if document else None
    if document is None or not isinstance(sampling, dict) or not sampling.get("device"):
        return best_device(), "", ""
    device, world_size = str(sampling["device"]), sampling.get("world_size")
    is_shared = sampling.get("distributed") is True
    num_processes = world_size if is_shared and isinstance(world_size, int) else 1
    issue = device_issue(device, num_processes, document, (TRAINING_SECTION, "device"))
    if issue is None:
        return device, "", ""
    return device, f"{issue.file}:{issue.line}: {issue.problem}", issue.fix
