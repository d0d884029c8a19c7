"""Project paths: how paths in YAML files relate to `project_root`, and where results are kept.

Every name of a result file is defined here, once.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath


def expanded(path: str) -> str:
    """A path with `~` as a shell reads it: where a path is read, no shell may have come before.

    `./~` is a folder of that name.
    """
    return os.path.expanduser(path)  # noqa: PTH111 - pathlib takes `./~` for `~`


def expanded_path(path: str) -> Path:
    """A path on the command line; a shell leaves the `~` of `--option=~/file` alone."""
    return Path(expanded(path))


def project_path(path: str, project_root: str) -> str:
    """Resolve a path of a YAML file against the project root, as Sequifier does.

    A leading project root is not added twice; an absolute path stays what it is. Unlike the
    reference, a root inside the path's text is left alone (`../x` stays `../x`).
    """
    path, project_root = expanded(path), expanded(project_root)
    root = project_root.rstrip("/") + "/"
    rest = path[len(root) :] if path.startswith(root) else path
    if rest.startswith("/"):
        return rest
    return root + rest


def split_path(path: str, project_root: str) -> str:
    """Where a split is that the metadata name, in the project as it lies now.

    Preprocessing writes splits into the folder `data`, and their paths with the project root of
    that day.
    """
    name = PurePosixPath(path)
    is_usual = name.parent.name == "data"
    return project_path(f"data/{name.name}" if is_usual else path, project_root)


@dataclass(frozen=True)
class ProjectPaths:
    """Where the files of one project are."""

    root: Path

    @property
    def logs(self) -> Path:
        """Folder of the runs' logs."""
        return self.root / "logs"

    @property
    def models(self) -> Path:
        """Folder of exported models."""
        return self.root / "models"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.root / "checkpoints"

    @property
    def window_cache(self) -> Path:
        """Folder of the files that lazily loaded shards are read from; may be deleted."""
        return self.root / "data" / "window-cache"

    def study_folder(self, study_name: str) -> Path:
        """Folder of one study's storage, results and report."""
        return self.root / "studies" / study_name

    def log(self, model_name: str) -> Path:
        """The run's log for people."""
        return self.logs / f"sequifier-{model_name}.log"

    def metrics(self, model_name: str) -> Path:
        """The run's log for machines: one JSON object a line."""
        return self.logs / f"sequifier-{model_name}-metrics.jsonl"

    def checkpoint(self, model_name: str, epoch: int) -> Path:
        """State after an epoch."""
        return self.checkpoints / f"{model_name}-epoch-{epoch}.pt"

    def interrupted_checkpoint(self, model_name: str) -> Path:
        """State in the middle of an epoch; hidden, so that no other tool takes it for an epoch's."""
        return self.checkpoints / f".{model_name}-interrupted.pt"

    def epoch_of_checkpoint(self, model_name: str, file_name: str) -> int | None:
        """The epoch in a checkpoint's file name, or None if the file belongs to another model."""
        match = re.fullmatch(re.escape(model_name) + r"-epoch-(\d+)\.pt", file_name)
        return int(match[1]) if match else None

    def checkpoints_of(self, model_name: str) -> list[Path]:
        """The checkpoints that lie under a model's name, whatever they are of."""
        if not self.checkpoints.is_dir():
            return []
        interrupted = self.interrupted_checkpoint(model_name)
        return sorted(
            path
            for path in self.checkpoints.iterdir()
            if path == interrupted or self.epoch_of_checkpoint(model_name, path.name) is not None
        )

    def model(
        self, model_name: str, kind: str, epoch: int, suffix: str, *, embedding: bool
    ) -> Path:
        """A model file; `kind` is best or last, `epoch` the last epoch that was run."""
        middle = f"{kind}-embedding" if embedding else kind
        return self.models / f"sequifier-{model_name}-{middle}-{epoch}.{suffix}"


def evaluation_name(run_number: int, split: str) -> str:
    """Path of what a run was found to be worth on a split, below its study's folder."""
    return f"evaluations/run-{run_number}-{split}.json"


def is_model_of(model_name: str, file_name: str) -> bool:
    """Whether a file name is one that `ProjectPaths.model` gives to a model of that name."""
    kinds = r"-(best|last)(-embedding)?-\d+\.(onnx|pt)"
    return re.fullmatch(re.escape(f"sequifier-{model_name}") + kinds, file_name) is not None


def run_name(study_name: str, run_number: int) -> str:
    """Model name of a run: `{study}-run-{k}`."""
    return f"{study_name}-run-{run_number}"


def verification_name(study_name: str, last_positions: int | None = None) -> str:
    """Name of the study that checks the winners of a search; no search may have a slash in its name.

    Args:
        study_name: The search.
        last_positions: How many positions its losses count, if there were more of them once.
    """
    return _with_positions(f"{study_name}/verify", last_positions)


def retraining_name(
    study_name: str, run_number: int, seed: int, last_positions: int | None = None
) -> str:
    """Model name of a run that is trained again with another seed; `last_positions` as above."""
    return _with_positions(f"{run_name(study_name, run_number)}-seed-{seed}", last_positions)


def _with_positions(name: str, last_positions: int | None) -> str:
    return name if last_positions is None else f"{name}-last-{last_positions}"
