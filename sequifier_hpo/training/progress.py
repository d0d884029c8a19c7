"""Progress of a run: plain values that are saved in and restored from its checkpoints."""

from dataclasses import dataclass, field, fields
from typing import Any

from torch import Tensor


@dataclass
class Progress:
    """The part of a run's state that is neither weights in training nor optimizer."""

    epoch: int = 0
    """Finished epochs."""
    batch: int = 0
    """Batches done of the epoch under way; 0 between epochs."""
    best_epoch: int | None = None
    best_validation_loss: float | None = None
    best_validation_loss_all_positions: float | None = None
    """After the best epoch; None = those are the ones that count."""
    best_state: dict[str, Tensor] | None = None
    """Weights after the best epoch, on the CPU."""
    validation_losses: dict[int, float] = field(default_factory=dict)
    """By epoch."""
    epochs_without_improvement: int = 0
    last_validation_loss: float | None = None
    sums: list[float] = field(default_factory=list)
    """Sum of the training loss per target over the epoch under way; empty = nothing yet."""
    count: float = 0.0
    """Number of positions that `sums` runs over."""
    learning_rate: float = 0.0
    """Of the last optimizer step."""
    positions: int = 0
    """Training positions seen so far, padding included."""
    epoch_seconds: float = 0.0
    """Time spent on the epoch under way."""
    training_seconds: float = 0.0
    """Time spent on training batches so far."""
    seconds: float = 0.0
    """Time spent on training and validation so far."""

    @property
    def tokens_per_second(self) -> float:
        """Training positions per second over the whole run."""
        return self.positions / self.training_seconds if self.training_seconds > 0 else 0.0

    def as_state(self) -> dict[str, Any]:
        """The values as they stand in a checkpoint."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
