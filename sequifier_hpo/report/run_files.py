"""The files of a study's runs, as those find them who only look at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.config.run_file import study_of_run_file
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Run
from sequifier_hpo.report.tables import detailed_records, model_name


@dataclass(frozen=True)
class RunFile:
    """The `train.yaml` of a run, as seen from this project."""

    path: Path
    """Where it is, or where it would be if it was here."""
    elsewhere: str
    """Host and folder of the project that holds it; "" if it is here, or nobody knows."""

    @property
    def shown(self) -> str:
        """The path, and where else to look for it."""
        return f"{self.path}, {self.elsewhere}" if self.elsewhere else str(self.path)


def run_file_of(source: StudySource, run: Run, study_id: str | None) -> RunFile | None:
    """Find the `train.yaml` of a run; None if only the search file knows where it is.

    A file under its name may be that of another study's run: then it is not here.

    Args:
        source: The study.
        run: One of its runs.
        study_id: The study's unique id; None in studies of 0.1.0.
    """
    path = source.run_file(model_name(source.name, run))
    if path is None:
        return None
    is_here = not run.host or (path.is_file() and study_of_run_file(path) == study_id)
    return RunFile(path, "" if is_here else f"on {run.host} below {run.folder}")


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
    if file.elsewhere:
        raise InputError(
            f"the file of run {run.number}, {file.path}, is not in this project",
            f"the run was trained {file.elsewhere}: fetch it from there",
        )
    if not file.path.is_file():
        raise InputError(
            f"the file of run {run.number}, {file.path}, does not exist",
            "run files are written on the machine that trains the run: look there",
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
    return {**record, "train_config": None if file is None or file.elsewhere else str(file.path)}
