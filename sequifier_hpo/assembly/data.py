"""Which data a run reads."""

from collections.abc import Callable
from pathlib import Path

from sequifier_hpo.config.metadata import read_metadata
from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.preprocessing.digest import data_digest
from sequifier_hpo.records import DataDigest, SplitDigest


def data_of(config: TrainConfig, on_progress: Callable[[str], None]) -> DataDigest:
    """The digest of a run's data, in the columns that it reads.

    Args:
        config: The run.
        on_progress: Takes a line of text before a split is read, which takes time if it is large.

    Raises:
        InputError: If a split cannot be read.
        ConfigError: If there is a metadata file, and it is none.
    """
    # Also for a file that is complete without its metadata: what the ids of the same data mean
    # must not depend on how the file was read.
    metadata_path = Path(project_path(config.metadata_config_path, config.project_root))
    digest = data_digest(
        Path(config.training_data_path),
        Path(config.validation_data_path),
        config.read_format,
        metadata=read_metadata(metadata_path) if metadata_path.exists() else None,
        column_types=config.column_types,
        on_progress=on_progress,
    )
    columns = {*config.input_columns, *config.target_columns}
    return DataDigest(
        training=_reduced(digest.training, columns),
        validation=_reduced(digest.validation, columns),
    )


def _reduced(split: SplitDigest, columns: set[str]) -> SplitDigest:
    kept = {name: digest for name, digest in split.columns.items() if name in columns}
    return split.model_copy(update={"columns": kept})
