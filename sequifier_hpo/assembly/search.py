"""A prepared search with its study: run it, read it, write its results."""

import glob
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from sequifier_hpo.assembly.artifacts import artifact_folder, keep_artifacts
from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.atomic import explaining, remove_unfinished, write_atomically
from sequifier_hpo.config.paths import is_model_of, run_name
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.log import log_to
from sequifier_hpo.coordinator.loop import Coordinator, Decode
from sequifier_hpo.coordinator.observer import ActiveRun, Observer, SearchEnd
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.reducer import Policy
from sequifier_hpo.records import Run
from sequifier_hpo.report.leaderboard import leaderboard, results_csv
from sequifier_hpo.report.notes import Places, study_note, trial_attributes, trial_note
from sequifier_hpo.searchspace import decode, describe_space, differences
from sequifier_hpo.study import (
    Artifact,
    Claim,
    Lease,
    SearchPlan,
    SearchStudy,
    SpaceChangedError,
    Storage,
    StudyMissingError,
    TrialStudy,
    read_study,
)


def existing_runs(prepared: PreparedSearch) -> list[Run] | None:
    """The runs of a search's study as they stand, or None if it was never started.

    Raises:
        SpaceChangedError: If the study was started with another search space.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    storage = Storage(prepared.storage_url)
    try:
        found = read_study(storage, prepared.name)
    except StudyMissingError:
        return None
    finally:
        storage.close()
    changed = differences(found.space, describe_space(prepared.space))
    if found.space and changed:
        raise SpaceChangedError(prepared.name, changed)
    return list(found.runs)


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
        self._places = places_of(prepared)
        self._lease = Lease.acquire(prepared.loaded.config.study_folder / "coordinators")
        plan = SearchPlan(
            name=prepared.name,
            space=prepared.space,
            effective=prepared.effective,
            strategy=prepared.loaded.config.search_strategy,
            num_runs=prepared.num_runs,
            describe=partial(trial_attributes, prepared.space),
            note=self._study_note(),
            trial_note=partial(trial_note, prepared.space, places=self._places),
        )
        self.study = SearchStudy(self._storage, plan, self._lease.owner)
        self.study.set_num_runs()

    def run(self, observer: Observer) -> SearchEnd:
        """Run what is left of the search; starts workers only if anything is."""
        if not self.study.is_anything_left():
            return SearchEnd(stopped_by=None, gave_up_after=())
        return train_claims(
            self.prepared,
            self.study,
            observer,
            decode=lambda claim: decode_claim(self.prepared, claim, claim.run_number),
            num_runs=self.prepared.num_runs,
            log_name=self.prepared.name,
        )

    def write_results(self) -> list[Run]:
        """Rewrite the leaderboard file, atomically; returns the runs in it.

        With `export: best` the models of all runs but the best are removed.
        """
        runs = self.study.runs()
        if self.prepared.loaded.config.export == "best":
            self._remove_models_except_best(runs)
        write_atomically(self.prepared.results_path, results_csv(self.prepared.name, runs))
        return runs

    def _remove_models_except_best(self, runs: list[Run]) -> None:
        ranked = leaderboard(run for run in runs if run.duplicate_of is None)
        folder = self.prepared.loaded.config.paths.models
        for run in ranked[1:]:
            name = run_name(self.prepared.name, run.number)
            for path in folder.glob(f"sequifier-{glob.escape(name)}-*"):
                # The run may have been trained again with other seeds: those keep theirs.
                if is_model_of(name, path.name):
                    with explaining(path):
                        path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the storage and of this coordinator's lease; remove what dead trials left."""
        config = self.prepared.loaded.config
        runs = self.prepared.run_file(run_name(self.prepared.name, 0)).parent
        for folder in (config.paths.checkpoints, config.paths.models, runs):
            remove_unfinished(folder, self._is_of_a_run, of_the_dead=True)
        self._lease.release()
        self._storage.close()

    def _is_of_a_run(self, file_name: str) -> bool:
        return f"{self.prepared.name}-run-" in file_name

    def _study_note(self) -> str:
        prepared = self.prepared
        return study_note(
            prepared.space,
            num_runs=prepared.num_runs,
            num_distinct=prepared.effective.num_distinct,
            places=self._places,
        )


@contextmanager
def open_search(prepared: PreparedSearch) -> Iterator[OpenSearch]:
    """Open a prepared search, and let go of everything at the end."""
    search = OpenSearch(prepared)
    try:
        yield search
    finally:
        search.close()


def train_claims(
    prepared: PreparedSearch,
    study: TrialStudy,
    observer: Observer,
    *,
    decode: Decode,
    num_runs: int,
    log_name: str,
) -> SearchEnd:
    """Train what a study has to claim, in worker processes.

    Args:
        prepared: The search file that says how: device, workers, retries.
        study: Where trainings come from and results go.
        observer: Who is told.
        decode: From a claim to a configuration.
        num_runs: More trainings at the same time than this are never needed.
        log_name: Name of the log in which the workers' own error output ends.
    """
    config = prepared.loaded.config
    specs = worker_specs(
        prepared.device,
        prepared.workers,
        num_runs,
        config.training_hyperparameter_sampling.num_processes,
    )
    stderr_path = config.paths.logs / f"sequifier-{log_name}-workers.log"
    with (
        log_to(config.study_folder / "coordinator.log"),
        closing(WorkerPool(specs, stderr_path)) as pool,
    ):
        return Coordinator(
            study,
            pool,
            Policy(
                max_consecutive_failures=config.max_consecutive_failures,
                accumulates=config.on_out_of_memory == "halve_and_accumulate",
            ),
            observer,
            decode=decode,
            config_path=lambda run: str(prepared.run_file(run.model_name)),
            keep=partial(_keep, prepared),
        ).run()


def decode_claim(
    prepared: PreparedSearch, claim: Claim, run_number: int
) -> tuple[TrainConfig, list[str]]:
    """The configuration of a claim as it is trained now, and notes for its log."""
    config, adjustments = decode(prepared.space, claim.cell, run_number, device=prepared.device)
    notes = [f"adjusted: {adjustment}" for adjustment in adjustments]
    return config, notes


def _keep(prepared: PreparedSearch, run: ActiveRun, losses: Mapping[int, float]) -> list[Artifact]:
    folder = artifact_folder(prepared.loaded.config.study_folder)
    run_file = prepared.run_file(run.config.model_name)
    return keep_artifacts(folder, prepared.name, run, run_file, losses)


def places_of(prepared: PreparedSearch) -> Places:
    """Where the files of a search are, for its notes."""
    config = prepared.loaded.config
    paths = config.paths

    def shown(path: Path) -> str:
        return str(path.relative_to(paths.root) if path.is_relative_to(paths.root) else path)

    return Places(
        search_file=str(prepared.loaded.document.file),
        run_file=shown(prepared.run_file("{run}")),
        log=shown(paths.log("{run}")),
        metrics=shown(paths.metrics("{run}")),
        models=shown(paths.models / "sequifier-{run}-*"),
        study_folder=shown(config.study_folder),
    )
