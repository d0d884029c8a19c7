"""Where the files of a search are, and whether they are its own."""

import glob
import json
import socket
from pathlib import Path

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.config.run_file import read_run_file_head
from sequifier_hpo.errors import InputError
from sequifier_hpo.report.notes import Places
from sequifier_hpo.study import Place, StudyIdentity

_HEAD_CHARACTERS = 1000


def places_of(prepared: PreparedSearch) -> Places:
    """Where the files of a search are, for its notes."""
    config = prepared.loaded.config
    paths = config.paths

    def shown(path: Path) -> str:
        return str(path.relative_to(paths.root) if path.is_relative_to(paths.root) else path)

    return Places(
        search_file=str(prepared.loaded.document.file),
        run_file=shown(prepared.run_file("{run}")),
        log=shown(paths.log("{run}")),
        metrics=shown(paths.metrics("{run}")),
        models=shown(paths.models / "sequifier-{run}-*"),
        study_folder=shown(config.study_folder),
    )


def place_of(prepared: PreparedSearch) -> Place:
    """This machine and project, for those who look at the study from elsewhere."""
    return Place(socket.gethostname(), str(prepared.loaded.config.paths.root.resolve()))


def require_own_files(
    prepared: PreparedSearch,
    identity: StudyIdentity,
    is_adopted: bool,  # noqa: FBT001 - as the study calls it
) -> None:
    """Make sure that existing files under the names of this study's runs belong to it.

    A marker file in the study's folder records the owner; without it, the run files do.

    Args:
        prepared: The search file.
        identity: The study.
        is_adopted: Whether 0.1.0 started it, whose run files do not record their study.

    Raises:
        InputError: If they belong to another study: in another storage, or one that was deleted.
    """
    marker = prepared.loaded.config.study_folder / "study.json"
    owner, storage = _read_marker(marker)
    if owner is None:
        owner = _owner_by_run_files(prepared, identity.study_id)
    if owner not in {None, identity.study_id} and not (is_adopted and owner == ""):
        raise _foreign(prepared, storage)
    if not marker.exists():
        content = {"study_id": identity.study_id, "storage": prepared.shown_storage}
        write_atomically(marker, json.dumps(content, indent=1) + "\n")


def _read_marker(marker: Path) -> tuple[str | None, str]:
    """(study id, storage) that a marker names; None and "" if there is none, or it is damaged."""
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        return str(content["study_id"]), str(content["storage"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""


def _owner_by_run_files(prepared: PreparedSearch, study_id: str) -> str | None:
    """The owner of the run files: another study's id if there is one, None without files."""
    owner: str | None = None
    folder = prepared.run_file("").parent
    for path in sorted(folder.glob(f"{glob.escape(prepared.name)}-run-*.yaml")):
        with path.open(encoding="utf-8", errors="replace") as file:
            owner = read_run_file_head(file.read(_HEAD_CHARACTERS)).study_id or ""
        if owner != study_id:
            return owner
    return owner


def _foreign(prepared: PreparedSearch, storage: str) -> InputError:
    name, config = prepared.name, prepared.loaded.config
    paths = config.paths
    where = f" in {storage}" if storage else ", which is not in this storage"
    patterns = (
        prepared.run_file(f"{name}-run-*"),
        paths.checkpoints / f"{name}-run-*",
        paths.models / f"sequifier-{name}-run-*",
        paths.logs / f"sequifier-{name}-run-*",
        config.study_folder,
    )
    return InputError(
        f"the files of `{name}` in this project belong to another study of that name{where}",
        "give this search another hp_search_name, or, if those files are no longer needed, "
        f"remove them: rm -r {' '.join(map(str, patterns))}",
    )
