"""The loss of a batch: per target a masked mean, over targets a weighted sum.

Axes: B batch, T positions, n classes of a target (1 for a real one).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sequifier_hpo.config.train import TrainConfig

# Keeps a batch of nothing but padding at loss 0 instead of 0 / 0, as in Sequifier.
_EPS = 1e-9


class TargetLosses:
    """The criteria of all targets and how their results are weighed."""

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.targets = list(config.target_columns)
        self._types = config.target_column_types
        self._criteria = {target: _criterion(config, target, device) for target in self.targets}
        weights = config.training_spec.loss_weights
        self.weights = [1.0 if weights is None else weights[target] for target in self.targets]
        self._weights = torch.tensor(self.weights, dtype=torch.float32, device=device)
        categorical = [t for t in self.targets if self._types[t] == "categorical"]
        self._reference_target = categorical[0] if categorical else self.targets[0]

    def mask(self, targets: Mapping[str, Tensor]) -> Tensor:
        """Which positions count, (B, T), as 1.0 and 0.0; one mask for all targets.

        Padding is id 0 of the first categorical target; without one, whatever stands before the
        first non-zero value of the first target.
        """
        values = targets[self._reference_target]
        if self._types[self._reference_target] == "categorical":
            return (values != 0).float()
        return ((values != 0).cumsum(1) > 0).float()

    def sums(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        mask_BT: Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Per target the sum of the criterion over the positions that count.

        Args:
            outputs: Per target (T, B, n), float32.
            targets: Per target (B, T): ids as int64, reals as float32.
            mask_BT: Result of `mask`.
            dtype: Type in which the sum is accumulated.

        Returns:
            A vector in the order of `targets`, unweighted.
        """
        mask = mask_BT.reshape(-1)
        sums = []
        for target, criterion in self._criteria.items():
            # Flattening batch-first is free: the heads compute in that order.
            output = outputs[target].transpose(0, 1)
            flat = output.flatten(0, 1 if self._types[target] == "categorical" else -1)
            raw = criterion(flat, targets[target].reshape(-1))
            sums.append((raw * mask).sum(dtype=dtype))
        return torch.stack(sums)

    def total(self, sums: Tensor, count: Tensor) -> Tensor:
        """The weighted loss from the sums of `sums` and the number of positions that count."""
        return (self._weights * sums).sum() / (count + _EPS)

    def weighted(self, means: list[float]) -> float:
        """The weighted loss from one mean per target."""
        return sum(weight * mean for weight, mean in zip(self.weights, means, strict=True))


def _criterion(config: TrainConfig, target: str, device: torch.device) -> nn.Module:
    """The target's criterion, one number per position."""
    spec = config.training_spec
    loss_class: type[nn.Module] = getattr(nn, spec.criterion[target])
    weights = (spec.class_weights or {}).get(target)
    if weights is None:
        return loss_class(reduction="none")
    return loss_class(reduction="none", weight=torch.tensor(weights, device=device))
