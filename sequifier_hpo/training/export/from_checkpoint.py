"""The best model of a run that left a checkpoint and no model file, as ONNX.

Run as `python -m sequifier_hpo.training.export.from_checkpoint`; see `answering`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sequifier_hpo.config.paths import ProjectPaths
from sequifier_hpo.config.train import TrainConfig, load_train_config
from sequifier_hpo.errors import InputError
from sequifier_hpo.training.answering import answer
from sequifier_hpo.training.checkpoint import OWN_KEY, CheckpointStore
from sequifier_hpo.training.export.models import export_models, onnx_only
from sequifier_hpo.training.progress import Progress


@dataclass(frozen=True)
class Wanted:
    """The run whose model is wanted."""

    run_file: Path
    """Its `train.yaml`."""
    study_id: str | None
    """None = it belongs to no study, or to one of 0.1.0."""
    key: str
    loss: float | None
    """Its best validation loss; None = not known."""


def export_from_checkpoint(wanted: Wanted, folder: Path) -> Path:
    """Write the ONNX model of a run's best epoch so far.

    Args:
        wanted: The run.
        folder: Where to write; not the folder of the project.

    Returns:
        The file.

    Raises:
        InputError: If there is no checkpoint of the run, or it was stopped before its first epoch
            ended.
    """
    config = load_train_config(wanted.run_file)
    path, content = _newest(config)
    own = content.get(OWN_KEY)
    if own is None:
        raise InputError(
            f"{path} was written by Sequifier, and does not say which epoch was the best",
            f"continue the run: `sequifier-hpo train --config-path {wanted.run_file}`",
        )
    progress = Progress(**own["progress"])
    if _is_of_another_run(own, progress, wanted):
        raise InputError(
            f"{path} is not the checkpoint of this run, but of another under the same name",
            f"train the run again: `sequifier-hpo train --config-path {wanted.run_file}`",
        )
    if progress.best_state is None:
        raise InputError(
            f"{path} was written before the first epoch ended",
            "let the run go on: start the search again, or train its file",
        )
    assert progress.best_epoch is not None
    assert progress.best_validation_loss is not None
    (file, *_) = export_models(
        onnx_only(config),
        best_state=progress.best_state,
        last_state=progress.best_state,
        last_epoch=progress.epoch,
        best_epoch=progress.best_epoch,
        best_validation_loss=progress.best_validation_loss,
        best_validation_loss_all_positions=progress.best_validation_loss_all_positions,
        num_counted=own.get("num_counted"),
        paths=ProjectPaths(folder),
    )
    return folder / file


def _is_of_another_run(own: Mapping[str, Any], progress: Progress, wanted: Wanted) -> bool:
    if wanted.loss is not None and progress.best_validation_loss != wanted.loss:
        return True
    identity = own.get("identity") or {}
    study_id = identity.get("study_id")
    return study_id is not None and (study_id, identity["key"]) != (wanted.study_id, wanted.key)


def _newest(config: TrainConfig) -> tuple[Path, dict[str, Any]]:
    """The most advanced checkpoint under the run's name that can be read."""
    store = CheckpointStore(config.paths, config.model_name, lambda _: None)
    for found in store.sound():
        return found
    raise InputError(
        f"the run {config.model_name} has neither a model in {config.paths.models} nor a "
        f"checkpoint in {config.paths.checkpoints}",
        "fetch one from where it was trained, or train the run again: `sequifier-hpo train` "
        "with its file",
    )


def _handle(request: Mapping[str, Any]) -> dict[str, str]:
    wanted = Wanted(Path(request["run_file"]), request["study_id"], request["key"], request["loss"])
    return {"path": str(export_from_checkpoint(wanted, Path(request["folder"])))}


if __name__ == "__main__":
    answer(_handle)
