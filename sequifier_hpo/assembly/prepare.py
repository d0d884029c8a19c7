"""Read, check and compile a search file, without opening its study."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sequifier_hpo.assembly.data import metadata_of
from sequifier_hpo.config.metadata import DataMetadata, is_categorical
from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.search import LoadedSearch, SearchConfig, load_search
from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.coordinator.devices import best_device
from sequifier_hpo.errors import ConfigError, ConfigIssue, InputError
from sequifier_hpo.preprocessing.digest import data_digest
from sequifier_hpo.preprocessing.stored_split import StoredSplit, describe_split
from sequifier_hpo.records import Counted, DataDigest
from sequifier_hpo.redaction import redacted_url
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, SearchSpace, compile_space

STORAGE_VARIABLE = "SEQUIFIER_HPO_STORAGE"


@dataclass(frozen=True)
class PreparedSearch:
    """A search file that was read, checked against its data and compiled."""

    loaded: LoadedSearch
    space: SearchSpace
    effective: EffectiveSpace
    storage_url: str
    workers: int | None
    """Trials at the same time; None = as many as cores or GPUs."""

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.loaded.config.hp_search_name

    @property
    def shown_storage(self) -> str:
        """The storage URL without its password."""
        return redacted_url(self.storage_url)

    @property
    def num_requested(self) -> int:
        """Runs that the file asks for: n_samples, or every cell of the grid."""
        config = self.loaded.config
        if config.search_strategy == "sample":
            assert config.n_samples is not None, "checked when the file was loaded"
            return config.n_samples
        return self.space.num_cells

    @property
    def num_runs(self) -> int:
        """Distinct runs to train."""
        return min(self.num_requested, self.effective.num_distinct)

    @cached_property
    def device(self) -> str:
        """Torch device that the runs train on."""
        return self.loaded.config.training_hyperparameter_sampling.device or best_device()

    @cached_property
    def data(self) -> DataDigest:
        """Digest of what the runs read.

        Raises:
            InputError: If the data cannot be read.
        """
        config = self.loaded.config
        assert config.training_data_path is not None, "filled in from the metadata"
        assert config.validation_data_path is not None, "filled in from the metadata"
        digest = data_digest(
            Path(config.training_data_path),
            Path(config.validation_data_path),
            config.read_format,
            metadata=self._metadata,
            column_types=_all_column_types(config),
        )
        inputs = {column for columns in config.input_columns or [] for column in columns}
        return digest.reading(inputs | set(config.target_columns))

    @cached_property
    def keyer(self) -> Keyer:
        """Names the runs of the space on the present data."""
        return Keyer(self.space, self.data)

    @property
    def counted(self) -> Counted:
        """Which positions the losses of a new study count: those that all its runs predict."""
        lengths = self.loaded.config.seq_length
        return Counted(
            last_positions=min(lengths) if len(set(lengths)) > 1 else None,
            padding_is_stored=self._metadata is not None and self._metadata.padding is not None,
        )

    @property
    def guesses_padding_of_numbers(self) -> bool:
        """Whether padding is known by zeros alone, which numbers may be as well."""
        types = _all_column_types(self.loaded.config).values()
        guesses = not self.counted.padding_is_stored
        return guesses and bool(types) and not any(map(is_categorical, types))

    @cached_property
    def _metadata(self) -> DataMetadata | None:
        """What the data mean."""
        return metadata_of(self.loaded.config)

    @property
    def results_path(self) -> Path:
        """The leaderboard file."""
        return self.loaded.config.study_folder / "results.csv"

    def run_file(self, model_name: str) -> Path:
        """Where the `train.yaml` of a run is."""
        config = self.loaded.config
        folder = project_path(config.model_config_write_path, config.project_root)
        return Path(folder) / f"{model_name}.yaml"


def prepare_search(
    path: Path,
    *,
    overrides: Mapping[str, Any],
    skip_metadata: bool,
    storage: str | None,
    workers: int | None,
) -> PreparedSearch:
    """Read, check and compile a search file.

    Raises:
        ConfigError: With every mistake of the file, those against the data included.
    """
    loaded = load_search(path, overrides=overrides, skip_metadata=skip_metadata)
    _check_against_data(loaded)
    config = loaded.config
    space = compile_space(config)
    if workers is None and config.workers != "auto":
        workers = config.workers
    return PreparedSearch(
        loaded=loaded,
        space=space,
        effective=EffectiveSpace(space, config.seed),
        storage_url=storage or usual_storage(config.storage, config.study_folder),
        workers=workers,
    )


def usual_storage(in_file: str | None, study_folder: Path) -> str:
    """The storage URL of a search for which none is given on the command line."""
    return in_file or os.environ.get(STORAGE_VARIABLE) or sqlite_url(study_folder / "study.db")


def _all_column_types(config: SearchConfig) -> dict[str, str]:
    return {column: kind for types in config.column_types or [] for column, kind in types.items()}


def _check_against_data(loaded: LoadedSearch) -> None:
    """Compare the search file with the stored windows.

    Raises:
        ConfigError: If a split is missing or unreadable, a column is missing from it, or its
            windows are shorter than a `seq_length`.
    """
    config, document = loaded.config, loaded.document
    issues: list[ConfigIssue] = []
    for field in ("training_data_path", "validation_data_path"):
        path = getattr(config, field)
        assert path is not None, "filled in from the metadata"
        try:
            split = describe_split(Path(path), config.read_format)
        except InputError as error:
            issues.append(document.issue((field,), error.problem, fix=error.fix))
            continue
        issues += _split_issues(loaded, split, path)
    if issues:
        unique = {(issue.path, issue.problem): issue for issue in issues}
        raise ConfigError(list(unique.values()))


def _split_issues(loaded: LoadedSearch, split: StoredSplit, path: str) -> Iterator[ConfigIssue]:
    config, document = loaded.config, loaded.document
    for i, seq_length in enumerate(config.seq_length):
        if seq_length > split.window_length:
            yield document.issue(
                ("seq_length", i),
                f"{seq_length} is longer than the windows of {path}, which hold "
                f"{split.window_length} past items",
                allowed=f"1 to {split.window_length}",
                fix="choose a smaller value, or preprocess with a larger seq_length",
            )
    wanted = {c for columns in config.input_columns or [] for c in columns}
    for column in sorted((wanted | set(config.target_columns)) - set(split.columns)):
        yield document.issue(
            ("input_columns",),
            f"the column `{column}` is not in {path}",
            allowed=", ".join(split.columns),
            fix="run preprocess again, or correct the column",
        )
