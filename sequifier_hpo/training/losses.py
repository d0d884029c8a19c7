"""The loss of a batch: per target a masked mean, over targets a weighted sum.

Axes: B batch, T positions, n classes of a target (1 for a real one).
"""

from collections.abc import Mapping, Sequence

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
        self.criteria = {target: _criterion(config, target, device) for target in self.targets}
        """Per target its criterion, one number per position."""
        weights = config.training_spec.loss_weights
        self.weights = [1.0 if weights is None else weights[target] for target in self.targets]
        self._weights = torch.tensor(self.weights, dtype=torch.float32, device=device)
        # Of the T + 1 items of a window those that are a target of a position.
        self._items = torch.arange(1, config.seq_length + 1, dtype=torch.int32, device=device)

    def mask(self, num_padding_B: Tensor) -> Tensor:
        """Which positions count, (B, T), as 1.0 and 0.0; one mask for all targets.

        Args:
            num_padding_B: How many of a window's T + 1 items, the oldest, are padding. The target
                of position t is item t + 1, and counts if it is none.
        """
        return (self._items >= num_padding_B[:, None]).float()

    def per_position(
        self, outputs: Mapping[str, Tensor], targets: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """The criterion at every position, padding too: per target (B * T,).

        Args:
            outputs: Per target (T, B, n), float32.
            targets: Per target (B, T): ids as int64, reals as float32.
        """
        found = []
        for target, criterion in self.criteria.items():
            # Flattening batch-first is free: the heads compute in that order.
            output = outputs[target].transpose(0, 1)
            flat = output.flatten(0, 1 if self._types[target] == "categorical" else -1)
            found.append(criterion(flat, targets[target].reshape(-1)))
        return found

    def sums(
        self,
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        mask_BT: Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> Tensor:
        """Per target the sum of the criterion over the positions that count.

        Args:
            outputs: As for `per_position`.
            targets: As for `per_position`.
            mask_BT: Result of `mask`.
            dtype: Type in which the sum is accumulated.

        Returns:
            A vector in the order of `targets`, unweighted.
        """
        return summed(self.per_position(outputs, targets), mask_BT, dtype)

    def total(self, sums: Tensor, count: Tensor) -> Tensor:
        """The weighted loss from the sums of `sums` and the number of positions that count."""
        return (self._weights * sums).sum() / (count + _EPS)

    def weighted(self, means: list[float]) -> float:
        """The weighted loss from one mean per target."""
        return sum(weight * mean for weight, mean in zip(self.weights, means, strict=True))


def of_one_target(config: TrainConfig, target: str) -> TrainConfig:
    """A run of one of the targets, whose loss is weighed against no other."""
    spec = config.training_spec
    update = {"criterion": {target: spec.criterion[target]}, "loss_weights": None}
    return config.model_copy(
        update={
            "target_columns": [target],
            "target_column_types": {target: config.target_column_types[target]},
            "training_spec": spec.model_copy(update=update),
        }
    )


def summed(losses: Sequence[Tensor], mask_BT: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Per target the sum over the positions that count, from the result of `per_position`."""
    mask = mask_BT.reshape(-1)
    return torch.stack([(values * mask).sum(dtype=dtype) for values in losses])


def newest(mask_BT: Tensor, num_positions: int) -> Tensor:
    """A mask without all but the last positions of each window."""
    if num_positions >= mask_BT.shape[1]:
        return mask_BT
    restricted = torch.zeros_like(mask_BT)
    restricted[:, -num_positions:] = mask_BT[:, -num_positions:]
    return restricted


def _criterion(config: TrainConfig, target: str, device: torch.device) -> nn.Module:
    """The target's criterion, one number per position."""
    spec = config.training_spec
    loss_class: type[nn.Module] = getattr(nn, spec.criterion[target])
    weights = weights_of_classes(config, target)
    if weights is None:
        return loss_class(reduction="none")
    return loss_class(reduction="none", weight=weights.to(device))


def weights_of_classes(config: TrainConfig, target: str) -> Tensor | None:
    """How much each class of a target weighs in its loss, (n_classes,); None = all the same."""
    weights = (config.training_spec.class_weights or {}).get(target)
    return None if weights is None else torch.tensor(weights)
