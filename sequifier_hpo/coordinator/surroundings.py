"""What a coordinator must know of the runs that it trains, besides their study."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.records import ALL_POSITIONS, BatchPlan, Counted, MemoryNeed, RunIdentity
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
    need: Callable[[Claim, TrainConfig, BatchPlan], MemoryNeed | None] = lambda *_run: None
    """What training the run of a claim with other batches takes; None = that is not known."""
    counted: Counted = ALL_POSITIONS
    """Which positions the validation loss counts."""
