"""Read, check and compile a search file, without opening its study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from sequifier_hpo.config.locate import StudySource, source_of
from sequifier_hpo.config.search import LoadedSearch, load_search
from sequifier_hpo.config.search_rules import TRAINING_SECTION
from sequifier_hpo.config.storage_url import usual_storage
from sequifier_hpo.coordinator.clock import clock_of_the_world
from sequifier_hpo.coordinator.devices import best_device, device_issue
from sequifier_hpo.errors import ConfigIssue
from sequifier_hpo.preprocessing.inputs import check_splits, data_of_search
from sequifier_hpo.records import DataDigest
from sequifier_hpo.redaction import redacted_url
from sequifier_hpo.searchspace import EffectiveSpace, Keyer, SearchSpace, compile_space


@dataclass(frozen=True)
class PreparedSearch:
    """A search file that was read, checked against its data and compiled."""

    loaded: LoadedSearch
    space: SearchSpace
    effective: EffectiveSpace
    storage_url: str
    workers: int | None
    """Trials at the same time; None = as many as cores or GPUs."""
    on_progress: Callable[[str], None]
    """Takes a line of text before something that takes time."""
    is_for_reading: bool = False
    """Whether nothing may be written."""
    began: float = field(default_factory=clock_of_the_world)
    """When the command began, by the clock of the world."""

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.loaded.config.hp_search_name

    @property
    def shown_storage(self) -> str:
        """The storage URL without its password."""
        return redacted_url(self.storage_url)

    @property
    def source(self) -> StudySource:
        """The study, as commands that only look at it know it."""
        return source_of(self.loaded, self.storage_url)

    @property
    def num_requested(self) -> int:
        """Runs that the file asks for: n_samples, or every cell of the grid."""
        config = self.loaded.config
        if config.search_strategy == "grid":
            return self.space.num_cells
        assert config.n_samples is not None, "checked when the file was loaded"
        return config.n_samples

    @property
    def num_runs(self) -> int:
        """Distinct runs to train."""
        return self.effective.at_most(self.num_requested)

    @cached_property
    def device(self) -> str:
        """Torch device that the runs train on."""
        return self.loaded.config.training_hyperparameter_sampling.device or best_device()

    @property
    def device_issue(self) -> ConfigIssue | None:
        """Why runs cannot train here, if this machine does not have their device."""
        loc = (TRAINING_SECTION, "device")
        num_processes = self.loaded.config.num_processes
        return device_issue(self.device, num_processes, self.loaded.document, loc)

    @cached_property
    def data(self) -> DataDigest:
        """Digest of what the runs read.

        Raises:
            InputError: If the data cannot be read.
        """
        return data_of_search(self.loaded.config, self.on_progress, keeps=not self.is_for_reading)

    @cached_property
    def keyer(self) -> Keyer:
        """Names the runs of the space on the present data."""
        return Keyer(self.space, self.data)


def prepare_search(
    path: Path,
    *,
    overrides: Mapping[str, Any],
    skip_metadata: bool,
    storage: str | None,
    workers: int | None,
    on_progress: Callable[[str], None],
    is_for_reading: bool = False,
) -> PreparedSearch:
    """Read, check and compile a search file.

    Raises:
        ConfigError: With every mistake of the file, those against the data included.
    """
    began = clock_of_the_world()
    loaded = load_search(path, overrides=overrides, skip_metadata=skip_metadata)
    check_splits(loaded, on_progress, keeps=not is_for_reading)
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
        on_progress=on_progress,
        is_for_reading=is_for_reading,
        began=began,
    )
