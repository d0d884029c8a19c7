"""Results that appear whole or not at all: written under temporary names, renamed at the end."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from sequifier_hpo.errors import EnvironmentFaultError, InputError


class StagedOutputs:
    """The files and folders of one run, hidden next to their final names until `publish`.

    Each is in a new hidden folder that nobody else can write to, so that whatever writes it meets
    no link. Used as a context manager: what was not published is removed.
    """

    def __init__(self) -> None:
        self._staged: dict[Path, Path] = {}
        self._hidden: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for folder in self._hidden:
            shutil.rmtree(folder, ignore_errors=True)

    def stage(self, final: Path) -> Path:
        """The temporary path to write to in place of `final`; its folder exists."""
        self._staged[final] = self._hidden_folder(final) / final.name
        return self._staged[final]

    def scratch_folder(self, near: Path) -> Path:
        """A new folder beside `near` that is never published."""
        return self._hidden_folder(near)

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
                self._replace(self._staged[final], final)
            del self._staged[final]

    def _replace(self, temporary: Path, final: Path) -> None:
        if final.is_dir() and temporary.is_dir():
            # A folder with content cannot be renamed over.
            final.rename(self._hidden_folder(final) / "old")
        temporary.replace(final)

    def _hidden_folder(self, final: Path) -> Path:
        """A new folder beside `final`, which this run removes at its end."""
        with disk_faults(final):
            final.parent.mkdir(parents=True, exist_ok=True)
            folder = Path(
                tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".tmp", dir=final.parent)
            )
        self._hidden.append(folder)
        return folder


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
