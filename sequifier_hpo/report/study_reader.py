"""Read a study as it stands, without changing it, also while a search runs."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.config.storage_url import sqlite_path
from sequifier_hpo.errors import InputError
from sequifier_hpo.report.latencies import with_latencies
from sequifier_hpo.study import (
    Storage,
    StudyMissingError,
    StudySnapshot,
    as_it_stands,
    read_study,
)


class NotStartedError(InputError):
    """There is no such study yet."""


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
        with self._naming_the_way():
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
        with self._naming_the_way():
            snapshot = read_study(self._storage, self._source.name)
        if self._source.with_outside:
            snapshot = snapshot.with_outside
        runs = [as_it_stands(run) for run in snapshot.runs]
        return replace(snapshot, runs=tuple(with_latencies(self._source.study_folder, runs)))

    @property
    def cached_storage(self) -> Any:
        """The storage as Optuna's own programs take it."""
        return self._storage.cached

    @property
    def study_id(self) -> int:
        """The study's number in the storage."""
        return int(self._storage.cached.get_study_id_from_name(self._source.name))

    @contextmanager
    def _naming_the_way(self) -> Iterator[None]:
        try:
            yield
        except StudyMissingError as error:
            raise NotStartedError(error.problem, f"{error.fix}; or {self._how()}") from error

    def _how(self) -> str:
        source = self._source
        if source.search_file is None or source.needs_name:
            return "check --storage and --study-name"
        check = "check --storage, or " if source.needs_storage else ""
        return f"{check}start it with `sequifier-hpo hyperparameter-search {source.options}`"


def _never_started(source: StudySource, file: Path, how_to_start: str) -> InputError:
    """The error for a study without a file: it is new, or it is somewhere else."""
    if source.search_file is not None and not file.is_absolute():
        for folder in source.search_file.resolve().parents:
            if (folder / file).exists():
                return InputError(
                    f"there is no {file} in the working directory {Path.cwd()}, but one in {folder}",
                    "paths in the search file are relative to the working directory: "
                    f"`cd {shlex.quote(str(folder))}` first",
                )
    return NotStartedError(
        f"the study `{source.name}` was never started: there is no {file}", how_to_start
    )


def read_source(source: StudySource) -> StudySnapshot:
    """Read a study once; errors as those of `StudyReader`."""
    with StudyReader(source) as reader:
        return reader.read()
