"""Runs with a compiled training step, through the worker that starts them, next to usual ones."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.pool import WorkerPool, WorkerSpec
from sequifier_hpo.coordinator.single import order_of, run_single
from sequifier_hpo.messages import EpochDone, RunTrial, TrialEnded
from sequifier_hpo.records import EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.training.checkpoint import read_checkpoint
from sequifier_hpo.training.compile_plan import finds_cpp_compiler

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not finds_cpp_compiler(), reason="there is no C++ compiler"),
]

COMPILED = "the training step is compiled"
NOT_COMPILED = "the training step is not compiled: "
# So many epochs would repay the build. The learning rate is 0 from the third one on, which then is
# no better than the second, and the run ends.
LONG: dict[str, Any] = {
    "epochs": 1_000_000,
    "early_stopping_epochs": 1,
    "scheduler": {"name": "StepLR", "step_size": 2, "gamma": 0.0},
    "torch_compile": "auto",
    "dropout": 0.2,
    "accumulation_steps": 2,
    "positional_encoding": "rope",
    "target_columns": ["cat1", "val1"],
    "input_columns": ["cat1", "val1"],
    "feature_embedding_dims": {"cat1": 7, "val1": 1},
}
# Of the first, all tensors of the network have the shapes they have in `LONG`.
OTHER_STEPS: dict[str, dict[str, Any]] = {
    "other heads": {"n_head": 1},
    "other batch": {"batch_size": 12},
}

COMPILER = """#!/bin/sh
# The real compiler, until there is a file "shut" beside this: then no more kernels.
case "$*" in
  *.main.cpp*) test ! -e "$0.shut" || {{ echo "no room left" >&2; exit 1; }} ;;
esac
exec {real} "$@"
"""


@dataclass
class Trained:
    """What became of a run."""

    config: TrainConfig
    losses: list[tuple[float, float]]
    """Training and validation loss per epoch."""
    result: TrainingResult | None = None

    @property
    def text_log(self) -> str:
        return self.config.paths.log(self.config.model_name).read_text()

    def weights(self) -> dict[str, list[float]]:
        """After the last epoch."""
        content = read_checkpoint(self.config.paths.checkpoint(self.config.model_name, 3))
        return {name: value.tolist() for name, value in content["model_state_dict"].items()}


Make = Callable[..., TrainConfig]


def train_at_once(pool: WorkerPool, configs: list[TrainConfig]) -> list[Trained]:
    """Start all runs together, in a slot each."""
    runs = [Trained(config, []) for config in configs]
    for number, run in enumerate(runs):
        pool.run(
            number,
            RunTrial(
                trial_number=number, attempt=1, config=run.config, config_path=None, resume=False
            ),
        )
    while any(run.result is None for run in runs):
        for event in pool.poll(0.5):
            if isinstance(event, EpochDone):
                report = event.report
                losses = (report.train_loss, report.validation_loss)
                runs[event.trial_number].losses.append(losses)
            elif isinstance(event, TrialEnded):
                runs[event.trial_number].result = event.result
    return runs


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory,
    build_config: Callable[[Path, dict[str, Any]], TrainConfig],
    make_arrays: Callable[..., Any],
    write_table: Callable[..., None],
) -> Make:
    """A function: changed keys -> config of a small run on 331 windows."""
    root = tmp_path_factory.mktemp("compiled")
    paths = {}
    for split, num_windows in (("training", 331), ("validation", 37)):
        path = root / f"{split}.parquet"
        write_table(path, make_arrays(num_windows, 5, num_windows))
        paths[f"{split}_data_path"] = str(path)
    return lambda **changes: build_config(root, {**paths, **LONG, **changes})


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that compiles until it is shut."""
    path = tmp_path_factory.mktemp("compiler") / "g++"
    path.write_text(COMPILER.format(real=shutil.which("g++")))
    path.chmod(0o700)
    return path


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory, compiler: Path) -> Iterator[WorkerPool]:
    """One worker for all tests, that runs several trials at once and has an empty cache."""
    folder = tmp_path_factory.mktemp("pool")
    headers = tmp_path_factory.mktemp("headers")  # torch precompiles them: 150 MB
    environment = {
        "XDG_CACHE_HOME": str(folder / "cache"),
        "CXX": str(compiler),
        "TMPDIR": str(headers),
        # Vector instructions that the processor has are not tried out, which takes a program each.
        "TORCHINDUCTOR_VEC_ISA_OK": "1",
    }
    spec = WorkerSpec(num_slots=3, is_resident=False, environment=environment)
    pool = WorkerPool([spec], folder / "workers.log")
    yield pool
    pool.close()
    shutil.rmtree(headers)


