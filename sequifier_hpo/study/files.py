"""Whether the files that lie under the names of a study's runs are its own."""

import glob
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from sequifier_hpo.atomic import remove_unfinished, write_atomically
from sequifier_hpo.config.paths import ProjectPaths, run_name
from sequifier_hpo.config.run_file import study_of_run_file
from sequifier_hpo.errors import InputError
from sequifier_hpo.plain_files import read_json


@dataclass(frozen=True)
class StudyFiles:
    """The files of a search's study in its project.

    A file in the study's folder remembers whose they are; without it, the run files say it.
    """

    name: str
    """Name of the study."""
    paths: ProjectPaths
    run_folder: Path
    """Folder of the runs' `train.yaml`."""
    shown_storage: str
    """URL of the study's storage, without its password."""

    @property
    def _marker(self) -> Path:
        return self.paths.study_folder(self.name) / "study.json"

    def require_own(self, study_id: str | None, *, is_adopted: bool = False) -> None:
        """Make sure that they belong to this study.

        Args:
            study_id: Unique id of the study; None = it is new.
            is_adopted: Whether 0.1.0 has begun it, whose run files do not say whose they are.

        Raises:
            InputError: If they belong to another study: in another storage, or one that was
                deleted.
        """
        owner, storage = _read_marker(self._marker)
        if owner is None:
            owner = self._owner_by_run_files(study_id)
        if owner not in {None, study_id} and not (is_adopted and owner == ""):
            raise self._foreign(storage)

    def remember(self, study_id: str) -> None:
        """Note in the study's folder whose they are, unless it says so."""
        if not self._marker.exists():
            content = {"study_id": study_id, "storage": self.shown_storage}
            write_atomically(self._marker, json.dumps(content, indent=1) + "\n")

    def remove_unfinished(self) -> None:
        """Remove what trials were writing when they were killed."""
        for folder in (self.paths.checkpoints, self.paths.models, self.run_folder):
            remove_unfinished(
                folder, lambda file_name: f"{self.name}-run-" in file_name, of_the_dead=True
            )

    def _owner_by_run_files(self, study_id: str | None) -> str | None:
        """Whose they are: another study's id if there is one, None if there are no files."""
        owner: str | None = None
        for path in sorted(self.run_folder.glob(f"{glob.escape(self.name)}-run-*.yaml")):
            owner = study_of_run_file(path) or ""
            if owner != study_id:
                return owner
        return owner

    def _foreign(self, storage: str) -> InputError:
        """What to say of files of another study.

        Args:
            storage: Where that study is, or was; "" = nobody knows.
        """
        folder = self.paths.study_folder(self.name)
        another_name = "give this search another hp_search_name"
        if storage in {"", self.shown_storage}:
            whose = "an earlier study of that name, which is no longer in the storage"
            ways = [another_name, "if nobody needs them any more, remove them"]
        else:
            whose = f"another study of that name, in {storage}"
            ways = [
                f"continue that study with --storage {shlex.quote(storage)}",
                another_name,
                f"if nobody needs that study and the content of {folder} any more, remove its files",
            ]
        return InputError(
            f"the files of `{self.name}` in this project belong to {whose}",
            f"{'; or '.join(ways)}:\n        rm -r {' '.join(self._shell_patterns())}",
        )

    def _shell_patterns(self) -> list[str]:
        """What lies under the names of the study's runs, and its folder, as a shell takes them.

        Only what is there: `rm` would stop at the rest.
        """
        paths, run = self.paths, run_name(self.name, 0).removesuffix("0")
        beginnings = (
            self.run_folder / run,
            paths.checkpoints / run,
            paths.checkpoints / f".{run}",  # left by a run that was stopped within an epoch
            paths.models / f"sequifier-{run}",
            paths.logs / f"sequifier-{run}",
        )
        # A shell may refuse a pattern that matches nothing.
        patterns = [
            f"{shlex.quote(str(beginning))}[0-9]*"
            for beginning in beginnings
            if any(beginning.parent.glob(f"{glob.escape(beginning.name)}[0-9]*"))
        ]
        folder = paths.study_folder(self.name)
        return [*patterns, shlex.quote(str(folder))] if folder.exists() else patterns


def _read_marker(marker: Path) -> tuple[str | None, str]:
    """(study id, storage) that a marker names; None and "" if there is none, or it is damaged."""
    try:
        content = read_json(marker)
        return str(content["study_id"]), str(content["storage"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""
