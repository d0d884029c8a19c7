"""One training run alone."""

from collections.abc import Callable
from pathlib import Path

from sequifier_hpo.assembly.data import data_of, metadata_of
from sequifier_hpo.config.run_file import read_run_file_head
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.single import run_single
from sequifier_hpo.records import (
    Checkpoints,
    Counted,
    EpochReport,
    RunIdentity,
    TrainingResult,
)


def counted_in(config_path: Path, config: TrainConfig) -> Counted:
    """Which positions the validation loss of a run file counts.

    Args:
        config_path: The file, whose head says which positions.
        config: What was read from it, whose metadata say how padding is known.
    """
    head = read_run_file_head(config_path.read_text(encoding="utf-8"))
    metadata = metadata_of(config)
    padding = None if metadata is None else metadata.padding
    return Counted(last_positions=head.counted_last, padding_is_stored=padding is not None)


def train_alone(
    config: TrainConfig,
    *,
    counted: Counted,
    on_epoch: Callable[[EpochReport], None],
    on_progress: Callable[[str], None],
    checkpoints: Checkpoints = Checkpoints.OWN,
) -> TrainingResult:
    """Train one configuration with the code path of a trial.

    Args:
        config: The run.
        counted: Which positions its validation loss counts.
        on_epoch: Told after every epoch.
        on_progress: Takes a line of text before each slow step that precedes the training.
        checkpoints: What becomes of those that are not known to be the run's own.

    Raises:
        InputError: If its data cannot be read.
    """
    spec = config.training_spec
    specs = worker_specs(spec.device, workers=1, num_runs=1, processes_per_run=spec.num_processes)
    pool = WorkerPool(specs, config.paths.logs / f"sequifier-{config.model_name}-workers.log")
    try:
        # While the worker loads torch. Alone, a run is known by its fields and its data: no key.
        identity = RunIdentity(study_id=None, key="", data=data_of(config, on_progress))
        return run_single(
            pool, config, on_epoch, counted=counted, identity=identity, checkpoints=checkpoints
        )
    finally:
        pool.close()


def checkpoints_of(config: TrainConfig) -> list[Path]:
    """The checkpoints under a run's name, whatever run wrote them."""
    folder, name = config.paths.checkpoints, config.model_name
    if not folder.is_dir():
        return []
    interrupted = config.paths.interrupted_checkpoint(name)
    return sorted(
        path
        for path in folder.iterdir()
        if path == interrupted or config.paths.epoch_of_checkpoint(name, path.name) is not None
    )
