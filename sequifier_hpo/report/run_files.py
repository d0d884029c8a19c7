"""The files of a study's runs, as those find them who only look at it."""

from pathlib import Path

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.config.paths import run_name
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Run


def train_file_of(source: StudySource, run: Run) -> Path:
    """The `train.yaml` of a run.

    Raises:
        InputError: If it is not known where it is, or it is not there.
    """
    model_name = model_name_of(source.name, run)
    path = source.run_file(model_name)
    if path is None:
        raise InputError(
            "the storage does not say where the run files are",
            "name the search file too: add --config-path",
        )
    if not path.is_file():
        raise InputError(
            f"the file of run {run.number}, {path}, does not exist",
            f"it was trained on {run.host}, below {run.folder}: look there"
            if run.host
            else "run files are written on the machine that trains the run: look there",
        )
    return path


def model_name_of(study_name: str, run: Run) -> str:
    """Model name of a run; a duplicate cell has that of the run whose result it took."""
    return run_name(study_name, run.number if run.duplicate_of is None else run.duplicate_of)
