import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sequifier_hpo.training.loop import clip_gradients
from sequifier_hpo.training.optim import build_optimizer

SHAPES = ((33, 7), (5,), (64, 64))
TORCHS_OWN = ("Adam", "AdamW", "SGD", "RMSprop", "NAdam", "Adagrad", "Adamax", "ASGD", "Adadelta")

BUILD_AND_STEP_ALL = f"""
import sys, torch
from torch import nn
import sequifier_hpo.training.run
from sequifier_hpo.training.optim import build_optimizer, build_scheduler
for name in {(*TORCHS_OWN, "AdEMAMix")}:
    parameter = nn.Parameter(torch.ones(3))
    optimizer = build_optimizer({{"name": name}}, [parameter], 0.1)
    scheduler = build_scheduler({{"name": "StepLR", "step_size": 1}}, optimizer)
    for _ in range(2):
        parameter.grad = torch.ones(3)
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()
    optimizer.load_state_dict(optimizer.state_dict())
print("torch._dynamo" in sys.modules)
"""


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def make_steps(
    build: Callable[[list[nn.Parameter]], Optimizer], *, continue_after: int | None = None
) -> tuple[Tensor, dict[str, Any]]:
    """Six steps, in two optimizers if `continue_after` says so: the weights and the state."""
    weights, generator = parameters(), torch.Generator().manual_seed(1)
    optimizer = build(weights)
    for step in range(6):
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step()
        optimizer.zero_grad()
        if step == continue_after:
            state = optimizer.state_dict()
            optimizer = build(weights)
            optimizer.load_state_dict(state)
    return torch.cat([weight.detach().flatten() for weight in weights]), optimizer.state_dict()


@pytest.mark.slow
def test_no_optimizer_loads_the_compiler() -> None:
    done = subprocess.run(
        [sys.executable, "-c", BUILD_AND_STEP_ALL], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("continue_after", [None, 0, 3])
@pytest.mark.parametrize("name", TORCHS_OWN)
def test_weights_and_state_are_those_of_torch(name: str, continue_after: int | None) -> None:
    torchs_arguments = {"fused": True} if name in {"Adam", "AdamW"} else {}
    torchs_class = getattr(torch.optim, name)
    recipe = {"name": name, "weight_decay": 0.1}

    ours, our_state = make_steps(
        lambda weights: build_optimizer(recipe, weights, 0.01), continue_after=continue_after
    )
    theirs, their_state = make_steps(
        lambda weights: torchs_class(weights, lr=0.01, weight_decay=0.1, **torchs_arguments)
    )

    assert torch.equal(ours, theirs)
    assert str(our_state) == str(their_state)


@pytest.mark.parametrize("arguments", [{"amsgrad": True}, {"maximize": True}, {"foreach": True}])
def test_other_kinds_of_adam_are_those_of_torch(arguments: dict[str, Any]) -> None:
    torchs_arguments = {**arguments, "fused": "foreach" not in arguments}

    ours, _ = make_steps(lambda w: build_optimizer({"name": "AdamW", **arguments}, w, 0.01))
    theirs, _ = make_steps(lambda w: torch.optim.AdamW(w, lr=0.01, **torchs_arguments))

    assert torch.equal(ours, theirs)


def test_the_kernel_is_never_given_two_types_of_numbers_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: list[set[torch.dtype]] = []
    kernel = torch._fused_adamw_

    def noting(weights: list[Tensor], *arguments: Any, **options: Any) -> None:
        given.append({weight.dtype for weight in weights})
        kernel(weights, *arguments, **options)

    monkeypatch.setattr(torch, "_fused_adamw_", noting)
    weights = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.bfloat16))]
    optimizer = build_optimizer({"name": "AdamW", "fused": True}, weights, 0.1)
    for _ in range(3):
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimizer.step()

    assert given
    assert all(len(dtypes) == 1 for dtypes in given)


def test_adam_follows_a_changed_learning_rate_and_a_missing_gradient() -> None:
    def run(optimizer: Optimizer, weights: list[nn.Parameter]) -> list[Tensor]:
        for step in range(4):
            for weight in weights:
                weight.grad = torch.ones_like(weight)
            if step == 2:
                weights[0].grad = None
            optimizer.step()
            optimizer.param_groups[0]["lr"] *= 0.5
        return [weight.detach() for weight in weights]

    weights, their_weights = parameters(), parameters()
    ours = run(build_optimizer({"name": "Adam"}, weights, 0.1), weights)
    theirs = run(torch.optim.Adam(their_weights, lr=0.1, fused=True), their_weights)

    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("scale", [0.01, 1.0, 1e20, float("nan")])
def test_gradients_are_clipped_as_torch_does(scale: float) -> None:
    weights, their_weights = parameters(), parameters()
    for weight, their_weight in zip(weights, their_weights, strict=True):
        weight.grad = weight.detach() * scale / 100
        their_weight.grad = weight.grad.clone()

    clip_gradients(weights, 0.5)
    nn.utils.clip_grad_norm_(their_weights, 0.5)

    for weight, their_weight in zip(weights, their_weights, strict=True):
        assert weight.grad is not None
        assert their_weight.grad is not None
        assert torch.equal(weight.grad.nan_to_num(7.0), their_weight.grad.nan_to_num(7.0))
