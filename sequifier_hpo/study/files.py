"""Whether the files that lie under the names of a study's runs are its own."""

import glob
import json
from dataclasses import dataclass
from pathlib import Path

from sequifier_hpo.atomic import remove_unfinished, write_atomically
from sequifier_hpo.config.paths import ProjectPaths
from sequifier_hpo.config.run_file import read_run_file_head
from sequifier_hpo.errors import InputError
from sequifier_hpo.study.opening import StudyIdentity

_HEAD_CHARACTERS = 1000


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

    def require_own(self, identity: StudyIdentity, is_adopted: bool) -> None:  # noqa: FBT001 - as the study calls it
        """Make sure that they belong to this study, and remember it.

        Args:
            identity: The study.
            is_adopted: Whether 0.1.0 has begun it, whose run files do not say whose they are.

        Raises:
            InputError: If they belong to another study: in another storage, or one that was
                deleted.
        """
        owner, storage = _read_marker(self._marker)
        if owner is None:
            owner = self._owner_by_run_files(identity.study_id)
        if owner not in {None, identity.study_id} and not (is_adopted and owner == ""):
            raise self._foreign(storage)
        if not self._marker.exists():
            content = {"study_id": identity.study_id, "storage": self.shown_storage}
            write_atomically(self._marker, json.dumps(content, indent=1) + "\n")

    def remove_unfinished(self) -> None:
        """Remove what trials were writing when they were killed."""
        for folder in (self.paths.checkpoints, self.paths.models, self.run_folder):
            remove_unfinished(
                folder, lambda file_name: f"{self.name}-run-" in file_name, of_the_dead=True
            )

    def _owner_by_run_files(self, study_id: str) -> str | None:
        """Whose they are: another study's id if there is one, None if there are no files."""
        owner: str | None = None
        for path in sorted(self.run_folder.glob(f"{glob.escape(self.name)}-run-*.yaml")):
            with path.open(encoding="utf-8", errors="replace") as file:
                owner = read_run_file_head(file.read(_HEAD_CHARACTERS)).study_id or ""
            if owner != study_id:
                return owner
        return owner

    def _foreign(self, storage: str) -> InputError:
        name, paths = self.name, self.paths
        where = f" in {storage}" if storage else ", which is not in this storage"
        patterns = (
            self.run_folder / f"{name}-run-*.yaml",
            paths.checkpoints / f"{name}-run-*",
            paths.models / f"sequifier-{name}-run-*",
            paths.logs / f"sequifier-{name}-run-*",
            paths.study_folder(name),
        )
        return InputError(
            f"the files of `{name}` in this project belong to another study of that name{where}",
            "give this search another hp_search_name, or, if nobody needs those files any more, "
            f"remove them: rm -r {' '.join(map(str, patterns))}",
        )


def _read_marker(marker: Path) -> tuple[str | None, str]:
    """(study id, storage) that a marker names; None and "" if there is none, or it is damaged."""
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        return str(content["study_id"]), str(content["storage"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""
