"""A search or a winner check with its study open in the storage: train what is left, read it."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

from sequifier_hpo.assembly.jobs import Job
from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.assembly.read_study import study_plan
from sequifier_hpo.config.storage_url import sqlite_path
from sequifier_hpo.coordinator.devices import require_device, worker_specs
from sequifier_hpo.coordinator.log import log_to
from sequifier_hpo.coordinator.loop import Coordinator
from sequifier_hpo.coordinator.observer import ActiveRun, Observer, SearchEnd
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.reducer import Policy
from sequifier_hpo.coordinator.surroundings import Surroundings
from sequifier_hpo.records import RunIdentity
from sequifier_hpo.report.artifacts import artifact_folder, keep_artifacts
from sequifier_hpo.report.results import remove_models
from sequifier_hpo.study import (
    NO_CONSENT,
    Artifact,
    Claim,
    Consent,
    Ledger,
    OwnerLock,
    Permit,
    Place,
    Storage,
    StudyIdentity,
    StudyPlan,
)
from sequifier_hpo.study.files import StudyFiles
from sequifier_hpo.study.warm_start import with_earlier


@contextmanager
def open_study(
    prepared: PreparedSearch, job: Job, consent: Consent = NO_CONSENT
) -> Iterator["OpenStudy"]:
    """Open the study of a job, and release everything at the end.

    Raises:
        SpaceChangedError, DataChangedError, UnknownDataError, InputError: If there is a study of
            that name which is not the one that is meant, or its files are here.
        ConfigError: If there is none, and this machine does not have the device for its runs.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    config = prepared.loaded.config
    files = StudyFiles(prepared.name, config.paths, config.run_folder, prepared.shown_storage)
    lock = OwnerLock(config.study_folder / "coordinators")
    # A winner check shares the files of its search, which were looked at already.
    is_search = job.study_name == prepared.name

    def permit(identity: StudyIdentity, *, is_new: bool, is_adopted: bool) -> None:
        if is_new:
            require_device(prepared.device_issue)
        if is_search:
            files.require_own(identity.study_id, is_adopted=is_adopted)
        lock.hold()

    # What is refused leaves nothing behind: neither a lock nor an empty database.
    plan = with_earlier(_plan(prepared, job, permit), prepared.storage_url, consent)
    file = sqlite_path(prepared.storage_url)
    if is_search and file is not None and not file.exists():
        require_device(prepared.device_issue)
        files.require_own(None)
    with ExitStack() as stack:
        storage = stack.enter_context(closing(Storage(prepared.storage_url)))
        stack.callback(lock.release)
        stack.callback(files.remove_unfinished)
        ledger = Ledger(
            storage,
            lock.owner,
            plan,
            job.proposer,
            pruner=job.pruner,
            limit=job.budget,
            describe=job.describe,
            place=Place(socket.gethostname(), str(config.paths.root.resolve())),
            # What an earlier check has trained is known by its keys: it needs no consent.
            consent=consent if is_search else Consent(new_data=True, same_data=True, changes=True),
        )
        if is_search:
            files.remember(ledger.identity.study_id)
        ledger.describe_study(job.attributes, job.note)
        yield OpenStudy(prepared, job, ledger)


def _plan(prepared: PreparedSearch, job: Job, permit: Permit) -> StudyPlan:
    plan, settings = study_plan(prepared), job.proposer.settings
    counted = job.counted or plan.counted
    return replace(plan, name=job.study_name, counted=counted, permit=permit, strategy=settings)


class OpenStudy:
    """A job whose study is open."""

    def __init__(self, prepared: PreparedSearch, job: Job, ledger: Ledger) -> None:
        self.prepared, self.job, self.ledger = prepared, job, ledger

    def run(self, observer: Observer) -> SearchEnd:
        """Train what is left; starts workers only if anything is.

        Raises:
            ConfigError: If something is left, and this machine does not have the device for it.
        """
        if not self.ledger.is_anything_left():
            return SearchEnd(stopped_by=None, gave_up_after=())
        require_device(self.prepared.device_issue)
        prepared, config = self.prepared, self.prepared.loaded.config
        num_trainings, num_processes = self.job.num_trainings, config.num_processes
        specs = worker_specs(prepared.device, prepared.workers, num_trainings, num_processes)
        log = config.paths.logs / f"sequifier-{self.job.log_name}-workers.log"
        with (
            log_to(config.study_folder / "coordinator.log", study=self.job.study_name),
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
                Surroundings(
                    decode=self.job.decode,
                    config_path=lambda run: str(config.run_path(run.model_name)),
                    keep=self._keep,
                    drop=remove_models,
                    identity=self._identity,
                    counted=self.ledger.identity.counted,
                ),
                has_baselines=bool(self.ledger.baselines),
                seconds_left=self.job.budget.seconds_left,
            ).run()

    def _identity(self, claim: Claim) -> RunIdentity:
        return RunIdentity(
            study_id=self.ledger.identity.study_id,
            key=claim.key,
            data=self.prepared.keyer.data_of(claim.point),
        )

    def _keep(self, run: ActiveRun, losses: Mapping[int, float]) -> list[Artifact]:
        model_name = run.config.model_name
        return keep_artifacts(
            artifact_folder(self.prepared.loaded.config.study_folder),
            f"{self.prepared.name}/{run.claim.trial_id}",
            self.prepared.loaded.config.run_path(model_name),
            title=model_name,
            losses=losses,
            train_losses=run.train_losses,
        )
