"""The validation loss: one number per run and epoch that can be compared between all runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sequifier_hpo.errors import InputError
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.device import Precision
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.losses import TargetLosses
from sequifier_hpo.training.model.transformer import SequenceTransformer

# On CPU, larger batches fall out of the cache and are slower.
_CPU_POSITIONS_PER_BATCH = 4096


@dataclass(frozen=True)
class Evaluation:
    """Result over a whole split."""

    loss: float
    """Weighted sum over targets; may be NaN or infinite."""
    by_target: dict[str, float]
    """Unweighted mean per target."""
    class_shares: dict[str, list[float]]
    """Per asked-for target: share of positions at which each id is the most probable one."""


class Evaluator:
    """Computes the loss of a model on a split.

    Per target it is the sum of the criterion over all positions that count, divided by their
    number, over the whole split: independent of the batch size, every window counted once.
    """

    def __init__(
        self,
        batches: WindowBatches,
        losses: TargetLosses,
        *,
        precision: Precision,
        device: torch.device,
        batch_size: int,
        class_share_targets: list[str],
        team: Team,
    ) -> None:
        self._batches = batches
        self._losses = losses
        self._precision = precision
        self._device = device
        self._team = team
        self._class_share_targets = class_share_targets
        self._batch_size = batch_size
        if device.type == "cpu":
            fitting = max(1, _CPU_POSITIONS_PER_BATCH // batches.window_length)
            self._batch_size = min(batch_size, fitting)
        # MPS has no float64.
        self._sum_dtype = torch.float32 if device.type == "mps" else torch.float64

    @torch.inference_mode()
    def evaluate(
        self, model: SequenceTransformer, should_stop: Callable[[], bool]
    ) -> Evaluation | None:
        """Evaluate, or give up with None as soon as `should_stop` says so.

        Raises:
            InputError: If the split holds nothing but padding.
        """
        model.eval()
        try:
            sums = torch.zeros(
                len(self._losses.targets), dtype=self._sum_dtype, device=self._device
            )
            count = torch.zeros((), dtype=self._sum_dtype, device=self._device)
            shares: dict[str, Tensor] = {}
            for batch in self._batches.in_order(self._batch_size):
                if should_stop():
                    return None
                mask = self._losses.mask(batch.targets)
                count += mask.sum(dtype=self._sum_dtype)
                share, mask = self._team.share(batch, mask)
                with self._precision.autocast(self._device):
                    outputs = model(share.inputs)
                sums += self._losses.sums(outputs, share.targets, mask, self._sum_dtype)
                for target in self._class_share_targets:
                    hits = _hits(outputs[target], mask, self._sum_dtype)
                    shares[target] = shares[target] + hits if target in shares else hits
        finally:
            model.train()
        self._team.add_up([sums, *shares.values()])
        return self._result(sums, count, shares)

    def _result(self, sums: Tensor, count: Tensor, shares: dict[str, Tensor]) -> Evaluation:
        total = float(count)
        if total == 0:
            raise InputError(
                "the validation split holds nothing but padding",
                "preprocess again with a larger share for validation",
            )
        means = [value / total for value in sums.tolist()]
        return Evaluation(
            loss=self._losses.weighted(means),
            by_target=dict(zip(self._losses.targets, means, strict=True)),
            class_shares={target: (hits / total).tolist() for target, hits in shares.items()},
        )


def _hits(output_TBn: Tensor, mask_BT: Tensor, dtype: torch.dtype) -> Tensor:
    """How often each id is the most probable one at a position that counts."""
    chosen = output_TBn.argmax(-1).transpose(0, 1).reshape(-1)
    # Not bincount, for whose length a GPU is waited for; nor float32, which ends to count at 2^24.
    hits = torch.zeros(output_TBn.shape[-1], dtype=dtype, device=output_TBn.device)
    return hits.scatter_add_(0, chosen, mask_BT.reshape(-1).to(dtype))


def describe_shares(target: str, shares: list[float], id_map: Mapping[str, int]) -> str:
    """One line for the log: how often each class is predicted, the most frequent first."""
    labels = {number: label for label, number in id_map.items()}
    ranked = sorted(enumerate(shares), key=lambda item: -item[1])
    parts = [f"{labels.get(i, 'unknown')} {share:.1%}" for i, share in ranked if share > 0]
    return f"predicted classes of {target}: {', '.join(parts)}"
