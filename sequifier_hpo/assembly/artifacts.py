"""What is kept of every run beside the study: its `train.yaml` and its loss curve."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sequifier_hpo.atomic import StagedFiles
from sequifier_hpo.coordinator.loop import ActiveRun
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.report.loss_curve import loss_curve
from sequifier_hpo.study import Artifact

# Python's own list of types knows neither on every machine.
_YAML, _SVG = "text/yaml", "image/svg+xml"


def artifact_folder(study_folder: Path) -> Path:
    """Where the artifacts of a study are."""
    return study_folder / "artifacts"


class RunArtifacts:
    """Keeps the artifacts of a search's runs in its folder."""

    def __init__(self, study_name: str, folder: Path) -> None:
        """Name the study and its folder of artifacts; it is made when it is needed."""
        self._study_name = study_name
        self._folder = folder

    def keep(self, run: ActiveRun, run_file: Path, losses: Mapping[int, float]) -> list[Artifact]:
        """Write the artifacts of a trial that has ended; what cannot be written is left out.

        The same trial gives the same artifacts again: its end may have to be told twice.

        Args:
            run: The run.
            run_file: Its `train.yaml`.
            losses: Validation loss by epoch.
        """
        kept: list[Artifact] = []
        name = run.config.model_name
        with suppress(OSError, EnvironmentFaultError):
            kept.append(self._write(run, "train.yaml", _YAML, run_file.read_bytes()))
        if losses:
            with suppress(OSError, EnvironmentFaultError):
                picture = loss_curve(name, losses, run.train_losses)
                kept.append(self._write(run, "loss-curve.svg", _SVG, picture.encode()))
        return kept

    def _write(self, run: ActiveRun, filename: str, mimetype: str, content: bytes) -> Artifact:
        trial = f"{self._study_name}/{run.claim.trial_id}/{filename}"
        artifact = Artifact(
            artifact_id=str(uuid.uuid5(uuid.NAMESPACE_URL, trial)),
            filename=filename,
            mimetype=mimetype,
        )
        with StagedFiles() as files:
            files.add(self._folder / artifact.artifact_id, content)
        return artifact
