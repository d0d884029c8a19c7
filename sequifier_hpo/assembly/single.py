"""One training run alone."""

from collections.abc import Callable

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.single import run_single
from sequifier_hpo.records import EpochReport, TrainingResult


def train_alone(config: TrainConfig, *, on_epoch: Callable[[EpochReport], None]) -> TrainingResult:
    """Train one configuration with the code path of a trial."""
    spec = config.training_spec
    specs = worker_specs(spec.device, workers=1, num_runs=1, processes_per_run=spec.num_processes)
    pool = WorkerPool(specs, config.paths.logs / f"sequifier-{config.model_name}-workers.log")
    try:
        return run_single(pool, config, on_epoch)
    finally:
        pool.close()
