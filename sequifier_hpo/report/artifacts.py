"""What is kept of every run outside the study: its `train.yaml` and its loss curve."""

import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sequifier_hpo.atomic import StagedFiles
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.plain_files import make_own_folder, read_plain
from sequifier_hpo.report.loss_curve import loss_curve
from sequifier_hpo.study import Artifact

# Python's own table of MIME types lacks these on some machines.
RUN_FILE = "train.yaml"
"""Name of the artifact that is a copy of the run's file."""
_YAML, _SVG = "text/yaml", "image/svg+xml"


def artifact_folder(study_folder: Path) -> Path:
    """Where the artifacts of a study are."""
    return study_folder / "artifacts"


def keep_artifacts(
    folder: Path,
    trial: str,
    run_file: Path,
    *,
    title: str,
    losses: Mapping[int, float],
    train_losses: Mapping[int, float],
) -> list[Artifact]:
    """Write the artifacts of a finished trial; what cannot be written is skipped.

    Idempotent: the end of a trial may have to be reported twice.

    Args:
        folder: Where to; it is made when it is needed.
        trial: What no other trial is called.
        run_file: Its `train.yaml`.
        title: The run's name, above its loss curve.
        losses: Validation loss by epoch.
        train_losses: Training loss by epoch, of which some may be missing.
    """

    def keep(filename: str, mimetype: str, content: bytes) -> None:
        make_own_folder(folder)
        artifact_id = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{trial}/{filename}"))
        with StagedFiles(waits_for_disk=False) as files:  # a copy, and a picture
            files.add(folder / artifact_id, content)
        kept.append(Artifact(artifact_id, filename, mimetype))

    kept: list[Artifact] = []
    with suppress(OSError, EnvironmentFaultError):
        keep(RUN_FILE, _YAML, read_plain(run_file))
    if losses:
        with suppress(OSError, EnvironmentFaultError):
            picture = loss_curve(title, losses, train_losses)
            keep("loss-curve.svg", _SVG, picture.encode())
    return kept
