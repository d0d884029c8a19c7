"""What is kept of every run outside the study: its `train.yaml` and its loss curve."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sequifier_hpo.atomic import StagedFiles
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.report.loss_curve import loss_curve
from sequifier_hpo.study import Artifact

# Python's own table of MIME types lacks these on some machines.
_YAML, _SVG = "text/yaml", "image/svg+xml"


def artifact_folder(study_folder: Path) -> Path:
    """Where the artifacts of a study are."""
    return study_folder / "artifacts"


def keep_artifacts(
    folder: Path, study_name: str, run: ActiveRun, run_file: Path, losses: Mapping[int, float]
) -> list[Artifact]:
    """Write the artifacts of a finished trial; what cannot be written is skipped.

    Idempotent: the end of a trial may have to be reported twice.

    Args:
        folder: Target folder; created on demand.
        study_name: The study of the trial.
        run: What the trial trained.
        run_file: Its `train.yaml`.
        losses: Validation loss by epoch.
    """

    def keep(filename: str, mimetype: str, content: bytes) -> None:
        trial = f"{study_name}/{run.claim.trial_id}/{filename}"
        artifact_id = str(uuid.uuid5(uuid.NAMESPACE_URL, trial))
        with StagedFiles(waits_for_disk=False) as files:  # a copy, and a picture
            files.add(folder / artifact_id, content)
        kept.append(Artifact(artifact_id, filename, mimetype))

    kept: list[Artifact] = []
    with suppress(OSError, EnvironmentFaultError):
        keep("train.yaml", _YAML, run_file.read_bytes())
    if losses:
        with suppress(EnvironmentFaultError):
            picture = loss_curve(run.config.model_name, losses, run.train_losses)
            keep("loss-curve.svg", _SVG, picture.encode())
    return kept
