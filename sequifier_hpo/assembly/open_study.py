"""A search or a winner check with its study open in the storage: train what is left, read it."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from functools import partial

from sequifier_hpo.assembly.artifacts import artifact_folder, keep_artifacts
from sequifier_hpo.assembly.jobs import Job
from sequifier_hpo.assembly.places import place_of, require_own_files
from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.atomic import remove_unfinished
from sequifier_hpo.config.paths import run_name
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.log import log_to
from sequifier_hpo.coordinator.loop import Coordinator
from sequifier_hpo.coordinator.observer import ActiveRun, Observer, SearchEnd
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.reducer import Policy
from sequifier_hpo.records import RunIdentity
from sequifier_hpo.study import (
    Artifact,
    Claim,
    Consent,
    Lease,
    Ledger,
    Storage,
    StudyIdentity,
    StudyPlan,
)


@contextmanager
def open_study(
    prepared: PreparedSearch,
    job: Job,
    consent: Consent = Consent(),  # noqa: B008 - immutable
) -> Iterator["OpenStudy"]:
    """Open the study of a job, and release everything at the end.

    Raises:
        SpaceChangedError, DataChangedError, UnknownDataError, InputError: If there is a study of
            that name which is not the one that is meant, or its files are here.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    config = prepared.loaded.config
    with ExitStack() as stack:
        storage = stack.enter_context(closing(Storage(prepared.storage_url)))
        lease = Lease.acquire(config.study_folder / "coordinators")
        stack.callback(lease.release)
        stack.callback(_remove_what_the_dead_left, prepared)
        is_search = job.study_name == prepared.name
        plan = StudyPlan(
            name=job.study_name,
            space=prepared.space,
            data=prepared.data,
            counted=prepared.counted,
            key_of=lambda point, seed: prepared.keyer.key(point, seed=seed),
            permit=partial(require_own_files, prepared) if is_search else _permit_all,
        )
        ledger = Ledger(
            storage,
            lease.owner,
            plan,
            job.proposer,
            describe=job.describe,
            place=place_of(prepared),
            # What an earlier check has trained is known by its keys: it needs no consent.
            consent=consent if is_search else Consent(new_data=True, same_data=True),
        )
        ledger.describe_study(job.attributes, job.note)
        yield OpenStudy(prepared, job, ledger)


class OpenStudy:
    """A job whose study is open."""

    def __init__(self, prepared: PreparedSearch, job: Job, ledger: Ledger) -> None:
        self.prepared = prepared
        self.job = job
        self.ledger = ledger

    def run(self, observer: Observer) -> SearchEnd:
        """Train what is left; starts workers only if anything is."""
        if not self.ledger.is_anything_left():
            return SearchEnd(stopped_by=None, gave_up_after=())
        prepared, config = self.prepared, self.prepared.loaded.config
        specs = worker_specs(
            prepared.device,
            prepared.workers,
            self.job.num_trainings,
            config.training_hyperparameter_sampling.num_processes,
        )
        log = config.paths.logs / f"sequifier-{self.job.log_name}-workers.log"
        with (
            log_to(config.study_folder / "coordinator.log"),
            closing(WorkerPool(specs, log)) as pool,
        ):
            return Coordinator(
                self.ledger,
                pool,
                Policy(
                    max_consecutive_failures=config.max_consecutive_failures,
                    accumulates=config.on_out_of_memory == "halve_and_accumulate",
                ),
                observer,
                decode=self.job.decode,
                config_path=lambda run: str(prepared.run_file(run.model_name)),
                keep=self._keep,
                counted=self.ledger.identity.counted,
                identity=self._identity,
                has_baselines=bool(self.ledger.baselines),
            ).run()

    def _identity(self, claim: Claim) -> RunIdentity:
        return RunIdentity(
            study_id=self.ledger.identity.study_id,
            key=claim.key,
            data=self.prepared.keyer.data_of(claim.point),
        )

    def _keep(self, run: ActiveRun, losses: Mapping[int, float]) -> list[Artifact]:
        folder = artifact_folder(self.prepared.loaded.config.study_folder)
        run_file = self.prepared.run_file(run.config.model_name)
        return keep_artifacts(folder, self.prepared.name, run, run_file, losses)


def _permit_all(_identity: StudyIdentity, _is_adopted: bool) -> None:  # noqa: FBT001 - as above
    """A winner check shares the files of its search, which were already checked."""


def _remove_what_the_dead_left(prepared: PreparedSearch) -> None:
    """Remove the unfinished files of killed trials."""
    config = prepared.loaded.config
    runs = prepared.run_file(run_name(prepared.name, 0)).parent
    for folder in (config.paths.checkpoints, config.paths.models, runs):
        remove_unfinished(
            folder, lambda file_name: f"{prepared.name}-run-" in file_name, of_the_dead=True
        )
