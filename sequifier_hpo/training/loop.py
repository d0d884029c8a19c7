"""The training loop of one run, which can stop after any optimizer step and resume from there."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import BatchReport, EpochReport, OutcomeKind
from sequifier_hpo.training.checkpoint import OWN_KEY, CheckpointStore
from sequifier_hpo.training.data.batching import Batch, WindowBatches
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.evaluate import Evaluation, Evaluator, describe_shares
from sequifier_hpo.training.forward import ComputeLoss
from sequifier_hpo.training.losses import TargetLosses
from sequifier_hpo.training.memory import peak_memory_bytes
from sequifier_hpo.training.model.transformer import SequenceTransformer
from sequifier_hpo.training.optim import load_optimizer_state
from sequifier_hpo.training.origin import Origin
from sequifier_hpo.training.progress import Progress
from sequifier_hpo.training.random_state import random_state, restore_random_state
from sequifier_hpo.training.schedule import Schedule

_MAX_GRADIENT_NORM = 0.5
_NORM_EPS = 1e-6


def say_nothing(_report: object) -> None:
    """Hook of those who do not listen."""


@dataclass(frozen=True)
class Hooks:
    """The callbacks of the loop."""

    on_epoch: Callable[[EpochReport], None]
    """Told after every epoch; of one epoch twice if the process dies before its checkpoint."""
    on_batch: Callable[[BatchReport], None]
    """Told after every `log_interval` batches."""
    on_message: Callable[[str], None]
    """Told what a person should know."""
    should_stop: Callable[[], bool]
    """Asked after every optimizer step, every validation batch, and before every epoch; if it says
    yes, the state is saved and the result is "interrupted"."""
    on_restored: Callable[[Mapping[int, float]], None] = say_nothing
    """Told the validation losses by epoch of a run that is continued, as far as they are known."""


@dataclass(frozen=True)
class Ending:
    """Why the loop ended before its last epoch."""

    kind: OutcomeKind
    reason: str = ""


@dataclass(frozen=True)
class Apparatus:
    """Everything that is trained, and everything it is trained with."""

    config: TrainConfig
    model: SequenceTransformer
    compute_loss: ComputeLoss
    optimizer: Optimizer
    schedule: Schedule
    losses: TargetLosses
    batches: WindowBatches
    max_batches: int | None
    """After how many, of all epochs together, the run ends; None = with its last epoch."""
    evaluator: Evaluator
    device: torch.device
    team: Team


class Training:
    """One run in training: an apparatus, and its progress."""

    def __init__(
        self, apparatus: Apparatus, store: CheckpointStore, origin: Origin, hooks: Hooks
    ) -> None:
        self.progress = Progress()
        self.model = apparatus.model
        self._parts = apparatus
        self._spec = apparatus.config.training_spec
        self._parameters = list(apparatus.model.parameters())
        self._store = store
        self._origin = origin
        self._hooks = hooks
        self._num_batches = apparatus.batches.num_batches(self._spec.batch_size)
        self._accumulated = self._spec.accumulation_steps or 1
        self._mark = time.perf_counter()
        self._saved = time.monotonic()
        # Sums over the epoch stay on the device: reading them would make it wait.
        self._totals = torch.zeros(0)

    @property
    def num_counted(self) -> int:
        """How many positions at the end of each window the validation loss is over."""
        return self._parts.evaluator.num_counted

    @property
    def num_parameters(self) -> int:
        """Of the model."""
        return sum(parameter.numel() for parameter in self._parameters)

    @property
    def is_fresh(self) -> bool:
        """Whether it has not made a step yet."""
        return self.progress.epoch == self.progress.batch == 0

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to train."""
        patience = self._spec.early_stopping_epochs
        has_stalled = patience is not None and self.progress.epochs_without_improvement >= patience
        has_had_all = self.progress.epoch >= self._spec.epochs or self._num_in_epoch <= 0
        return has_had_all or has_stalled

    def run(self) -> Ending | None:
        """Train until the end (None), a stop, or a loss that is not a number."""
        self._mark = time.perf_counter()
        while not self.is_over:
            ending = self._train_epoch() or self._finish_epoch()
            if ending is not None:
                return ending
        return None

    def restore(self, content: dict[str, Any]) -> None:
        """Continue from a checkpoint.

        Raises:
            RuntimeError, ValueError, KeyError, TypeError: If it does not fit this run.
        """
        parts, own = self._parts, content.get(OWN_KEY)
        parts.model.load_state_dict(content["model_state_dict"])
        load_optimizer_state(parts.optimizer, content["optimizer_state_dict"])
        if "scheduler_state_dict" in content:
            parts.schedule.load_state_dict(content["scheduler_state_dict"])
        if own is None:
            self.progress = Progress(epoch=content["epoch"])
            return
        counted = own.get("num_counted", parts.config.seq_length)
        if counted != self.num_counted:
            raise ValueError(
                f"its losses are over the last {counted} positions of every window, "
                f"those of this run over the last {self.num_counted}"
            )
        self.progress = Progress(**own["progress"])
        rank = parts.team.rank
        states = [own["random_state"], *own.get("random_states_of_other_ranks", [])]
        if rank < len(states):  # else the run had fewer processes; then a fresh state must do
            restore_random_state(states[rank], parts.device)

    def judge_restored(self) -> Ending | None:
        """Take the weights of a checkpoint without a comparable loss as the best so far."""
        evaluation = self._parts.evaluator.evaluate(self.model, self._hooks.should_stop)
        if evaluation is None:
            return Ending(OutcomeKind.INTERRUPTED)
        if not math.isfinite(evaluation.loss):
            return self._diverged("validation", evaluation.loss)
        self._note(evaluation)
        return None

    def _train_epoch(self) -> Ending | None:
        """Go through the rest of the epoch's batches."""
        progress, spec = self.progress, self._spec
        self._totals = self._start_totals()
        reported, since = self._read_totals(), time.perf_counter()
        positions_reported = progress.positions
        epoch = progress.epoch + 1
        rest = self._parts.batches.shuffled(
            spec.batch_size, seed=self._parts.config.seed, epoch=epoch, first_batch=progress.batch
        )
        # Before the first batch too: a run may be told to stop at the end of an epoch.
        if self._hooks.should_stop():
            return self._interrupted()
        self._lap()
        for batch in islice(rest, self._num_in_epoch - progress.batch):
            has_stepped = self._train_batch(batch)
            if progress.batch % spec.log_interval == 0:
                totals, now = self._read_totals(), time.perf_counter()
                loss = self._mean_loss([b - a for a, b in zip(reported, totals, strict=True)])
                if not math.isfinite(loss):
                    return self._diverged("training", loss)
                speed = (progress.positions - positions_reported) / max(now - since, 1e-9)
                self._hooks.on_batch(self._batch_report(loss, speed))
                reported, since, positions_reported = totals, now, progress.positions
            if has_stepped and self._hooks.should_stop():
                progress.training_seconds += self._lap()
                return self._interrupted()
            if has_stepped and self._is_save_due():
                progress.training_seconds += self._lap()
                self._save_midway()
        return None

    def _is_save_due(self) -> bool:
        """Whether a checkpoint within the epoch is to be written; all processes agree."""
        minutes = self._spec.save_latest_interval_minutes
        if minutes is None:
            return False
        return self._parts.team.any(time.monotonic() - self._saved >= 60 * minutes)

    def _train_batch(self, batch: Batch) -> bool:
        """One forward and backward pass; returns whether the optimizer made a step."""
        parts, progress = self._parts, self.progress
        mask = parts.losses.mask(batch.num_padding)
        count = mask.sum()  # of the whole batch: so the gradients of all ranks need only be added
        share, share_mask = parts.team.share(batch, mask)
        loss, sums = parts.compute_loss(share, share_mask, count)
        loss = loss / self._group_size() if self._accumulated > 1 else loss
        torch.autograd.backward(loss)
        progress.batch += 1
        progress.positions += mask.numel()

        has_stepped = (
            progress.batch % self._accumulated == 0 or progress.batch == self._num_in_epoch
        )
        sums = sums.detach()
        gradients = (p.grad for p in self._parameters if p.grad is not None)
        parts.team.add_up([sums, *gradients] if has_stepped else [sums])
        self._totals[:-1] += sums
        self._totals[-1] += count
        if has_stepped:
            clip_gradients(self._parameters, _MAX_GRADIENT_NORM)
            parts.optimizer.step()
            parts.optimizer.zero_grad(set_to_none=True)
        progress.learning_rate = float(parts.optimizer.param_groups[0]["lr"])
        parts.schedule.after_batch()
        return has_stepped

    def _group_size(self) -> int:
        """How many batches share the next optimizer step: fewer at the end of an epoch."""
        first = self.progress.batch - self.progress.batch % self._accumulated
        return min(self._accumulated, self._num_in_epoch - first)

    @property
    def _num_in_epoch(self) -> int:
        """Batches of the epoch: those of the data, or fewer in the last one of a run that ends in it."""
        if self._parts.max_batches is None:
            return self._num_batches
        left = self._parts.max_batches - self.progress.epoch * self._num_batches
        return min(self._num_batches, left)

    def _finish_epoch(self) -> Ending | None:
        """Validate, keep the best, step the schedule, report, save."""
        progress = self.progress
        totals = self._read_totals()
        if totals[-1] == 0:
            raise InputError(
                "the training split holds nothing but padding",
                "preprocess again with more data, or name other target columns",
            )
        train_loss = self._mean_loss(totals)
        if not math.isfinite(train_loss):
            return self._diverged("training", train_loss)
        progress.training_seconds += self._lap()
        evaluation = self._parts.evaluator.evaluate(self.model, self._hooks.should_stop)
        if evaluation is None:
            return self._interrupted()
        if not math.isfinite(evaluation.loss):
            return self._diverged("validation", evaluation.loss)
        progress.epoch += 1
        progress.validation_losses[progress.epoch] = evaluation.loss
        is_best = self._note(evaluation)
        self._parts.schedule.after_epoch(evaluation.loss)
        self._lap()
        self._report_epoch(train_loss, evaluation, is_best=is_best)
        progress.batch, progress.sums, progress.count, progress.epoch_seconds = 0, [], 0.0, 0.0
        if progress.epoch % self._spec.save_interval_epochs == 0 or self.is_over:
            content = self._content()
            if self._parts.team.is_first:
                self._store.save_epoch(progress.epoch, content, is_final=self.is_over)
            self._saved = time.monotonic()
        return None

    def _note(self, evaluation: Evaluation) -> bool:
        """Keep the weights if the loss is strictly the smallest so far, and say whether it is."""
        progress, loss = self.progress, evaluation.loss
        best = progress.best_validation_loss
        is_best = best is None or loss < best
        progress.last_validation_loss = loss
        progress.epochs_without_improvement += 1
        if is_best:
            progress.epochs_without_improvement = 0
            progress.best_epoch, progress.best_validation_loss = progress.epoch, loss
            progress.best_validation_loss_all_positions = evaluation.loss_all_positions
            progress.best_state = cpu_state(self.model)
        return is_best

    def _report_epoch(self, train_loss: float, evaluation: Evaluation, *, is_best: bool) -> None:
        progress = self.progress
        report = EpochReport(
            epoch=progress.epoch,
            train_loss=train_loss,
            validation_loss=evaluation.loss,
            validation_loss_all_positions=evaluation.loss_all_positions,
            validation_loss_by_target=evaluation.by_target,
            learning_rate=progress.learning_rate,
            is_best=is_best,
            seconds=progress.epoch_seconds,
            tokens_per_second=progress.tokens_per_second,
            peak_memory_bytes=peak_memory_bytes(),
            num_parameters=self.num_parameters,
            total_seconds=progress.seconds,
        )
        self._hooks.on_epoch(report)
        for target, shares in evaluation.class_shares.items():
            id_map = self._parts.config.id_maps.get(target, {})
            self._hooks.on_message(describe_shares(target, shares, id_map))

    def _batch_report(self, loss: float, tokens_per_second: float) -> BatchReport:
        return BatchReport(
            epoch=self.progress.epoch + 1,
            batch=self.progress.batch,
            num_batches=self._num_in_epoch,
            train_loss=loss,
            learning_rate=self.progress.learning_rate,
            tokens_per_second=tokens_per_second,
        )

    def _interrupted(self) -> Ending:
        self._save_midway()
        return Ending(OutcomeKind.INTERRUPTED)

    def _save_midway(self) -> None:
        """Save the state as it is, possibly in the middle of an epoch."""
        *self.progress.sums, self.progress.count = self._read_totals()
        self._lap()
        content = self._content()
        if self._parts.team.is_first:
            self._store.save_interrupted(content)
        self._lap()
        self._saved = time.monotonic()

    def _diverged(self, which: str, loss: float) -> Ending:
        epoch, batch = self.progress.epoch + 1, self.progress.batch
        self._lap()
        reason = f"the {which} loss became {loss} in epoch {epoch}, at batch {batch}"
        return Ending(OutcomeKind.DIVERGED, reason)

    def _content(self) -> dict[str, Any]:
        """The checkpoint of the state as it is."""
        parts = self._parts
        own_state, *others = parts.team.gather(random_state(parts.device))
        return {
            "epoch": self.progress.epoch,
            "model_state_dict": parts.model.state_dict(),
            "optimizer_state_dict": parts.optimizer.state_dict(),
            "scheduler_state_dict": parts.schedule.state_dict(),
            "loss": self.progress.last_validation_loss,
            OWN_KEY: {
                **self._origin.as_state(),
                "progress": self.progress.as_state(),
                "num_counted": self.num_counted,
                "random_state": own_state,
                "random_states_of_other_ranks": others,
            },
        }

    def _start_totals(self) -> Tensor:
        """Sums per target, and last the number of positions, of the epoch under way."""
        sums = self.progress.sums or [0.0] * len(self._parts.losses.targets)
        # MPS has no float64.
        dtype = torch.float32 if self._parts.device.type == "mps" else torch.float64
        return torch.tensor([*sums, self.progress.count], dtype=dtype, device=self._parts.device)

    def _read_totals(self) -> list[float]:
        values: list[float] = self._totals.tolist()
        return values

    def _mean_loss(self, totals: list[float]) -> float:
        """The weighted loss from sums per target and, last, the number of positions."""
        *sums, count = totals
        if count == 0:
            return 0.0
        return self._parts.losses.weighted([value / count for value in sums])

    def _lap(self) -> float:
        """Record the time since the last call, and return it."""
        now = time.perf_counter()
        elapsed, self._mark = now - self._mark, now
        self.progress.seconds += elapsed
        self.progress.epoch_seconds += elapsed
        return elapsed


@torch.no_grad()
def clip_gradients(parameters: Sequence[Tensor], max_norm: float) -> None:
    """Scale all gradients down together if their joint 2-norm is larger than `max_norm`."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not all(gradient.is_cpu and gradient.dtype is torch.float32 for gradient in gradients):
        nn.utils.clip_grad_norm_(parameters, max_norm)
        return
    # The same, bit for bit, without torch's preparations, which take longer than small models do.
    norms = torch._foreach_norm(gradients)  # noqa: SLF001 - torch documents it
    norm = torch.linalg.vector_norm(torch.stack(norms))
    scale = float(max_norm / (norm + _NORM_EPS))
    if not scale >= 1:  # NaN too
        torch._foreach_mul_(gradients, scale)


def cpu_state(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights, on the CPU."""
    return {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
