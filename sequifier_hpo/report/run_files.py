"""The files of a study's runs, as those find them who only look at it."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.config.run_file import study_of_run_file
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Run
from sequifier_hpo.report.artifacts import RUN_FILE, artifact_folder
from sequifier_hpo.report.tables import detailed_records, model_name

_REMOVED = "which was removed"


@dataclass(frozen=True)
class RunFile:
    """The `train.yaml` of a run, as seen from this project."""

    path: Path
    """Where it is, or where it would be if it was here."""
    missing: str = ""
    """Where to look for it, or that it was removed; "" if it is here."""

    @property
    def shown(self) -> str:
        """The path, and what became of it."""
        return f"{self.path}, {self.missing}" if self.missing else str(self.path)


def run_file_of(source: StudySource, run: Run, study_id: str | None) -> RunFile | None:
    """Find the `train.yaml` of a run; None if only the search file knows where it is.

    Where it was removed, the study's own copy of it takes its place. A file under its name may be
    that of another study's run: then it is not here.

    Args:
        source: The study.
        run: One of its runs.
        study_id: The study's unique id; None in studies of 0.1.0.
    """
    path = source.run_file(model_name(source.name, run))
    if path is None:
        return None
    for candidate in filter(None, (path, _kept_copy(source, run))):
        # In studies of 0.1.0, neither the runs nor the files say whose they are.
        if candidate.is_file() and (not run.host or study_of_run_file(candidate) == study_id):
            return RunFile(candidate)
    root = str(source.paths.root.resolve())
    if not run.host or (run.host, run.folder) == (socket.gethostname(), root):
        return RunFile(path, _REMOVED)
    return RunFile(path, f"on {run.host} below {run.folder}")


def _kept_copy(source: StudySource, run: Run) -> Path | None:
    """Where the study keeps the file of a run; None if it does not."""
    if (artifact := run.artifacts.get(RUN_FILE)) is None:
        return None
    # Whoever wrote the study, no path in it leads out of its folder.
    return artifact_folder(source.study_folder) / Path(artifact).name


def train_file_of(source: StudySource, run: Run, study_id: str | None) -> Path:
    """The `train.yaml` of a run that is here; arguments as those of `run_file_of`.

    Raises:
        InputError: If it is not known where it is, or it is not here.
    """
    file = run_file_of(source, run, study_id)
    if file is None:
        raise InputError(
            "the storage does not say where the run files are",
            "name the search file too: add --config-path",
        )
    if file.missing == _REMOVED:
        raise InputError(
            f"the file of run {run.number}, {file.path}, does not exist, nor does the study's copy",
            "run files are written on the machine that trains the run: look there, or in a backup",
        )
    if file.missing:
        raise InputError(
            f"the file of run {run.number}, {file.path}, is not in this project",
            f"the run was trained {file.missing}: fetch it from there",
        )
    return file.path


def record_with_file(
    source: StudySource, run: Run, study_id: str | None, runs: Sequence[Run]
) -> dict[str, Any]:
    """The record of a run, and where its `train.yaml` is if it is here.

    Args:
        source: The study.
        run: One of its runs.
        study_id: The study's unique id; None in studies of 0.1.0.
        runs: All of its runs.
    """
    file = run_file_of(source, run, study_id)
    (record,) = detailed_records(source.name, runs, [run])
    return {**record, "train_config": None if file is None or file.missing else str(file.path)}
