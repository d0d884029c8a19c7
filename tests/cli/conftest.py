"""A study in a project, made without training, and commands run in this process."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.cli.main import app, exit_code_of
from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.report.artifacts import artifact_folder, keep_artifacts
from sequifier_hpo.report.notes import Places, study_note, trial_attributes, trial_note
from sequifier_hpo.searchspace import EffectiveSpace, Point, compile_space
from sequifier_hpo.study import Description, Ledger, OwnerLock, Storage
from sequifier_hpo.study.snapshot import NUM_RUNS, STRATEGY
from tests.conftest import WriteSearch
from tests.contract.conftest import Plan


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


Run = Callable[..., Finished]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def call(*arguments: str) -> Finished:
        capsys.readouterr()
        code = exit_code_of(lambda: app(list(arguments)))
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return call


class Study:
    """The study `shop` of the search file `configs/search.yaml`, in its usual place."""

    def __init__(self, file: Path) -> None:
        self.file = str(file)
        config = load_search(file).config
        space = compile_space(config)
        effective = EffectiveSpace(space, config.seed)
        places = Places(
            search_file=str(file),
            run_file="configs/hp_search/{run}.yaml",
            log="logs/sequifier-{run}.log",
            metrics="logs/sequifier-{run}-metrics.jsonl",
            models="models/sequifier-{run}-*",
            study_folder=str(config.study_folder),
        )
        num_runs = effective.num_distinct

        def describe(_key: str, point: Point) -> Description:
            return Description(
                attributes=trial_attributes(space, point),
                note=lambda run: trial_note(space, point, run, places),
            )

        plan = Plan(space, effective, "grid", num_runs)
        self._artifacts = artifact_folder(config.study_folder)
        self.url = sqlite_url(config.study_folder / "study.db")
        self.storage = Storage(self.url)
        self._lock = OwnerLock.acquire(config.study_folder / "coordinators")
        self.study = Ledger(
            self.storage, self._lock.owner, plan.study, plan.proposer, describe=describe
        )
        self.study.describe_study(
            {STRATEGY: "grid", NUM_RUNS: num_runs},
            study_note(space, num_runs=num_runs, num_distinct=num_runs, places=places),
        )

    def complete(self, *losses: float) -> None:
        """Let the next runs end with these losses."""
        for loss in losses:
            claim = self.study.claim()
            assert claim is not None
            self.study.report(claim, 1, loss + 1)
            self.study.report(claim, 2, loss)
            attributes: dict[str, Any] = {"best_epoch": 2, "seconds": 3.5, "num_parameters": 1234}
            run_file = Path(f"configs/hp_search/shop-run-{claim.run_number}.yaml")
            run_file.parent.mkdir(exist_ok=True)
            run_file.write_text(f"model_name: shop-run-{claim.run_number}\n")
            kept = keep_artifacts(
                self._artifacts,
                f"shop/{claim.trial_id}",
                run_file,
                title=f"shop-run-{claim.run_number}",
                losses=self.study.losses(claim),
                train_losses={1: loss},
            )
            self.study.complete(claim, loss, attributes, kept)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Someone else writes to the database all the while."""
        path = self.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")

    def die(self) -> None:
        """Let go of everything, as the kernel does for a killed process."""
        self._lock.release()
        self.storage.close()


@pytest.fixture
def study(write_search: WriteSearch) -> Any:
    """A grid of 8 runs, none of them begun."""
    study = Study(write_search())
    yield study
    study.storage.close()
