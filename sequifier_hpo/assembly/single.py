"""One training run alone."""

from collections.abc import Callable
from pathlib import Path

from sequifier_hpo.config.metadata import read_metadata
from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.run_file import read_run_file_head
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.single import run_single
from sequifier_hpo.errors import ConfigError
from sequifier_hpo.records import Counted, EpochReport, TrainingResult


def counted_in(config_path: Path, config: TrainConfig) -> Counted:
    """Which positions the validation loss of a run file counts.

    Args:
        config_path: The file, whose head says which positions.
        config: What was read from it, whose metadata say how padding is known.
    """
    head = read_run_file_head(config_path.read_text(encoding="utf-8"))
    metadata_path = Path(project_path(config.metadata_config_path, config.project_root))
    try:
        padding = read_metadata(metadata_path).padding
    except ConfigError:
        padding = None  # without them, a run can be trained all the same: --skip-metadata
    return Counted(last_positions=head.counted_last, padding_is_stored=padding is not None)


def train_alone(
    config: TrainConfig, *, counted: Counted, on_epoch: Callable[[EpochReport], None]
) -> TrainingResult:
    """Train one configuration with the code path of a trial."""
    spec = config.training_spec
    specs = worker_specs(spec.device, workers=1, num_runs=1, processes_per_run=spec.num_processes)
    pool = WorkerPool(specs, config.paths.logs / f"sequifier-{config.model_name}-workers.log")
    try:
        return run_single(pool, config, on_epoch, counted)
    finally:
        pool.close()
