"""The validation loss: one number per run and epoch that can be compared between all runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sequifier_hpo.errors import InputError
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.device import Precision
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.losses import TargetLosses, newest, summed
from sequifier_hpo.training.model.transformer import SequenceTransformer

# On CPU, larger batches fall out of the cache and are slower.
_CPU_POSITIONS_PER_BATCH = 4096


@dataclass(frozen=True)
class Evaluation:
    """Result over a whole split."""

    loss: float
    """Weighted sum over targets, over the positions that count; may be NaN or infinite.

    Also if the criterion is not finite at a position that does not count.
    """
    loss_all_positions: float | None
    """The same over all positions of the run; None = those are the ones that count."""
    by_target: dict[str, float]
    """Unweighted mean per target."""
    class_shares: dict[str, list[float]]
    """Per asked-for target: share of positions at which each id is the most probable one."""


class _Sums:
    """The criterion over some positions of a split: a sum per target, and their number."""

    def __init__(self, num_targets: int, dtype: torch.dtype, device: torch.device) -> None:
        self.by_target = torch.zeros(num_targets, dtype=dtype, device=device)
        self.count = torch.zeros((), dtype=dtype, device=device)

    def add(self, losses: Sequence[Tensor], mask_BT: Tensor, share_mask_BT: Tensor) -> None:
        """Add a batch: this process's share of its losses, and how many it has in all."""
        self.by_target += summed(losses, share_mask_BT, self.by_target.dtype)
        self.count += mask_BT.sum(dtype=self.count.dtype)

    def means(self) -> list[float]:
        """One mean per target.

        Raises:
            InputError: If there was nothing but padding.
        """
        total = float(self.count)
        if total == 0:
            raise InputError(
                "the validation split holds nothing but padding",
                "preprocess again with a larger share for validation",
            )
        return [value / total for value in self.by_target.tolist()]


class Evaluator:
    """Computes the loss of a model on a split.

    Per target it is the sum of the criterion over all positions that count, divided by their
    number, over the whole split: independent of the batch size, every window counted once. That
    over all positions of the run is found in the same pass.
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
        last_positions: int | None = None,
    ) -> None:
        """Prepare to judge models.

        Args:
            batches: The split.
            losses: The criteria.
            precision: Of the model's computation.
            device: Where it is computed.
            batch_size: Most windows at a time.
            class_share_targets: Targets of which `class_shares` are wanted.
            team: The processes that share the work.
            last_positions: How many at the end of each window count; None = all.
        """
        self.num_counted = min(last_positions or batches.window_length, batches.window_length)
        """How many positions of a window the loss is over."""
        self._counts_all = self.num_counted == batches.window_length
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
            counted, everything = self._no_sums(), self._no_sums()
            shares: dict[str, Tensor] = {}
            for batch in self._batches.in_order(self._batch_size):
                if should_stop():
                    return None
                mask = self._losses.mask(batch.num_padding)
                share, share_mask = self._team.share(batch, mask)
                with self._precision.autocast(self._device):
                    outputs = model(share.inputs)
                losses = self._losses.per_position(outputs, share.targets)
                if not self._counts_all:
                    everything.add(losses, mask, share_mask)
                    mask, share_mask = (newest(m, self.num_counted) for m in (mask, share_mask))
                counted.add(losses, mask, share_mask)
                for target in self._class_share_targets:
                    hits = _hits(outputs[target], share_mask, self._sum_dtype)
                    shares[target] = shares[target] + hits if target in shares else hits
        finally:
            model.train()
        sums = [counted] if self._counts_all else [counted, everything]
        self._team.add_up([*(part.by_target for part in sums), *shares.values()])
        return self._result(counted, everything, shares)

    def _no_sums(self) -> _Sums:
        return _Sums(len(self._losses.targets), self._sum_dtype, self._device)

    def _result(self, counted: _Sums, everything: _Sums, shares: dict[str, Tensor]) -> Evaluation:
        means, total = counted.means(), float(counted.count)
        return Evaluation(
            loss=self._losses.weighted(means),
            loss_all_positions=None
            if self._counts_all
            else self._losses.weighted(everything.means()),
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
