"""The forward pass of a training step: a batch becomes a loss."""

from collections.abc import Callable

import torch
from torch import Tensor

from sequifier_hpo.training.data.batching import Batch
from sequifier_hpo.training.device import Precision
from sequifier_hpo.training.losses import TargetLosses
from sequifier_hpo.training.model.transformer import SequenceTransformer

ComputeLoss = Callable[[Batch, Tensor, Tensor], tuple[Tensor, Tensor]]
"""What `ForwardPass` does."""


class ForwardPass:
    """The network and its criteria, one operation of torch after the other."""

    def __init__(
        self,
        model: SequenceTransformer,
        losses: TargetLosses,
        precision: Precision,
        device: torch.device,
    ) -> None:
        self.model = model
        self.device = device
        self._losses = losses
        self._precision = precision

    def __call__(self, batch: Batch, mask_BT: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch.

        Args:
            batch: Some windows, or this process's share of them.
            mask_BT: Which of their positions count.
            count: Number of the positions that count, in the whole batch.

        Returns:
            The loss to go back from, and per target the sum over the positions that count.
        """
        with self._precision.autocast(self.device):
            outputs = self.model(batch.inputs)
        sums = self._losses.sums(outputs, batch.targets, mask_BT)
        return self._losses.total(sums, count), sums
