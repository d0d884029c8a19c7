"""The URLs of SQLite storages."""

import re
from pathlib import Path


def sqlite_url(path: Path) -> str:
    """URL of an SQLite storage in a file."""
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite storage, or None if the URL is another database's."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", url)
    return Path(match[1]) if match else None
