"""The URLs of storages: SQLite's, and the one that a study has when none is given."""

import os
import re
from pathlib import Path

STORAGE_VARIABLE = "SEQUIFIER_HPO_STORAGE"


def sqlite_url(path: Path) -> str:
    """URL of an SQLite storage in a file."""
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite storage, or None if the URL is another database's."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return Path(match[1]) if match else None


def usual_storage(in_file: str | None, study_folder: Path) -> str:
    """The storage URL of a search for which none is given on the command line."""
    return in_file or os.environ.get(STORAGE_VARIABLE) or sqlite_url(study_folder / "study.db")
