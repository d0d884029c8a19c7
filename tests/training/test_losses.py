import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.losses import TargetLosses, newest

Config = Callable[..., TrainConfig]
CPU = torch.device("cpu")


def batch_loss(
    losses: TargetLosses,
    outputs: dict[str, Tensor],
    targets: dict[str, Tensor],
    num_padding: list[int],
) -> float:
    mask = losses.mask(torch.tensor(num_padding))
    return float(losses.total(losses.sums(outputs, targets, mask), mask.sum()))


def logits(config: TrainConfig, rows: int) -> Tensor:
    """(T, B, n): class 1 + t at position t of every row is preferred by ln 3."""
    values = torch.zeros(config.seq_length, rows, 7)
    for t in range(config.seq_length):
        values[t, :, 1 + t] = math.log(3)
    return values


def test_a_position_counts_if_the_item_it_predicts_is_no_padding(make_config: Config) -> None:
    losses = TargetLosses(make_config(seq_length=4), CPU)

    mask = losses.mask(torch.tensor([-2, 0, 1, 2, 4, 5], dtype=torch.int32))

    # Of 5 items the first is no target: padding there takes nothing away.
    assert mask.dtype is torch.float32
    assert mask.tolist() == [
        [1, 1, 1, 1],
        [1, 1, 1, 1],
        [1, 1, 1, 1],
        [0, 1, 1, 1],
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ]


def test_the_newest_positions_are_the_last_of_each_window() -> None:
    mask = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]])

    assert newest(mask, 2).tolist() == [[0, 0, 1, 1], [0, 0, 0, 1]]
    assert newest(mask, 4) is mask
    assert newest(mask, 7) is mask


def test_the_loss_is_the_mean_over_positions_that_count(make_config: Config) -> None:
    config = make_config()
    targets = {"cat1": torch.tensor([[0, 0, 3, 4, 6], [1, 2, 3, 4, 5]])}

    loss = batch_loss(TargetLosses(config, CPU), {"cat1": logits(config, 2)}, targets, [3, 0])

    # At 7 of 8 positions the target is the preferred class, of probability 3 / (3 + 6).
    assert loss == pytest.approx((7 * math.log(3) + math.log(9)) / 8)


def test_class_weights_do_not_change_the_divisor(make_config: Config) -> None:
    config = make_config(class_weights={"cat1": [0.0, 2.0, 0.5, 1.0, 1.0, 1.0, 1.0]})
    targets = {"cat1": torch.tensor([[0, 2, 3, 4, 5]])}

    loss = batch_loss(TargetLosses(config, CPU), {"cat1": logits(config, 1)}, targets, [2])

    assert loss == pytest.approx((0.5 + 1 + 1 + 1) * math.log(3) / 4)


def test_the_total_weighs_the_targets_under_one_mask(make_config: Config) -> None:
    config = make_config(target_columns=["cat1", "val1"], loss_weights={"cat1": 0.5, "val1": 2.0})
    outputs = {"cat1": logits(config, 1), "val1": torch.full((5, 1, 1), 2.0)}
    targets = {
        "cat1": torch.tensor([[0, 2, 3, 4, 5]]),
        "val1": torch.tensor([[9.0, 2.0, 3.0, 2.0, 4.0]]),
    }

    loss = batch_loss(TargetLosses(config, CPU), outputs, targets, [2])

    assert loss == pytest.approx(0.5 * math.log(3) + 2.0 * (0 + 1 + 0 + 4) / 4)


def test_nothing_but_padding_is_a_loss_of_zero_without_gradient(make_config: Config) -> None:
    config = make_config()
    losses = TargetLosses(config, CPU)
    outputs = {"cat1": logits(config, 2).requires_grad_()}
    targets = {"cat1": torch.zeros(2, 5, dtype=torch.int64)}
    mask = losses.mask(torch.tensor([6, 6]))

    loss = losses.total(losses.sums(outputs, targets, mask), mask.sum())
    torch.autograd.backward(loss)

    assert loss.item() == 0
    assert outputs["cat1"].grad is not None
    assert not outputs["cat1"].grad.any()


@pytest.mark.parametrize(
    ("target", "criterion"),
    [
        ("cat1", "CrossEntropyLoss"),
        ("cat1", "MultiMarginLoss"),
        ("cat1", "NLLLoss"),
        ("val1", "MSELoss"),
        ("val1", "L1Loss"),
        ("val1", "SmoothL1Loss"),
        ("val1", "HuberLoss"),
        ("val1", "BCEWithLogitsLoss"),
        ("val1", "PoissonNLLLoss"),
        ("val1", "SoftMarginLoss"),
    ],
)
def test_every_criterion_agrees_with_torch_on_unmasked_data(
    make_config: Config, target: str, criterion: str
) -> None:
    config = make_config(target_columns=[target], criterion={target: criterion})
    outputs: dict[str, Tensor] = {target: torch.randn(5, 3, 7 if target == "cat1" else 1)}
    values: Any = torch.randint(1, 7, (3, 5)) if target == "cat1" else torch.rand(3, 5) + 0.1

    loss = batch_loss(TargetLosses(config, CPU), outputs, {target: values}, [0, 0, 0])

    flat = outputs[target].flatten(0, 1) if target == "cat1" else outputs[target].flatten()
    expected = getattr(torch.nn, criterion)()(flat, values.T.reshape(-1))
    assert loss == pytest.approx(float(expected), rel=1e-5)