@pytest.fixture(scope="module")
def usual(pool: WorkerPool, make: Make) -> Trained:
    """The run without a compiled step."""
    (run,) = train_at_once(pool, [make(model_name="usual", torch_compile="none")])
    return run


@pytest.fixture(scope="module")
def built(pool: WorkerPool, make: Make) -> list[Trained]:
    """The run twice at the same time, both of which build into the same empty folder."""
    return train_at_once(pool, [make(model_name=name) for name in ("one", "other")])


@pytest.fixture
def shut(compiler: Path, built: list[Trained]) -> Iterator[None]:  # built: first of all
    """No more kernels while the test runs."""
    mark = Path(f"{compiler}.shut")
    mark.touch()
    yield
    mark.unlink()


def test_a_compiled_run_comes_to_the_losses_of_a_usual_one_to_four_decimals(
    built: list[Trained], usual: Trained
) -> None:
    run, _ = built

    assert COMPILED in run.text_log
    assert "not used" not in run.text_log
    assert COMPILED not in usual.text_log
    assert len(usual.losses) == 3
    np.testing.assert_allclose(run.losses, usual.losses, rtol=0, atol=5e-5)


def test_runs_that_build_the_same_step_at_the_same_time_end_equal_bit_for_bit(
    built: list[Trained],
) -> None:
    one, other = built

    assert one.losses == other.losses
    assert one.weights() == other.weights()


def test_a_stopped_and_continued_compiled_run_equals_an_uninterrupted_one_bit_for_bit(
    pool: WorkerPool, make: Make, built: list[Trained]
) -> None:
    config = make(model_name="stopped", continue_training=True)
    losses: list[tuple[float, float]] = []

    def note(report: EpochReport) -> None:
        losses.append((report.train_loss, report.validation_loss))
        if report.epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    stopped = run_single(pool, order_of(config), note)
    continued = Trained(config, losses, run_single(pool, order_of(config), note))

    assert stopped.kind is OutcomeKind.INTERRUPTED
    assert continued.text_log.count(COMPILED) == 2
    assert losses == built[0].losses
    assert continued.weights() == built[0].weights()


@pytest.mark.usefixtures("shut")
def test_a_step_is_built_once_for_all_runs_of_its_shape(
    pool: WorkerPool, make: Make, built: list[Trained]
) -> None:
    changes = {"learning_rate": 0.003, "model_name": "later"}

    (run,) = train_at_once(pool, [make(**changes)])

    assert COMPILED in run.text_log


@pytest.mark.usefixtures("shut")
@pytest.mark.parametrize("step", OTHER_STEPS)
def test_another_step_is_never_served_and_what_cannot_be_compiled_runs_as_usual(
    pool: WorkerPool, make: Make, step: str
) -> None:
    changes = OTHER_STEPS[step]
    configs = [
        make(model_name=f"{step} {kind}", torch_compile=kind, **changes)
        for kind in ("auto", "none")
    ]

    run, usual = train_at_once(pool, configs)

    assert run.text_log.count(NOT_COMPILED) == 1
    assert COMPILED not in run.text_log
    assert "Traceback" not in run.text_log
    assert run.losses == usual.losses
    assert run.weights() == usual.weights()
