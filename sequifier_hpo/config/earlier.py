"""Earlier studies that guide a new one, as a search file names them."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from sequifier_hpo.config.fields import PathText
from sequifier_hpo.config.paths import ProjectPaths, project_path
from sequifier_hpo.config.schema import FileModel
from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.redaction import redacted_url

_FILE = "study.db"


class EarlierStudy(FileModel):
    """A study, wherever it is."""

    study: Annotated[str, Field(min_length=1)] | None = None
    """Its name; may be left out where its storage holds no other."""
    storage: PathText | None = Field(None, repr=False)
    """Its storage: a URL, a `study.db`, or the folder of one; omitted = studies/{study}, else the
    storage of this search."""

    def __str__(self) -> str:
        """The entry without secrets: what is shown, and what is stored."""
        return " in ".join(part for part in (self.study, _shown(self.storage)) if part)

    def usual_file(self, paths: ProjectPaths) -> Path:
        """Where a study of the project is that has only a name here."""
        assert self.study is not None, "an entry names one of the two"
        return paths.study_folder(self.study) / _FILE

    def url(self, paths: ProjectPaths, own: str) -> str:
        """The URL of its storage.

        Args:
            paths: The project that the search file belongs to.
            own: URL of the search's own storage.
        """
        if self.storage is None:
            usual = self.usual_file(paths)
            return sqlite_url(usual) if usual.exists() else own
        if _is_url(self.storage):
            return self.storage
        path = Path(project_path(self.storage, str(paths.root)))
        return sqlite_url(path / _FILE if path.is_dir() else path)


def _is_url(storage: str) -> bool:
    """Whether it is one, or meant to be: no password may pass for the name of a file."""
    return "://" in storage or (":" in storage and "@" in storage)


def _shown(storage: str | None) -> str | None:
    if storage is None or "://" in storage or not _is_url(storage):
        return storage and redacted_url(storage)
    return f"***{storage[storage.rindex('@') :]}"


def _long_form(value: object) -> object:
    """`small`, `studies/small` or a URL for a mapping of one line."""
    if isinstance(value, dict):
        return value if any(value.values()) else None
    if not isinstance(value, str):
        return value
    return {"storage": value} if "/" in value or value.endswith(".db") else {"study": value}


EarlierStudies = list[Annotated[EarlierStudy, BeforeValidator(_long_form)]]
