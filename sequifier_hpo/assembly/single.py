"""One training run alone."""

from collections.abc import Callable
from contextlib import closing

from sequifier_hpo.coordinator.devices import worker_specs
from sequifier_hpo.coordinator.pool import WorkerPool
from sequifier_hpo.coordinator.single import run_single
from sequifier_hpo.messages import RunTrial
from sequifier_hpo.preprocessing.inputs import data_of_run
from sequifier_hpo.records import EpochReport, RunIdentity, TrainingResult


def train_alone(
    order: RunTrial,
    *,
    on_epoch: Callable[[EpochReport], None],
    on_progress: Callable[[str], None],
) -> TrainingResult:
    """Train one configuration with the code path of a trial.

    Args:
        order: What to train, and how; what the run is, is found out here.
        on_epoch: Told after every epoch.
        on_progress: Takes a line of text before each slow step that precedes the training.

    Raises:
        InputError: If its data cannot be read.
    """
    config, spec = order.config, order.config.training_spec
    specs = worker_specs(spec.device, workers=1, num_runs=1, processes_per_run=spec.num_processes)
    pool = WorkerPool(specs, config.paths.logs / f"sequifier-{config.model_name}-workers.log")
    with closing(pool):
        # While the worker loads torch. Alone, a run is known by its fields and its data: no key.
        identity = RunIdentity(study_id=None, key="", data=data_of_run(config, on_progress))
        return run_single(pool, order.model_copy(update={"identity": identity}), on_epoch)
