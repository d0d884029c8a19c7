"""A run's file: its `train.yaml`, with leading comments for what is not part of the run.

Sequifier 1.0.0.6 trains every run file, and refuses keys that it does not know: so what the study
decides about its runs (which positions their validation loss counts, and whose file this is), and
where a run ends within an epoch, stands in comments. Without them, or if they are damaged, all
positions count, the file has no owner, and the last epoch is a whole one.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sequifier_hpo.config.train import TrainConfig, train_yaml
from sequifier_hpo.plain_files import require_file

T = TypeVar("T")

_COUNTED = re.compile(r"# validation loss: .*\(sequifier-hpo: counted=([1-9][0-9]{0,8})\)")
_HEAD_CHARACTERS = 1000  # more than the comments have
_STUDY = re.compile(r"# study: (\S+)")
_BATCHES = re.compile(r"# training: .*\(sequifier-hpo: batches=([1-9][0-9]{0,17})\)")


@dataclass(frozen=True)
class RunFileHead:
    """What the comments at the head of a run file say."""

    counted_last: int | None = None
    """How many positions at the end of each window the validation loss counts; None = all."""
    study_id: str | None = None
    """Unique id of the study that the file belongs to."""
    max_batches: int | None = None
    """After how many batches, of all epochs together, the run ends; None = with its last epoch."""


def run_file_text(
    config: TrainConfig,
    counted_last: int | None,
    study_id: str | None = None,
    max_batches: int | None = None,
) -> str:
    """The text of a run's file.

    Args:
        config: The run.
        counted_last: How many positions at the end of each window the validation loss counts;
            None = all.
        study_id: Unique id of the study that the run belongs to; no white space.
        max_batches: After how many batches the run ends; None = with its last epoch.
    """
    lines = []
    if counted_last is not None:
        which = "position" if counted_last == 1 else f"{counted_last} positions"
        lines.append(
            f"# validation loss: over the last {which} of every window "
            f"(sequifier-hpo: counted={counted_last})\n"
        )
    if study_id is not None:
        lines.append(f"# study: {study_id}\n")
    if max_batches is not None:
        lines.append(
            f"# training: ends after {max_batches} batches, maybe within the last epoch "
            f"(sequifier-hpo: batches={max_batches})\n"
        )
    return "".join(lines) + train_yaml(config)


def read_run_file_head(text: str) -> RunFileHead:
    """What the comments at the head of a file say, which may be any `train.yaml`."""
    counted: list[int] = []
    studies: list[str] = []
    batches: list[int] = []
    for line in text.removeprefix("\ufeff").splitlines():
        if line.strip() and not line.startswith("#"):
            break
        if found := _COUNTED.fullmatch(line.rstrip()):
            counted.append(int(found[1]))
        elif found := _STUDY.fullmatch(line.rstrip()):
            studies.append(found[1])
        elif found := _BATCHES.fullmatch(line.rstrip()):
            batches.append(int(found[1]))
    return RunFileHead(_only(counted), _only(studies), _only(batches))


def study_of_run_file(path: Path) -> str | None:
    """Unique id of the study that a run file belongs to; None if it does not say so."""
    require_file(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        return read_run_file_head(file.read(_HEAD_CHARACTERS)).study_id


def _only(values: list[T]) -> T | None:
    """The value that was found, once or again and again; None if there is none, or another too."""
    return values[0] if len(set(values)) == 1 else None
