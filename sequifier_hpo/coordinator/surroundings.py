"""What a coordinator must know of the runs that it trains, besides their study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.devices import device_kind
from sequifier_hpo.coordinator.figures import with_batches
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.records import ALL_POSITIONS, BatchPlan, Counted, MemoryNeed, RunIdentity
from sequifier_hpo.searchspace import memory_need
from sequifier_hpo.study import Artifact, Claim


@dataclass(frozen=True)
class Surroundings:
    """Where runs come from and where their files go."""

    decode: Callable[[Claim], tuple[TrainConfig, list[str]]]
    """Claim -> the run's configuration as it was asked, and notes for its log."""
    config_path: Callable[[TrainConfig], str]
    """Where the run file of a configuration is written."""
    keep: Callable[[ActiveRun, Mapping[int, float]], Sequence[Artifact]] = lambda _run, _losses: ()
    """Keeps the artifacts of a run that has its end, given its validation losses."""
    drop: Callable[[Sequence[str]], None] = lambda _files: None
    """Removes the models of a run that was trained on, and is stopped."""
    identity: Callable[[Claim], RunIdentity | None] = lambda _claim: None
    """What the run of a claim is."""
    counted: Counted = ALL_POSITIONS
    """Which positions the validation loss counts."""

    def need(self, claim: Claim, config: TrainConfig, plan: BatchPlan) -> MemoryNeed | None:
        """What training a run with a plan takes here; None = that cannot be compared."""
        identity, device = self.identity(claim), device_kind(config.training_spec.device)
        if identity is None or not device:
            return None
        return memory_need(with_batches(config, plan), identity.data, device)
