"""Runs that several processes train together, through the worker that starts them."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.single import order_of, run_single
from sequifier_hpo.records import Counted, EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.training.checkpoint import read_checkpoint
from tests.process.chaos import children_of, send

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Trained:
    """What became of a run."""

    config: TrainConfig
    result: TrainingResult
    losses: list[tuple[float, float]]
    """Training and validation loss per epoch."""

    @property
    def text_log(self) -> str:
        return self.config.paths.log(self.config.model_name).read_text()


Train = Callable[..., Trained]
OnEpoch = Callable[[EpochReport], None]

ENDLESS = 100_000


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerPool]:
    """One worker for all tests: to start torch takes longer than any of them."""
    specs = worker_specs("cpu", workers=1, num_runs=1, processes_per_run=2)
    pool = WorkerPool(specs, tmp_path_factory.mktemp("pool") / "workers.log")
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def data_paths(
    tmp_path_factory: pytest.TempPathFactory,
    make_arrays: Callable[..., Any],
    write_table: Callable[..., None],
) -> dict[str, str]:
    """Windows with more or less padding: half of a batch is not half of what counts."""
    folder = tmp_path_factory.mktemp("data")
    paths = {
        f"{split}_data_path": folder / f"{split}.parquet" for split in ("training", "validation")
    }
    for path, num_windows in zip(paths.values(), (43, 17), strict=True):
        values = make_arrays(num_windows, 5, num_windows)
        for row in range(num_windows):
            values["cat1"][row, : row % 5] = 0
        write_table(path, values)
    return {field: str(path) for field, path in paths.items()}


@pytest.fixture
def train(
    make_config: Callable[..., TrainConfig], pool: WorkerPool, data_paths: dict[str, str]
) -> Train:
    """A function: number of processes, and changes of a small run -> what became of it."""

    def train(
        world_size: int = 2,
        on_epoch: OnEpoch = lambda _: None,
        counted: Counted | None = None,
        **changes: Any,
    ) -> Trained:
        processes = {"distributed": world_size > 1, "world_size": world_size}
        config = make_config(**data_paths, **processes, **changes)
        losses: list[tuple[float, float]] = []

        def note(report: EpochReport) -> None:
            losses.append((report.train_loss, report.validation_loss))
            on_epoch(report)

        return Trained(
            config, run_single(pool, order_of(config, counted=counted or Counted()), note), losses
        )

    return train


def trial_process() -> int:
    """Pid of the process that watches over the ranks of the one trial that runs."""
    trials = [trial for worker in children_of(os.getpid()) for trial in children_of(worker)]
    (trial,) = [trial for trial in trials if len(children_of(trial)) == 2]
    return trial


@pytest.mark.parametrize(
    "changes",
    [
        {
            "target_columns": ["cat1", "val1"],
            "input_columns": ["cat1", "val1"],
            "feature_embedding_dims": {"cat1": 7, "val1": 1},
        },
        {"accumulation_steps": 3, "batch_size": 4, "class_share_log_columns": ["cat1"]},
        {"batch_size": 1},
    ],
    ids=["two targets", "accumulated", "fewer rows in a batch than processes"],
)
def test_two_processes_come_to_the_losses_of_one(train: Train, changes: dict[str, Any]) -> None:
    alone = train(world_size=1, **changes)

    together = train(world_size=2, **changes)

    assert together.result.kind is OutcomeKind.COMPLETED
    assert len(alone.losses) == 2
    np.testing.assert_allclose(together.losses, alone.losses, rtol=1e-5)


def test_two_processes_count_the_positions_that_one_does(train: Train) -> None:
    counted = Counted(last_positions=2)
    beside: list[float] = []

    def note(report: EpochReport) -> None:
        assert report.validation_loss_all_positions is not None
        beside.append(report.validation_loss_all_positions)

    alone = train(world_size=1, on_epoch=note, counted=counted)
    together = train(world_size=2, on_epoch=note, counted=counted)

    np.testing.assert_allclose(together.losses, alone.losses, rtol=1e-5)
    np.testing.assert_allclose(beside[2:], beside[:2], rtol=1e-5)


def test_one_process_reports_and_writes_for_all(train: Train) -> None:
    run = train(export_generative_model=True, export_onnx=True)

    assert len(run.result.model_files) == 2
    assert run.text_log.count("Validation | Epoch: 2") == 1
    assert [path.name for path in run.config.paths.checkpoints.iterdir()] == ["small-epoch-2.pt"]


def test_each_process_has_a_dropout_of_its_own_and_goes_on_with_it_after_a_stop(
    train: Train,
) -> None:
    whole = train(model_name="whole", epochs=12, dropout=0.3)
    states = read_checkpoint(whole.config.paths.checkpoint("whole", 12))["sequifier_hpo"]

    def stop(report: EpochReport) -> None:
        if report.epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = train(on_epoch=stop, epochs=12, dropout=0.3)
    continued = train(epochs=12, dropout=0.3, continue_training=True)

    own, (other,) = states["random_state"], states["random_states_of_other_ranks"]
    assert not torch.equal(own["cpu"], other["cpu"])
    assert stopped.result.kind is OutcomeKind.INTERRUPTED
    assert len(stopped.losses) < 12
    assert [*stopped.losses, *continued.losses] == whole.losses


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (signal.SIGSEGV, OutcomeKind.CRASHED, "ended by SIGSEGV"),
        (signal.SIGKILL, OutcomeKind.OUT_OF_MEMORY, "as the kernel does when memory runs out"),
    ],
)
def test_a_process_that_dies_ends_the_run_with_its_reason(
    train: Train, number: signal.Signals, kind: OutcomeKind, words: str
) -> None:
    def kill_the_second(report: EpochReport) -> None:
        if report.epoch == 1:
            send(children_of(trial_process())[1], number)

    run = train(on_epoch=kill_the_second, epochs=ENDLESS)

    assert run.result.kind is kind
    assert words in run.result.reason


def test_no_process_outlives_the_trials_own(train: Train) -> None:
    ranks: list[int] = []

    def kill_the_trial(report: EpochReport) -> None:
        if report.epoch == 1:
            ranks.extend(children_of(trial_process()))
            send(trial_process(), signal.SIGKILL)

    train(on_epoch=kill_the_trial, epochs=ENDLESS)

    deadline = time.monotonic() + 15
    while any(Path(f"/proc/{pid}").exists() for pid in ranks):
        assert time.monotonic() < deadline, "an orphan lives on"
        time.sleep(0.02)
    assert len(ranks) == 2


def test_a_mistake_that_the_processes_meet_is_the_runs_reason(train: Train) -> None:
    run = train(n_classes={"cat1": 3, "cat2": 4})

    assert run.result.kind is OutcomeKind.INVALID
    assert "its ids go from 0 to 2" in run.result.reason
    assert "Traceback" not in run.text_log
