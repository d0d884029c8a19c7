"""One training run alone."""

from collections.abc import Callable
from contextlib import closing
from functools import partial

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.single import run_single
from sequifier_hpo.preprocessing.inputs import data_of_run
from sequifier_hpo.records import Checkpoints, Counted, EpochReport, RunIdentity, TrainingResult


def train_alone(
    config: TrainConfig,
    *,
    counted: Counted,
    on_epoch: Callable[[EpochReport], None],
    on_progress: Callable[[str], None],
    checkpoints: Checkpoints = Checkpoints.OWN,
    weights: str | None = None,
) -> TrainingResult:
    """Train one configuration with the code path of a trial.

    Args:
        config: The run.
        counted: Which positions its validation loss counts.
        on_epoch: Told after every epoch.
        on_progress: Takes a line of text before each slow step that precedes the training.
        checkpoints: What becomes of those that are not known to be the run's own.
        weights: The file whose weights it begins with; None = drawn ones.

    Raises:
        InputError: If its data cannot be read.
    """
    spec = config.training_spec
    specs = worker_specs(spec.device, workers=1, num_runs=1, processes_per_run=spec.num_processes)
    pool = WorkerPool(specs, config.paths.logs / f"sequifier-{config.model_name}-workers.log")
    with closing(pool):
        # While the worker loads torch. Alone, a run is known by its fields and its data: no key.
        identity = RunIdentity(study_id=None, key="", data=data_of_run(config, on_progress))
        run = partial(run_single, pool, config, on_epoch, counted=counted, identity=identity)
        return run(checkpoints=checkpoints, weights=weights)
