"""Puts the parts of a search together: configuration in, storage, pool and coordinator out."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.search import LoadedSearch, load_search
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator import Coordinator, Observer, Policy, SearchEnd, WorkerPool
from sequifier_hpo.coordinator.devices import best_device, worker_specs
from sequifier_hpo.coordinator.single import run_single
from sequifier_hpo.errors import ConfigError, ConfigIssue, InputError
from sequifier_hpo.preprocessing.stored_split import StoredSplit, describe_split
from sequifier_hpo.records import EpochReport, TrainingResult
from sequifier_hpo.report.leaderboard import results_csv
from sequifier_hpo.searchspace import (
    Cell,
    EffectiveSpace,
    SearchSpace,
    adjustments_at,
    compile_space,
    decode,
)
from sequifier_hpo.study import (
    Claim,
    Lease,
    Run,
    SearchPlan,
    SearchStudy,
    Storage,
    redacted,
    sqlite_url,
)

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
        return redacted(self.storage_url)

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
    url = storage or config.storage or os.environ.get(STORAGE_VARIABLE)
    if workers is None and config.workers != "auto":
        workers = config.workers
    return PreparedSearch(
        loaded=loaded,
        space=space,
        effective=EffectiveSpace(space, config.seed),
        storage_url=url or sqlite_url(config.study_folder / "study.db"),
        workers=workers,
    )


class OpenSearch:
    """A prepared search with its study open in the storage."""

    def __init__(self, prepared: PreparedSearch) -> None:
        """Open the storage and the study.

        Raises:
            SpaceChangedError: If the study was started with another search space.
            EnvironmentFaultError: If the storage cannot be reached.
        """
        self.prepared = prepared
        self._storage = Storage(prepared.storage_url)
        self._lease = Lease.acquire(prepared.loaded.config.study_folder / "coordinators")
        plan = SearchPlan(
            name=prepared.name,
            space=prepared.space,
            effective=prepared.effective,
            strategy=prepared.loaded.config.search_strategy,
            num_runs=prepared.num_runs,
            describe=self._describe,
        )
        self.study = SearchStudy(self._storage, plan, self._lease.owner)
        self.study.set_num_runs()

    def run(self, observer: Observer) -> SearchEnd:
        """Run what is left of the search; starts workers only if anything is."""
        if not self.study.is_anything_left():
            return SearchEnd(stopped_by=None, gave_up_after=())
        prepared, config = self.prepared, self.prepared.loaded.config
        specs = worker_specs(_kind_of(prepared.device), prepared.workers, prepared.num_runs)
        pool = WorkerPool(specs, config.paths.logs / f"sequifier-{prepared.name}-workers.log")
        try:
            return Coordinator(
                self.study,
                pool,
                Policy(
                    max_consecutive_failures=config.max_consecutive_failures,
                    accumulates=config.on_out_of_memory == "halve_and_accumulate",
                ),
                observer,
                decode=self._decode,
                config_path=lambda run: str(prepared.run_file(run.model_name)),
            ).run()
        finally:
            pool.close()

    def write_results(self) -> list[Run]:
        """Rewrite the leaderboard file, atomically; returns the runs in it."""
        runs = self.study.runs()
        path = self.prepared.results_path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        temporary.write_text(results_csv(self.prepared.name, runs), encoding="utf-8")
        temporary.replace(path)
        return runs

    def close(self) -> None:
        """Let go of the storage and of this coordinator's lease."""
        self._lease.release()
        self._storage.close()

    def _decode(self, claim: Claim) -> tuple[TrainConfig, list[str]]:
        config, adjustments = decode(
            self.prepared.space, claim.cell, claim.run_number, device=self.prepared.device
        )
        notes = [f"adjusted: {adjustment}" for adjustment in adjustments]
        if claim.oom_retries and claim.batch_size is not None:
            spec = config.training_spec
            update: dict[str, Any] = {"batch_size": claim.batch_size}
            if self.prepared.loaded.config.on_out_of_memory == "halve_and_accumulate":
                factor = 2**claim.oom_retries
                update["accumulation_steps"] = (spec.accumulation_steps or 1) * factor
            smaller = spec.model_copy(update=update)
            config = config.model_copy(update={"training_spec": smaller})
            notes.append(f"batch size {claim.batch_size} after {claim.oom_retries} retries")
        return config, notes

    def _describe(self, cell: Cell) -> Mapping[str, Any]:
        adjustments = adjustments_at(self.prepared.space, cell)
        attributes: dict[str, Any] = {}
        for parameter, index in zip(self.prepared.space.parameters, cell, strict=True):
            values = parameter.choices[index].values
            if len(values) > 1:  # a linked group: its label may be shortened
                attributes.update(_readable(values))
        if adjustments:
            attributes["adjustments"] = "; ".join(str(adjustment) for adjustment in adjustments)
        return attributes


@contextmanager
def open_search(prepared: PreparedSearch) -> Iterator[OpenSearch]:
    """Open a prepared search, and let go of everything at the end."""
    search = OpenSearch(prepared)
    try:
        yield search
    finally:
        search.close()


def train_alone(config: TrainConfig, *, on_epoch: Callable[[EpochReport], None]) -> TrainingResult:
    """Train one configuration with the code path of a trial."""
    specs = worker_specs(_kind_of(config.training_spec.device), workers=1, num_runs=1)
    pool = WorkerPool(specs, config.paths.logs / f"sequifier-{config.model_name}-workers.log")
    try:
        return run_single(pool, config, on_epoch)
    finally:
        pool.close()


def _readable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values for the storage: numbers stay numbers, the rest becomes text."""
    hidden = {"column_types", "categorical_columns", "real_columns"}
    flat: dict[str, Any] = {}
    for field, value in values.items():
        if field in hidden or value is None:
            continue
        if isinstance(value, list):
            flat[field] = ", ".join(map(str, value))
        elif isinstance(value, dict):
            flat[field] = ", ".join(f"{k}: {v}" for k, v in value.items())
        else:
            flat[field] = value
    return flat


def _kind_of(device: str) -> str:
    """`cuda:1` names one GPU for all runs; only plain `cuda` is spread over the GPUs."""
    return device if device in {"cpu", "cuda"} else "one device"


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
