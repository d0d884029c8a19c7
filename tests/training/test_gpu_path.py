"""The path of a GPU, walked without one.

Tensors on torch's device `meta` have shapes and no values: whatever asks for a value, for which a
GPU would make the program wait, is an error there.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.checkpoint import CheckpointStore
from sequifier_hpo.training.data.batching import WindowBatches
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.device import choose_precision
from sequifier_hpo.training.distributed import Team
from sequifier_hpo.training.evaluate import Evaluator
from sequifier_hpo.training.forward import ForwardPass
from sequifier_hpo.training.loop import Apparatus, Hooks, Training
from sequifier_hpo.training.losses import TargetLosses
from sequifier_hpo.training.model.transformer import SequenceTransformer
from sequifier_hpo.training.optim import build_optimizer, build_scheduler
from sequifier_hpo.training.origin import Origin
from sequifier_hpo.training.schedule import Schedule

pytestmark = pytest.mark.slow

Config = Callable[..., TrainConfig]
Data = Callable[..., TrainingData]

META = torch.device("meta")
MIXED: dict[str, Any] = {
    "input_columns": ["cat1", "val1"],
    "target_columns": ["cat1", "val1"],
    "feature_embedding_dims": {"cat1": 6, "val1": 2},
    "dropout": 0.1,
}


class AttentionCalls(TorchFunctionMode):
    """Notes the arguments of every call of torch's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[dict[str, Any]] = []

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if getattr(function, "__name__", "") == "scaled_dot_product_attention":
            self.calls.append(dict(zip(("query", "key", "value"), args, strict=True)) | kwargs)
        return function(*args, **(kwargs or {}))


class AtTheEndError(Exception):
    """A pass through the validation split has come to its end."""


class TeamThatEndsThere(Team):
    """Processes add their sums up after the last batch, before anyone reads them."""

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        raise AtTheEndError


def on_meta(config: TrainConfig, data: TrainingData, last_positions: int | None = None) -> Training:
    """A run as `build_apparatus` makes it, on a device without values."""
    spec = config.training_spec
    model, precision = SequenceTransformer(config).to(META), choose_precision(config)
    optimizer = build_optimizer(spec.optimizer, model.parameters(), spec.learning_rate)
    scheduler = build_scheduler(spec.scheduler, optimizer)
    losses, batches = TargetLosses(config, META), WindowBatches(data.training, config, META)
    apparatus = Apparatus(
        config=config,
        model=model,
        compute_loss=ForwardPass(model, losses, precision, META),
        optimizer=optimizer,
        schedule=Schedule(scheduler, spec.scheduler_step_on, print),
        losses=losses,
        batches=batches,
        max_batches=None,
        evaluator=Evaluator(
            batches,
            losses,
            precision=precision,
            device=META,
            batch_size=spec.batch_size,
            class_share_targets=["cat1"],
            team=TeamThatEndsThere(),
            last_positions=last_positions,
        ),
        device=META,
        team=Team(),
    )
    store = CheckpointStore(config.paths, config.model_name, print)
    training = Training(
        apparatus, store, Origin(None, {}, ""), Hooks(print, print, print, lambda: False)
    )
    training._totals = training._start_totals()
    return training


def take_an_epochs_steps(training: Training) -> int:
    parts, spec = training._parts, training._spec
    batches = parts.batches.shuffled(spec.batch_size, seed=1, epoch=1)
    return sum(training._train_batch(batch) for batch in batches)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"accumulation_steps": 4, "scheduler_step_on": "batch"},
        {"positional_encoding": "rope", "n_head": 4, "attention_type": "gqa", "n_kv_heads": 2},
        {"normalization": "layer_norm", "activation_fn": "gelu", "norm_first": False},
        {"class_weights": {"cat1": [1.0] * 7}, "loss_weights": {"cat1": 1.0, "val1": 0.5}},
        {"optimizer": {"name": "AdEMAMix", "T_alpha_beta3": 10}},
        {"optimizer": {"name": "SGD", "momentum": 0.9}},
    ],
)
def test_a_step_asks_the_device_for_nothing(
    make_config: Config, make_data: Data, changes: dict[str, Any]
) -> None:
    config = make_config(**MIXED, **changes)

    num_steps = take_an_epochs_steps(on_meta(config, make_data()))

    assert num_steps == (2 if "accumulation_steps" in changes else 6)


@pytest.mark.parametrize("last_positions", [None, 2])
def test_validation_asks_the_device_for_nothing_before_its_end(
    make_config: Config, make_data: Data, last_positions: int | None
) -> None:
    training = on_meta(make_config(**MIXED), make_data(window_length=7), last_positions)

    with pytest.raises(AtTheEndError):
        training._parts.evaluator.evaluate(training.model, lambda: False)


def test_a_question_to_the_device_would_be_noticed(make_config: Config, make_data: Data) -> None:
    training = on_meta(make_config(**MIXED), make_data())
    take_an_epochs_steps(training)

    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        training._read_totals()


def test_attention_is_causal_without_a_mask_and_without_copies_of_keys(
    make_config: Config, make_data: Data
) -> None:
    training = on_meta(make_config(**MIXED, num_layers=2), make_data(num_training=8))

    with AttentionCalls() as attention:
        take_an_epochs_steps(training)

    assert len(attention.calls) == 2
    for call in attention.calls:
        assert call["is_causal"] is True
        assert call.get("attn_mask") is None
        # Views of (B, T, heads, C), as the layers made them.
        assert all(call[name].transpose(1, 2).is_contiguous() for name in ("key", "value"))
