"""Which study a command means, found without opening it and without checking its search."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, Field

from sequifier_hpo.config.fields import ModelName, PathText
from sequifier_hpo.config.paths import ProjectPaths, project_path
from sequifier_hpo.config.schema import FileModel, load
from sequifier_hpo.config.search import LoadedSearch
from sequifier_hpo.config.storage_url import sqlite_path, usual_storage
from sequifier_hpo.config.yaml_file import read_yaml
from sequifier_hpo.errors import InputError
from sequifier_hpo.redaction import redacted_url

DEFAULT_SEARCH_FILE = Path("configs/hyperparameter_search.yaml")


class _SearchFile(FileModel):
    """The part of a search file needed to look at its study: even a half-edited file will do."""

    model_config = ConfigDict(extra="ignore")

    project_root: PathText
    """Root folder of the project."""
    hp_search_name: ModelName
    """Name of the search."""
    model_config_write_path: PathText
    """Folder for the generated run files."""
    storage: str | None = Field(None, repr=False)
    """Storage URL."""


@dataclass(frozen=True)
class StudySource:
    """Where a study is, and where the files of its runs are."""

    name: str
    storage_url: str
    search_file: Path | None
    """None if the study was named by its storage alone."""
    study_folder: Path
    """Folder of the report and other files about the study."""
    run_folder: Path | None
    """Folder of the runs' `train.yaml`; None if the search file is not known."""
    needs_storage: bool = False
    """Whether the search file alone would lead to another storage."""
    needs_name: bool = False
    """Whether the search file alone would lead to another study."""
    with_outside: bool = False
    """Whether runs outside the study's present space are ranked among the others."""

    @property
    def paths(self) -> ProjectPaths:
        """The files of the project, of whose folder `studies` the study's own is a part."""
        return ProjectPaths(self.study_folder.parent.parent)

    @property
    def shown_storage(self) -> str:
        """The storage URL without its password."""
        return redacted_url(self.storage_url)

    @property
    def options(self) -> str:
        """The command-line options that name this study again, as a shell takes them."""
        options = []
        if self.search_file is not None:
            options += ["--config-path", str(self.search_file)]
        if self.search_file is None or self.needs_storage:
            options += ["--storage", self.shown_storage]
        if self.search_file is None or self.needs_name:
            options += ["--study-name", self.name]
        return shlex.join(options)

    def run_file(self, model_name: str) -> Path | None:
        """Where the `train.yaml` of a run is, or None if only the search file knows."""
        return None if self.run_folder is None else self.run_folder / f"{model_name}.yaml"


def find_study(
    config_path: Path | None,
    storage: str | None,
    study_name: str | None,
    *,
    with_outside: bool = False,
) -> StudySource:
    """Find a study by its search file, or by storage and name; explicit options win.

    Args:
        config_path: The search file; None = the usual one, unless both others are given.
        storage: URL of the storage; None = that of the file.
        study_name: The study; None = that of the file.
        with_outside: Whether runs outside its present space are ranked among the others.

    Raises:
        ConfigError: If the search file is needed and missing, or does not name a study.
        InputError: If only a storage is given, and no usual search file names the study in it.
    """
    if config_path is None and storage is not None and study_name is not None:
        file = sqlite_path(storage)
        folder = file.parent if file is not None else Path()
        return StudySource(study_name, storage, None, folder, None, with_outside=with_outside)
    path = config_path or DEFAULT_SEARCH_FILE
    if config_path is None and storage is not None and not path.exists():
        raise InputError(
            f"--storage alone does not identify a study, and there is no {path} to name it",
            "add --study-name, or the search file with --config-path",
        )
    config = load(_SearchFile, read_yaml(path))
    name = study_name or config.hp_search_name
    folder = ProjectPaths(Path(config.project_root)).study_folder(name)
    usual = usual_storage(config.storage, folder)
    return StudySource(
        name=name,
        storage_url=storage or usual,
        search_file=path,
        study_folder=folder,
        run_folder=Path(project_path(config.model_config_write_path, config.project_root)),
        needs_storage=storage not in {None, usual},
        needs_name=name != config.hp_search_name,
        with_outside=with_outside,
    )


def source_of(search: LoadedSearch, storage_url: str) -> StudySource:
    """The study of a search file in a storage."""
    config = search.config
    return StudySource(
        name=config.hp_search_name,
        storage_url=storage_url,
        search_file=Path(search.document.file),
        study_folder=config.study_folder,
        run_folder=config.run_folder,
        needs_storage=storage_url != usual_storage(config.storage, config.study_folder),
    )
