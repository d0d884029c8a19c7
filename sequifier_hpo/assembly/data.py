"""Which data a run reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.preprocessing.digest import data_digest
from sequifier_hpo.records import DataDigest


class NamesMetadata(Protocol):
    """A search file or a run file."""

    @property
    def metadata_config_path(self) -> str:
        """Path of the metadata, as the file says it."""

    @property
    def project_root(self) -> str:
        """Root folder of the project."""


def metadata_of(config: NamesMetadata) -> DataMetadata | None:
    """The metadata that a file names, if they exist.

    Also for a file that is complete without them (--skip-metadata): the meaning of the data must
    not depend on how the file was read.

    Raises:
        ConfigError: If the file exists but does not hold metadata.
    """
    file = Path(project_path(config.metadata_config_path, config.project_root))
    return read_metadata(file) if file.exists() else None


def data_of(config: TrainConfig, on_progress: Callable[[str], None]) -> DataDigest:
    """The digest of a run's data, in the columns that it reads.

    Args:
        config: The run.
        on_progress: Takes a line of text before a split is read, which takes time if it is large.

    Raises:
        InputError: If a split cannot be read.
        ConfigError: If the metadata file exists but does not hold metadata.
    """
    digest = data_digest(
        Path(config.training_data_path),
        Path(config.validation_data_path),
        config.read_format,
        metadata=metadata_of(config),
        column_types=config.column_types,
        on_progress=on_progress,
    )
    return digest.reading({*config.input_columns, *config.target_columns})
