import math
from typing import Any

import pytest
import torch
from torch import nn

from sequifier_hpo.training.ademamix import AdEMAMix, warmed_up


def by_the_book(
    theta: float,
    gradients: list[float],
    *,
    lr: float,
    betas: tuple[float, float, float],
    eps: float,
    decay: float,
    alpha: float,
    warm_up: int | None,
) -> float:
    """The update rule on one number, in Python's float64."""
    beta1, beta2, beta3 = betas
    m1 = v = m2 = 0.0
    for t, g in enumerate(gradients, start=1):
        a, b = alpha, beta3
        if warm_up is not None:
            a = min(t * alpha / warm_up, alpha)
            share = t / warm_up
            logs = math.log(beta1), math.log(beta3)
            b = min(math.exp(logs[0] * logs[1] / ((1 - share) * logs[1] + share * logs[0])), beta3)
        m1 = beta1 * m1 + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        m2 = b * m2 + (1 - b) * g
        theta -= lr * decay * theta
        slope = (m1 + a * m2) / (math.sqrt(v) / math.sqrt(1 - beta2**t) + eps)
        theta -= lr / (1 - beta1**t) * slope
    return theta


@pytest.mark.parametrize("warm_up", [None, 3, 100])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_steps_follow_the_rule(warm_up: int | None, decay: float) -> None:
    gradients = [0.5, -1.0, 2.0, 0.1, 0.7]
    parameter = nn.Parameter(torch.tensor([1.5], dtype=torch.float64))
    betas = (0.9, 0.99, 0.999)
    optimizer = AdEMAMix(
        [parameter], lr=0.1, betas=betas, weight_decay=decay, alpha=2.0, T_alpha_beta3=warm_up
    )

    for gradient in gradients:
        parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()

    expected = by_the_book(
        1.5,
        gradients,
        lr=0.1,
        betas=betas,
        eps=1e-8,
        decay=decay,
        alpha=2.0,
        warm_up=warm_up,
    )
    assert parameter.item() == pytest.approx(expected, rel=1e-12)


def test_the_warm_up_is_linear_in_the_half_life_and_ends_at_the_final_values() -> None:
    betas = (0.9, 0.999, 0.9999)

    half, end, later = (warmed_up(5.0, betas, 1000, step) for step in (500, 1000, 5000))

    middle = (1 / math.log(0.9) + 1 / math.log(0.9999)) / 2
    assert half == pytest.approx((2.5, math.exp(1 / middle)))
    assert end == later == (5.0, 0.9999)


def test_its_state_has_the_names_of_sequifier() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = AdEMAMix([parameter])
    parameter.grad = torch.ones(2)
    optimizer.step()

    state: dict[str, Any] = optimizer.state_dict()["state"][0]

    assert set(state) == {"step", "exp_avg", "exp_avg_sq", "exp_avg_slow"}
    assert state["step"] == 1
    assert type(state["step"]) is int


def test_a_closure_gives_its_loss_back() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = AdEMAMix([parameter], lr=0.1)

    def closure() -> float:
        loss = parameter.square().sum()
        torch.autograd.backward(loss)
        return loss.item()

    assert optimizer.step(closure) == 2.0
    assert (parameter < 1).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -1.0}, "lr must be >= 0"),
        ({"weight_decay": -1.0}, "weight_decay must be >= 0"),
        ({"betas": (0.9, 0.99)}, "three numbers"),
        ({"betas": (0.9, 0.99, 1.0)}, "three numbers"),
        ({"betas": (0.0, 0.99, 0.9), "T_alpha_beta3": 5}, "needs a first and third beta > 0"),
        ({"T_alpha_beta3": 0}, "must be > 0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AdEMAMix([nn.Parameter(torch.ones(1))], **arguments)
