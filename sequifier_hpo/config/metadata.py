"""The metadata JSON that `preprocess` writes: what the columns are and where the splits lie."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from pydantic import ConfigDict, Field, ValidationError

from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.preprocess import ID_COLUMNS
from sequifier_hpo.config.schema import FileModel
from sequifier_hpo.errors import ConfigError, ConfigIssue
from sequifier_hpo.plain_files import read_json


class ColumnStatistics(FileModel):
    """Mean and sample standard deviation a real column was standardised with."""

    std: float
    mean: float


class DataMetadata(FileModel):
    """Content of `configs/metadata_configs/{data}.json`. Order of `column_types` is significant."""

    model_config = ConfigDict(extra="ignore")  # a later version may add keys

    n_classes: dict[str, int]
    """Per categorical column the number of ids, 0 (padding and unknown) included."""
    id_maps: dict[str, dict[str, int]]
    """Per categorical column: raw value as text -> id, from 1, or from 2 (`unknown_id`)."""
    split_paths: list[str]
    column_types: dict[str, str]
    """Per feature column `Int64` or `Float64`, in the order of the raw table."""
    selected_columns_statistics: dict[str, ColumnStatistics]
    padding: Literal["startItemPosition"] | None = None
    """What tells the padding of a window: as many of its first items as the position is below 0.

    None = only the items' values do, as in windows that Sequifier wrote.
    """
    sequence_column: str | None = None
    """Column of the raw table that says whose event a row is; None = `sequenceId`."""
    sequence_ids_path: str | None = None
    """Parquet table `sequenceId`, `sequence`: which number stands for which text of that column.

    None = the column holds the numbers themselves.
    """
    order_column: str | None = None
    """Column of the raw table that orders the events of a sequence; None = `itemPosition`."""
    missing: dict[str, Literal["drop", "category", "mean"]] = Field(default_factory=dict)
    """Column -> what became of cells without a value: the row was dropped; they got the id of the
    empty text; they became the mean, 0 when standardised. Of other columns they are errors."""

    @property
    def id_columns(self) -> tuple[str, str]:
        """The columns of a raw table that say whose event a row is, and when it was."""
        return self.sequence_column or ID_COLUMNS[0], self.order_column or ID_COLUMNS[1]

    @property
    def has_named_sequences(self) -> bool:
        """Whether texts say whose event a row is, else whole numbers."""
        return self.sequence_ids_path is not None

    def types_of(self, columns: Iterable[str]) -> dict[str, str]:
        """What kinds of columns they are, as the metadata call them."""
        return {column: self.column_types[column] for column in columns}

    def meaning_of(self, column: str) -> tuple[dict[str, int] | None, ColumnStatistics | None]:
        """What turns the values of a column into numbers; (None, None) = not known."""
        return self.id_maps.get(column), self.selected_columns_statistics.get(column)


TABLE_KEYS = ("sequence_column", "sequence_ids_path", "order_column", "missing")
"""What describes a raw table that is not as Sequifier wants it; absent where a table is."""


class NamesMetadata(Protocol):
    """A search file or a run file."""

    @property
    def metadata_config_path(self) -> str:
        """Path of the metadata, as the file says it."""

    @property
    def project_root(self) -> str:
        """Root folder of the project."""


def metadata_file_of(config: NamesMetadata) -> Path:
    """Where the metadata are that a file names."""
    return Path(project_path(config.metadata_config_path, config.project_root))


def metadata_of(config: NamesMetadata) -> DataMetadata | None:
    """The metadata that a file names, if they exist.

    Also for a file that is complete without them (--skip-metadata): what the same data mean must
    not depend on how the file was read.

    Raises:
        ConfigError: If there is such a file, and it is no metadata.
    """
    file = metadata_file_of(config)
    return read_metadata(file) if file.exists() else None


def sequence_ids_file_of(config: NamesMetadata) -> Path | None:
    """The table of `DataMetadata.sequence_ids_path`, if the metadata that a file names have one."""
    metadata = metadata_of(config)
    if metadata is None or metadata.sequence_ids_path is None:
        return None
    path = Path(project_path(metadata.sequence_ids_path, config.project_root))
    return path if path.exists() else None


def unknown_id(ids: Mapping[str, int]) -> int:
    """The id of a value that is not in the id map of its column.

    Sequifier's maps have begun at 2 since 1.1, to leave 1 for it; before, it was that of padding.
    """
    return 1 if ids and 1 not in ids.values() else 0


def is_categorical(type_name: str) -> bool:
    """Whether a column type of the metadata means ids."""
    return "int" in type_name.casefold()


def is_real(type_name: str) -> bool:
    """Whether a column type of the metadata means standardised real values."""
    return "float" in type_name.casefold()


def read_metadata(path: Path, *, where: ConfigIssue | None = None) -> DataMetadata:
    """Read a metadata file.

    Args:
        path: The JSON file.
        where: The place in the configuration that names the file, to point at when it is missing.

    Raises:
        ConfigError: If the file is missing, is not JSON, or lacks one of its five keys.
    """
    place = where or ConfigIssue("", "", file=str(path))

    def failed(problem: str, fix: str = "") -> ConfigError:
        return ConfigError([ConfigIssue(place.path, problem, "", fix, place.file, place.line)])

    try:
        content = read_json(path)
    except FileNotFoundError as error:
        raise failed(
            f"the metadata file {path} does not exist",
            "run `sequifier-hpo preprocess --config-path configs/preprocess.yaml` first, "
            f"or correct the path; it is relative to the working directory {Path.cwd()}",
        ) from error
    except OSError as error:
        raise failed(f"the metadata file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise failed(
            f"the metadata file {path} is not JSON: {error}", "run preprocess again"
        ) from error
    try:
        return DataMetadata.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "top level"
        problem = f"the metadata file {path} is not what preprocess writes: {key}: {first['msg']}"
        raise failed(problem, "run preprocess again") from error
