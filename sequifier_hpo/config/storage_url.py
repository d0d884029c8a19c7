"""The URLs of storages: SQLite's, and the one that a study has when none is given.

Only SQLAlchemy's own type builds a URL or takes one apart: its versions differ in what they escape.
"""

import os
from pathlib import Path
from urllib.parse import quote, unquote

from sequifier_hpo.config.paths import expanded

STORAGE_VARIABLE = "SEQUIFIER_HPO_STORAGE"


def sqlite_url(path: Path) -> str:
    """URL of an SQLite storage in a file."""
    from sqlalchemy import URL, make_url  # noqa: PLC0415 - a tenth of a second, for studies only

    name = f"./{path}" if str(path).startswith("~") else str(path)
    url = URL.create("sqlite", database=name).render_as_string()
    if make_url(url).database != name:  # SQLAlchemy 2.0 escapes no `?`; SQLite's own URIs do
        uri = URL.create("sqlite", database=f"file:{quote(name)}", query={"uri": "true"})
        url = uri.render_as_string()
    return url


def sqlite_path(url: str) -> Path | None:
    """The file of an SQLite storage, or None if the URL is another database's, or none."""
    from sqlalchemy import make_url  # noqa: PLC0415 - see above
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415 - see above

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        return None
    name = parsed.database or ""
    if parsed.drivername.partition("+")[0] != "sqlite" or name in {"", ":memory:"}:
        return None
    if name.startswith("file:") and parsed.query.get("uri") == "true":
        name = unquote(name.removeprefix("file:"))
    return Path(expanded(name))


def usual_storage(in_file: str | None, study_folder: Path) -> str:
    """The storage URL of a search for which none is given on the command line."""
    return in_file or os.environ.get(STORAGE_VARIABLE) or sqlite_url(study_folder / "study.db")
