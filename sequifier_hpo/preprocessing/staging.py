"""Results that appear whole or not at all: written under temporary names, renamed at the end."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sequifier_hpo.errors import EnvironmentFaultError, InputError


class StagedOutputs:
    """The files and folders of one run, hidden next to their final names until `publish`.

    Used as a context manager: what was not published is removed.
    """

    def __init__(self) -> None:
        self._staged: dict[Path, Path] = {}
        self._scratch: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for path in (*self._staged.values(), *self._scratch):
            _remove(path)

    def stage(self, final: Path) -> Path:
        """The temporary path to write to in place of `final`; its folder exists."""
        temporary = _hidden_beside(final)
        self._staged[final] = temporary
        return temporary

    def scratch_folder(self, near: Path) -> Path:
        """A new folder beside `near` that is never published."""
        folder = _hidden_beside(near.with_name(f"{near.name}-work"))
        self._scratch.append(folder)
        with disk_faults(folder):
            folder.mkdir()
        return folder

    def publish(self) -> None:
        """Give everything its final name, in the order of staging.

        The file staged last is removed first. It is the one that names the others, so that a
        crash between two renames leaves a project that says "preprocess first", never old metadata
        with new data.

        Raises:
            EnvironmentFaultError: If a file cannot be renamed.
        """
        finals = list(self._staged)
        with disk_faults(finals[-1]):
            finals[-1].unlink(missing_ok=True)
        for final in finals:
            with disk_faults(final):
                _replace(self._staged[final], final)
            del self._staged[final]


def check_replaceable(folder: Path) -> None:
    """Check that a folder to be replaced holds nothing but shards.

    Raises:
        InputError: If it holds anything else: that must not be lost.
    """
    if not folder.is_dir():
        return
    ours = {".pt", ".parquet"}
    foreign = [
        p.name for p in folder.iterdir() if p.suffix not in ours and p.name != "metadata.json"
    ]
    if foreign:
        raise InputError(
            f"{folder} would be replaced, but holds files that are not shards: "
            + ", ".join(sorted(foreign)[:5]),
            "move them elsewhere",
        )


@contextmanager
def disk_faults(path: Path) -> Iterator[None]:
    """Turn a failure of the file system into an error that names the path."""
    try:
        yield
    except OSError as error:
        raise EnvironmentFaultError(
            f"cannot write {path}: {error.strerror or error}",
            f"check the free space and the permissions of {path.parent}",
        ) from error


def _hidden_beside(final: Path) -> Path:
    # The process id keeps two runs on the same data apart.
    with disk_faults(final):
        final.parent.mkdir(parents=True, exist_ok=True)
    return final.with_name(f".{final.name}.{os.getpid()}.tmp")


def _replace(temporary: Path, final: Path) -> None:
    if final.is_dir() and temporary.is_dir():
        # A folder with content cannot be renamed over.
        old = _hidden_beside(final.with_name(f"{final.name}-old"))
        final.rename(old)
        temporary.rename(final)
        _remove(old)
    else:
        temporary.replace(final)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
