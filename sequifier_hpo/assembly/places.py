"""Where the files of a search are, and whether they are its own."""

import glob
import json
import shlex
import socket
from pathlib import Path

from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.config.paths import run_name
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
    """Make sure that what lies under the names of this study's runs belongs to it.

    A file in the study's folder remembers whose they are; without it, the run files say it.

    Args:
        prepared: The search file.
        identity: The study.
        is_adopted: Whether 0.1.0 has begun it, whose run files do not say whose they are.

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


def study_of_run_file(path: Path) -> str | None:
    """Unique id of the study that a run file belongs to; None if it does not say so."""
    with path.open(encoding="utf-8", errors="replace") as file:
        return read_run_file_head(file.read(_HEAD_CHARACTERS)).study_id


def _read_marker(marker: Path) -> tuple[str | None, str]:
    """(study id, storage) that a marker names; None and "" if there is none, or it is damaged."""
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        return str(content["study_id"]), str(content["storage"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""


def _owner_by_run_files(prepared: PreparedSearch, study_id: str) -> str | None:
    """Whose the run files are: another study's id if there is one, None if there are no files."""
    owner: str | None = None
    folder = prepared.run_file("").parent
    for path in sorted(folder.glob(f"{glob.escape(prepared.name)}-run-*.yaml")):
        owner = study_of_run_file(path) or ""
        if owner != study_id:
            return owner
    return owner


def _foreign(prepared: PreparedSearch, storage: str) -> InputError:
    """What to say of files of another study.

    Args:
        prepared: The search file.
        storage: Where that study is, or was; "" = nobody knows.
    """
    folder = prepared.loaded.config.study_folder
    another_name = "give this search another hp_search_name"
    if storage in {"", prepared.shown_storage}:
        whose = "an earlier study of that name, which is not in the storage any more"
        ways = [another_name, "if nobody needs them any more, remove them"]
    else:
        whose = f"another study of that name, in {storage}"
        ways = [
            f"go on with that study by --storage {shlex.quote(storage)}",
            another_name,
            f"if nobody needs that study and what is in {folder} any more, remove its files",
        ]
    return InputError(
        f"the files of `{prepared.name}` in this project belong to {whose}",
        f"{'; or '.join(ways)}:\n        rm -r {' '.join(_files_of(prepared))}",
    )


def _files_of(prepared: PreparedSearch) -> list[str]:
    """What lies under the names of a search's runs, and its folder, as a shell takes them."""
    config = prepared.loaded.config
    paths, run = config.paths, run_name(prepared.name, 0).removesuffix("0")
    beginnings = (
        prepared.run_file("").parent / run,
        paths.checkpoints / run,
        paths.checkpoints / f".{run}",  # what a run leaves that is stopped within an epoch
        paths.models / f"sequifier-{run}",
        paths.logs / f"sequifier-{run}",
    )
    # A shell may refuse a pattern that fits nothing.
    patterns = [
        f"{shlex.quote(str(beginning))}[0-9]*"
        for beginning in beginnings
        if any(beginning.parent.glob(f"{glob.escape(beginning.name)}[0-9]*"))
    ]
    return [*patterns, shlex.quote(str(config.study_folder))]
