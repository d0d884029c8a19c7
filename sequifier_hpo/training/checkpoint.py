"""Checkpoints of one run: written atomically, found again, thinned out.

A checkpoint of an epoch has the keys of Sequifier's, and under `sequifier_hpo` what a bit-for-bit
continuation needs besides. Only the newest two epochs are kept while a run trains, so that a
damaged file leaves one to fall back to, and only the last when it has finished. (Sequifier keeps
every one.) A run that was stopped in the middle of an epoch leaves one more, hidden file.

A checkpoint under a run's name need not be its own: see `origin`.
"""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sequifier_hpo.atomic import MAKE_ROOM, StagedFiles, explaining, remove_unfinished
from sequifier_hpo.config.paths import ProjectPaths
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.plain_files import require_file
from sequifier_hpo.records import RunIdentity
from sequifier_hpo.training.memory import is_out_of_memory
from sequifier_hpo.training.origin import Origin, Verdict, judge, without_influence
from sequifier_hpo.words import counted, first_line

OWN_KEY = "sequifier_hpo"
_KEPT_WHILE_TRAINING = 2
NO_KEYS = "it lacks the keys of a checkpoint"
_SEQUIFIER_KEYS = frozenset({"epoch", "model_state_dict", "optimizer_state_dict"})


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint that can be continued."""

    path: Path
    content: dict[str, Any]
    verdict: Verdict

    @property
    def is_own(self) -> bool:
        """Whether it holds our keys too; otherwise Sequifier itself wrote it."""
        return OWN_KEY in self.content


class CheckpointStore:
    """The checkpoint files of one run."""

    def __init__(
        self, paths: ProjectPaths, model_name: str, on_message: Callable[[str], None]
    ) -> None:
        self._paths = paths
        self._model_name = model_name
        self._tell = on_message

    def save_epoch(self, epoch: int, content: dict[str, Any], *, is_final: bool) -> None:
        """Write the checkpoint after an epoch, then remove those it makes superfluous.

        Raises:
            EnvironmentFaultError: If the file cannot be written.
        """
        self._write(self._paths.checkpoint(self._model_name, epoch), content)
        if is_final:
            self.tidy()
        else:
            self._keep(_KEPT_WHILE_TRAINING)

    def tidy(self) -> None:
        """Leave of a run that is complete the newest epoch's checkpoint and nothing else."""
        self._keep(1)
        self._remove_unfinished()

    def save_interrupted(self, content: dict[str, Any]) -> None:
        """Write the state between two epochs' checkpoints.

        Raises:
            EnvironmentFaultError: If the file cannot be written.
        """
        self._write(self._paths.interrupted_checkpoint(self._model_name), content)

    def newest(
        self, run: Origin, last_epoch: int, *, trusts: bool = False
    ) -> FoundCheckpoint | None:
        """The most advanced sound checkpoint, if it is one that the run continues.

        Args:
            run: The run that wants to continue.
            last_epoch: The epoch with which that run ends.
            trusts: Whether checkpoints that do not say of which data they are, are of the present.

        Returns:
            The checkpoint; None if there is none, or nothing but what a fresh start may replace.

        Raises:
            InputError: If there is one that the run cannot continue and must not replace.
        """
        for path, content, verdict in self._judged(run, last_epoch, trusts=trusts):
            if verdict.is_continued:
                return FoundCheckpoint(path, content, verdict)
            self.pass_over(path, verdict, run)
        return None

    def check_replaceable(self, run: Origin, last_epoch: int) -> None:
        """Make sure that a fresh start of the run takes away nothing but its own checkpoints.

        Args:
            run: The run that starts afresh.
            last_epoch: The epoch with which it ends.

        Raises:
            InputError: If there is one that it should not remove unasked.
        """
        for path, _, verdict in self._judged(run, last_epoch, trusts=False):
            if not verdict.is_replaceable:
                raise _refusal(f"a fresh start would remove {path}", verdict)

    def pass_over(self, path: Path, verdict: Verdict, run: Origin) -> None:
        """Skip a checkpoint, and with it the progress that the run would have continued.

        Raises:
            InputError: If the run must not start afresh in its place.
        """
        # A search goes on by itself; `train` tells its user what cannot be continued.
        if run.is_alone or not verdict.is_replaceable:
            raise _refusal(f"{path} cannot be continued", verdict)
        self._tell(f"skipping the checkpoint {path}: {'; '.join(verdict.reasons)}")

    def remove_all(self) -> None:
        """Remove every checkpoint of exactly this model name, whatever run wrote it."""
        stale = [self._paths.checkpoint(self._model_name, epoch) for epoch in self._epochs()]
        if stale:
            self._tell(
                f"starting afresh: removing {counted(len(stale), 'older checkpoint')} of this run"
            )
        for path in [*stale, self._paths.interrupted_checkpoint(self._model_name)]:
            _remove(path)
        self._remove_unfinished()

    def _judged(
        self, run: Origin, last_epoch: int, *, trusts: bool
    ) -> Iterator[tuple[Path, dict[str, Any], Verdict]]:
        """Every sound checkpoint, the most advanced first, and what the run may do with it."""
        for path, content in self.sound():
            verdict = judge(run, content.get(OWN_KEY), trusts=trusts)
            if verdict.is_continued and self._num_epochs_of(path, content) > last_epoch:
                verdict = verdict.hindered(
                    f"it is past epoch {last_epoch}, the last one of this run",
                    # Nobody asked the search for it: a user trained the run on by hand.
                    is_lost=run.is_of_study,
                )
            yield path, content, verdict

    def sound(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Every checkpoint of this model name that can be read, the most advanced first."""
        path = self._paths.interrupted_checkpoint(self._model_name)
        interrupted = self._read(path) if path.exists() else None
        for epoch in self._epochs():
            if interrupted is not None and interrupted["epoch"] >= epoch:
                yield path, interrupted
                interrupted = None
            of_epoch = self._paths.checkpoint(self._model_name, epoch)
            if (content := self._read(of_epoch)) is not None:
                yield of_epoch, content
        if interrupted is not None:
            yield path, interrupted

    def _num_epochs_of(self, path: Path, content: dict[str, Any]) -> int:
        """The number of epochs of the shortest run that can continue a checkpoint."""
        is_midway = path == self._paths.interrupted_checkpoint(self._model_name)
        return int(content["epoch"]) + is_midway

    def _keep(self, num_epochs: int) -> None:
        """Remove what the newest epochs' checkpoints make superfluous."""
        _remove(self._paths.interrupted_checkpoint(self._model_name))
        for old_epoch in self._epochs()[num_epochs:]:
            _remove(self._paths.checkpoint(self._model_name, old_epoch))

    def _remove_unfinished(self) -> None:
        """Remove what processes that were killed while writing left behind, on any host."""
        interrupted = self._paths.interrupted_checkpoint(self._model_name).name

        def is_own(name: str) -> bool:
            epoch = self._paths.epoch_of_checkpoint(self._model_name, name)
            return epoch is not None or name == interrupted

        remove_unfinished(self._paths.checkpoints, is_own)

    def _epochs(self) -> list[int]:
        """Epochs of this model name that have a checkpoint, newest first."""
        return sorted(self._epochs_on_disk(), reverse=True)

    def _epochs_on_disk(self) -> Iterator[int]:
        if not self._paths.checkpoints.is_dir():
            return
        for path in self._paths.checkpoints.iterdir():
            epoch = self._paths.epoch_of_checkpoint(self._model_name, path.name)
            # A number with leading zeros would be another file's name.
            if epoch is not None and path == self._paths.checkpoint(self._model_name, epoch):
                yield epoch

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            return read_checkpoint(path)
        except DamagedCheckpointError as error:
            self._tell(f"skipping the damaged checkpoint {path}: {error}")
            return None

    def _write(self, path: Path, content: dict[str, Any]) -> None:
        try:
            self._write_once(path, content)
        except EnvironmentFaultError as error:
            if not isinstance(error.__cause__, FileNotFoundError):
                raise
            # An attempt that was taken for dead ended after all, and cleaned up.
            self._write_once(path, content)

    def _write_once(self, path: Path, content: dict[str, Any]) -> None:
        try:
            with StagedFiles() as files, files.open(path) as file:
                torch.save(content, file)
        except RuntimeError as error:  # torch's word for a write that failed
            if is_out_of_memory(error):
                raise
            raise EnvironmentFaultError(f"cannot write {path}: {error}", MAKE_ROOM) from error


class DamagedCheckpointError(Exception):
    """A file is not a checkpoint, or not a whole one."""


def _refusal(problem: str, verdict: Verdict) -> InputError:
    reasons = "".join(f"\n    {reason}" for reason in verdict.reasons)
    return InputError(f"{problem}:{reasons}", verdict.fix)


def _remove(path: Path) -> None:
    with explaining(path):
        path.unlink(missing_ok=True)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of ours or of Sequifier's, without running code from it.

    Raises:
        DamagedCheckpointError: If the file is truncated or changed, or is not a checkpoint.
    """
    content = read_torch_file(path)
    if not content.keys() >= _SEQUIFIER_KEYS:
        raise DamagedCheckpointError(NO_KEYS)
    return content


def read_torch_file(path: Path) -> dict[str, Any]:
    """Read what torch wrote, a checkpoint or a model, without running code from it.

    Raises:
        DamagedCheckpointError: If the file is truncated or changed, or holds something else.
    """
    try:
        require_file(path)
        _check_sums(path)
        with torch.serialization.safe_globals(_numpy_scalars()):
            content = torch.load(path, weights_only=True, map_location="cpu")
    except (
        *(OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile),
        *(KeyError, IndexError, TypeError, AttributeError, ValueError),
    ) as error:
        if is_out_of_memory(error):
            raise
        raise DamagedCheckpointError(_reason(error)) from error
    if not isinstance(content, dict):
        raise DamagedCheckpointError(NO_KEYS)
    return content


def _check_sums(path: Path) -> None:
    """Compare every record of the file with the checksum that torch wrote and does not read."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            # torch compresses nothing, and a few bytes may be the zeros of gigabytes.
            if any(record.compress_type != zipfile.ZIP_STORED for record in archive.infolist()):
                raise zipfile.BadZipFile("its numbers are compressed")
            if (record := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"the checksum of {record} is wrong")


def _reason(error: Exception) -> str:
    if isinstance(error, pickle.UnpicklingError):  # torch's own message advises running its code
        return "it holds something other than numbers and tensors"
    return first_line(error)


def origin_of(
    config: TrainConfig, num_training_windows: int, identity: RunIdentity | None
) -> Origin:
    """What the checkpoints of a run say about it.

    Args:
        config: The run.
        num_training_windows: Of its training split.
        identity: What it is to those who ordered it.
    """
    return Origin(identity, weight_fields(config), fingerprint_of(config, num_training_windows))


def weight_fields(config: TrainConfig) -> dict[str, Any]:
    """The JSON values of all fields that shape the weights, under their names.

    Of the columns of the data only those that the run reads: a table may grow by others. The whole
    architecture is among them; `judge` passes over what of it has no influence.
    """
    values = _fields_with_influence(config)
    read = config.columns_read
    for key in ("column_types", "n_classes"):
        values[key] = {column: value for column, value in values[key].items() if column in read}
    sections = [values.pop("model_spec"), values.pop("training_spec")]
    return {**values, **sections[0], **sections[1]}


def fingerprint_of(config: TrainConfig, num_training_windows: int) -> str:
    """SHA-256 of everything that shapes the course of a training run.

    Without paths and names, and without what only decides when a run ends: a run continued with
    more epochs proceeds exactly as if it had had them from the start. Version 0.1.0 knows its
    checkpoints by it.
    """
    values = _fields_with_influence(config)
    values["num_training_windows"] = num_training_windows
    return hashlib.sha256(json.dumps(values, sort_keys=False).encode()).hexdigest()


def _fields_with_influence(config: TrainConfig) -> dict[str, Any]:
    """As version 0.1.0 chose them, which left out nothing of the architecture."""
    values = config.model_dump(mode="json")
    for holder in (values, values["training_spec"]):
        for name in without_influence(type(config)) & holder.keys():
            del holder[name]
    return values


def _numpy_scalars() -> list[Any]:
    """What the numpy float32 under `loss` in Sequifier's checkpoints is made of."""
    rebuild = np.float32(0).__reduce__()[0]
    module = "numpy.core.multiarray" if "_core" in rebuild.__module__ else "numpy._core.multiarray"
    other_spelling = (rebuild, f"{module}.scalar")  # files written with the other major version
    dtypes = [type(np.dtype(kind)) for kind in (np.float32, np.float64)]
    return [rebuild, other_spelling, np.dtype, *dtypes]
