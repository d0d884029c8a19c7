"""Notes and artifacts in the form in which optuna-dashboard looks for them.

A note is Markdown, cut into attributes of the study, also if it is about a trial: the dashboard
lets people change it after the trial has ended. An artifact is a file named by its id in a folder,
and an attribute of its trial that describes it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from sequifier_hpo.plain_files import parse_json

OUR_VERSION = 1
"""Version of a note as we write it. The dashboard counts up when a person changes it."""
MAX_TRIAL_NOTES = 1000
"""Trials from this number on have no note: the dashboard goes through all notes for each trial."""
_MAX_CHUNK = 2045  # characters
_ARTIFACT = "artifacts:"


@dataclass(frozen=True)
class Artifact:
    """A file about a trial; its content lies under its id in the study's folder of artifacts."""

    artifact_id: str
    filename: str
    mimetype: str
    encoding: str | None = None


def prefix_of(trial_id: int | None) -> str:
    """What the names of a note's attributes begin with; None = the note on the study."""
    return "dashboard:" if trial_id is None else f"dashboard:{trial_id}:"


def note_attributes(body: str, trial_id: int | None = None) -> dict[str, Any]:
    """System attributes of the study that hold a note; None = the note on the study."""
    prefix = prefix_of(trial_id)
    chunks = [body[start : start + _MAX_CHUNK] for start in range(0, len(body), _MAX_CHUNK)]
    parts = {f"{prefix}note_str:{i}": chunk for i, chunk in enumerate(chunks)}
    return {f"{prefix}note_ver": OUR_VERSION, **parts}


def note_of(attributes: Mapping[str, Any], trial_id: int | None = None) -> dict[str, Any]:
    """A note as the dashboard wants it, out of all system attributes of a study."""
    prefix = prefix_of(trial_id)
    chunks: list[str] = []
    while (chunk := attributes.get(f"{prefix}note_str:{len(chunks)}")) is not None:
        chunks.append(chunk)
    version = int(attributes.get(f"{prefix}note_ver", 0))
    return {"version": version, "body": "".join(chunks) if version else ""}


def artifact_attributes(artifacts: Iterable[Artifact]) -> dict[str, str]:
    """System attributes of a trial that describe its artifacts."""
    return {f"{_ARTIFACT}{a.artifact_id}": json.dumps(asdict(a)) for a in artifacts}


def artifacts_of(
    study_attributes: Mapping[str, Any], trial_attributes: Mapping[str, Any], trial: FrozenTrial
) -> list[dict[str, Any]]:
    """The artifacts of a trial as the dashboard wants them; null stands for one removed there.

    Args:
        study_attributes: Not used: the place of artifacts in very old studies, none of them ours.
        trial_attributes: All system attributes of the trial.
        trial: Not used.
    """
    del study_attributes, trial
    return described(trial_attributes)


def described(trial_attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the system attributes of a trial say of its artifacts."""
    texts = [text for key, text in trial_attributes.items() if key.startswith(_ARTIFACT)]
    return [artifact for text in texts if (artifact := parse_json(text)) is not None]


def artifact_store(folder: Path) -> Any:
    """The folder of artifacts as Optuna's own programs take it."""
    return optuna.artifacts.FileSystemArtifactStore(folder)
