"""Read a study as it stands, without changing it, also while a search runs."""

import shlex
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sequifier_hpo.assembly.locate import StudySource, source_of
from sequifier_hpo.assembly.places import study_of_run_file
from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.config.paths import run_name
from sequifier_hpo.config.storage_url import sqlite_path
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Run, RunState
from sequifier_hpo.searchspace import describe_space, differences
from sequifier_hpo.study import (
    Owner,
    SpaceChangedError,
    Storage,
    StudyMissingError,
    StudySnapshot,
    UnknownDataError,
    read_study,
)


class StudyReader:
    """An open storage from which a study can be read again and again."""

    def __init__(self, source: StudySource, *, allow_changes: bool = False) -> None:
        """Open the storage.

        Args:
            source: The study.
            allow_changes: Whether `cached_storage` may be written to.

        Raises:
            InputError: If the study was never started.
            EnvironmentFaultError: If the storage cannot be reached.
        """
        self._source = source
        file = sqlite_path(source.storage_url)
        if file is not None and not file.exists():
            raise _never_started(source, file, self._how())
        self._storage = Storage(source.storage_url, is_for_reading=not allow_changes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._storage.close()

    def read(self) -> StudySnapshot:
        """The study as it stands; runs whose coordinator died on this host count as interrupted.

        Raises:
            InputError: If the storage holds no such study.
        """
        try:
            snapshot = read_study(self._storage, self._source.name)
        except StudyMissingError as error:
            raise InputError(error.problem, f"{error.fix}; or {self._how()}") from error
        return replace(snapshot, runs=tuple(_as_it_stands(run) for run in snapshot.runs))

    @property
    def cached_storage(self) -> Any:
        """The storage as Optuna's own programs take it."""
        return self._storage.cached

    @property
    def study_id(self) -> int:
        """The study's number in the storage."""
        return int(self._storage.cached.get_study_id_from_name(self._source.name))

    def _how(self) -> str:
        source = self._source
        if source.search_file is None or source.needs_name:
            return "check --storage and --study-name"
        check = "check --storage, or " if source.needs_storage else ""
        return f"{check}start it with `sequifier-hpo hyperparameter-search {source.options}`"


def _never_started(source: StudySource, file: Path, how_to_start: str) -> InputError:
    """What to say of a study without a file: that it is new, or that it is somewhere else."""
    if source.search_file is not None and not file.is_absolute():
        for folder in source.search_file.resolve().parents:
            if (folder / file).exists():
                return InputError(
                    f"there is no {file} in the working directory {Path.cwd()}, but one in {folder}",
                    "paths in the search file are relative to the working directory: "
                    f"`cd {shlex.quote(str(folder))}` first",
                )
    return InputError(
        f"the study `{source.name}` was never started: there is no {file}", how_to_start
    )


def read_source(source: StudySource) -> StudySnapshot:
    """Read a study once; errors as those of `StudyReader`."""
    with StudyReader(source) as reader:
        return reader.read()


def existing_study(prepared: PreparedSearch) -> StudySnapshot | None:
    """The study of a search as it stands, or None if it was never started.

    Raises:
        SpaceChangedError, DataChangedError: If it is not the study of this search file and its
            data.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    with closing(Storage(prepared.storage_url, is_for_reading=True)) as storage:
        try:
            found = read_study(storage, prepared.name)
        except StudyMissingError:
            return None
    changed = differences(found.space, describe_space(prepared.space))
    if found.space and changed:
        raise SpaceChangedError(prepared.name, changed)
    if found.identity is not None:
        found.identity.require_data(prepared.name, prepared.data, found.runs)
    return found


def read_search(prepared: PreparedSearch) -> StudySnapshot:
    """The study whose winner is to be checked, as it stands.

    Raises:
        InputError: If the search was never started.
        SpaceChangedError, DataChangedError, UnknownDataError: If it is not the study of this
            search file and its data.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    snapshot = read_source(source_of(prepared))
    changed = differences(snapshot.space, describe_space(prepared.space))
    if changed:
        raise SpaceChangedError(prepared.name, changed)
    if snapshot.identity is None:
        raise UnknownDataError(prepared.name)
    snapshot.identity.require_data(prepared.name, prepared.data, snapshot.runs)
    return snapshot


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
    path = source.run_file(model_name_of(source.name, run))
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


def model_name_of(study_name: str, run: Run) -> str:
    """Model name of a run; a duplicate cell has that of the run whose result it took."""
    return run_name(study_name, run.number if run.duplicate_of is None else run.duplicate_of)


def _as_it_stands(run: Run) -> Run:
    """The run, with its state corrected if nobody works on it any more."""
    owner = run.attributes.get("owner")
    if run.state != RunState.RUNNING or not isinstance(owner, str):
        return run
    holder = Owner.model_validate_json(owner)
    if holder.is_on_this_host() and holder.is_dead():
        return replace(run, state=RunState.INTERRUPTED, reason="lost")
    return run
