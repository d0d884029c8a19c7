"""The winner check: the best runs of a search, trained again with new seeds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sequifier_hpo.assembly.locate import source_of
from sequifier_hpo.assembly.prepare import PreparedSearch
from sequifier_hpo.assembly.search import decode_claim, places_of, train_claims
from sequifier_hpo.assembly.view import read_source
from sequifier_hpo.config.paths import retraining_name
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.observer import Observer, SearchEnd
from sequifier_hpo.records import Run, RunState
from sequifier_hpo.report.leaderboard import leaderboard, value_of
from sequifier_hpo.report.notes import retraining_note, trial_attributes, verification_note
from sequifier_hpo.report.verification import CheckedRun
from sequifier_hpo.searchspace import describe_space, differences
from sequifier_hpo.study import (
    Claim,
    Lease,
    Retraining,
    SpaceChangedError,
    Storage,
    StudySnapshot,
    VerificationStudy,
    batch_plan_attributes,
    batch_plan_of,
)

_NUM_SEEDS = 2**32  # torch and numpy take as many


def read_search(prepared: PreparedSearch) -> StudySnapshot:
    """The study whose winner is to be checked, as it stands.

    Raises:
        InputError: If the search was never started.
        SpaceChangedError: If it was started with another search space.
        EnvironmentFaultError: If the storage cannot be reached.
    """
    snapshot = read_source(source_of(prepared))
    changed = differences(snapshot.space, describe_space(prepared.space))
    if changed:
        raise SpaceChangedError(prepared.name, changed)
    return snapshot


def top_runs(runs: Sequence[Run], count: int) -> list[Run]:
    """The best runs; grid cells that took the result of another one do not count."""
    return leaderboard(run for run in runs if run.duplicate_of is None)[:count]


def new_seeds(seed: int, count: int) -> list[int]:
    """The seeds after that of the search."""
    return [(seed + i) % _NUM_SEEDS for i in range(1, count + 1)]


class OpenVerification:
    """A winner check with its study open in the storage."""

    def __init__(self, prepared: PreparedSearch, runs: Sequence[Run], num_seeds: int) -> None:
        """Open the storage and the study.

        Args:
            prepared: The search file.
            runs: What is trained again, best first.
            num_seeds: How often.

        Raises:
            EnvironmentFaultError: If the storage cannot be reached.
        """
        self._prepared = prepared
        self._runs = runs
        self._places = places_of(prepared)
        self.seeds = new_seeds(prepared.loaded.config.seed, num_seeds)
        # A seed at a time, so that a check that is stopped early can compare what it has.
        retrainings = [self._retraining(run, seed) for seed in self.seeds for run in runs]
        self._storage = Storage(prepared.storage_url)
        self._lease = Lease.acquire(prepared.loaded.config.study_folder / "coordinators")
        self.study = VerificationStudy(
            self._storage,
            prepared.name,
            prepared.space,
            retrainings,
            self._lease.owner,
            note=verification_note(prepared.name, self._places),
        )

    def run(self, observer: Observer) -> SearchEnd:
        """Train what is left; starts workers only if anything is."""
        if not self.study.is_anything_left():
            return SearchEnd(stopped_by=None, gave_up_after=())
        return train_claims(
            self._prepared,
            self.study,
            observer,
            decode=self._decode,
            num_runs=len(self._runs) * len(self.seeds),
            log_name=f"{self._prepared.name}-verify",
        )

    def results(self) -> list[CheckedRun]:
        """What was found so far, in the order of the search."""
        trained = self.study.results()
        checked = []
        for run in self._runs:
            assert run.validation_loss is not None, "only complete runs are checked"
            own = [(r.seed, found) for r, found in trained if r.run_number == run.number and found]
            checked.append(
                CheckedRun(
                    run_number=run.number,
                    search_loss=run.validation_loss,
                    losses={
                        seed: found.validation_loss
                        for seed, found in own
                        if found.validation_loss is not None
                    },
                    num_seeds=len(self.seeds),
                    failures={
                        seed: str(found.attributes.get("explanation") or found.reason)
                        for seed, found in own
                        if found.state == RunState.FAILED
                    },
                    parameters={name: value_of(label) for name, label in run.labels.items()},
                )
            )
        return checked

    def close(self) -> None:
        """Let go of the storage and of this coordinator's lease."""
        self._lease.release()
        self._storage.close()

    def _retraining(self, run: Run, seed: int) -> Retraining:
        space = self._prepared.space
        cell = space.cell_of(run.labels)
        # What an out-of-memory retry came down to is what the search has measured.
        plan = batch_plan_of(run.attributes)
        came_down_to = {} if plan is None else batch_plan_attributes(plan)
        return Retraining(
            run_number=run.number,
            cell=cell,
            seed=seed,
            attributes={**trial_attributes(space, cell), **came_down_to},
            note=retraining_note(space, cell, run.number, seed, self._places),
        )

    def _decode(self, claim: Claim) -> tuple[TrainConfig, list[str]]:
        what = self.study.retraining(claim.rank)
        config, notes = decode_claim(self._prepared, claim, what.run_number)
        name = retraining_name(self._prepared.name, what.run_number, what.seed)
        update: dict[str, Any] = {"model_name": name, "seed": what.seed}
        if self._prepared.loaded.config.export == "best":
            update |= {"export_onnx": False, "export_pt": False}
        notes.append(f"winner check: run {what.run_number} again, with seed {what.seed}")
        return config.model_copy(update=update), notes


@contextmanager
def open_verification(
    prepared: PreparedSearch, runs: Sequence[Run], num_seeds: int
) -> Iterator[OpenVerification]:
    """Open a winner check, and let go of everything at the end."""
    verification = OpenVerification(prepared, runs, num_seeds)
    try:
        yield verification
    finally:
        verification.close()
