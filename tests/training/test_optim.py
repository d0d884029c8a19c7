import importlib
import inspect
import io
import re
from typing import Any

import pytest
import torch
from torch import nn

from sequifier_hpo.config.recipes import COLLECTIONS, UNUSABLE, _sources
from sequifier_hpo.errors import InputError
from sequifier_hpo.training import optim
from sequifier_hpo.training.optim import (
    build_optimizer,
    build_scheduler,
    load_optimizer_state,
)

STEP_LR = {"name": "StepLR", "step_size": 2}
TORCHS = {name for name, value in vars(torch.optim).items() if inspect.isclass(value)}
USABLE = sorted({"AdEMAMix", *TORCHS}.union(*COLLECTIONS.values()) - set(UNUSABLE["optimizer"]))
FROM_SEQUIFIERS_PACKAGE = "ignore:.*deprecated:UserWarning"  # in Lamb and others of torch_optimizer


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2))]


def test_arguments_reach_the_optimizer_in_one_group() -> None:
    recipe = {"name": "AdamW", "betas": [0.8, 0.9], "weight_decay": 1e-2}

    optimizer = build_optimizer(recipe, parameters(), 0.25)

    (group,) = optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (0.25, (0.8, 0.9), 0.01)
    assert len(group["params"]) == 2


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_adam_is_fused_unless_the_recipe_chooses_otherwise(name: str) -> None:
    chosen = build_optimizer({"name": name}, parameters(), 0.1)
    refused = build_optimizer({"name": name, "foreach": True}, parameters(), 0.1)

    assert chosen.param_groups[0]["fused"] is True
    assert refused.param_groups[0]["fused"] is None


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("SGD", "torch"),
        ("RAdam", "torch"),  # the package has one of this name, and of the next
        ("Adafactor", "torch"),
        ("Lamb", "torch_optimizer"),  # both packages have one of this name, and of the next
        ("AdaBelief", "torch_optimizer"),
        ("Lion", "pytorch_optimizer"),
        ("AdEMAMix", "sequifier_hpo"),  # the maintained package has one of this name
    ],
)
def test_names_are_looked_up_in_torch_then_the_packages_and_ademamix_is_ours(
    name: str, package: str
) -> None:
    built = type(build_optimizer({"name": name}, parameters(), 0.1))

    assert built.__module__.partition(".")[0] == package
    path = _sources("optimizer")[name]
    assert (path is None) if package == "sequifier_hpo" else (f"/{package}/" in str(path))


@pytest.mark.parametrize(("name", "package"), [("Lamb", "torch_"), ("Lion", "pytorch_")])
def test_without_the_package_it_is_named_with_the_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setattr(optim, "_imported", lambda _: None)
    message = f'in the package {package}optimizer, which is not installed.*pip install "sequifier'

    with pytest.raises(InputError, match=re.compile(message, re.DOTALL)):
        build_optimizer({"name": name}, parameters(), 0.1)


def test_every_optimizer_of_the_maintained_package_is_usable_or_says_why_not() -> None:
    package = importlib.import_module("pytorch_optimizer.optimizer")
    all_names = {name for name in package.__all__ if inspect.isclass(getattr(package, name))}

    assert all_names <= {*USABLE, *UNUSABLE["optimizer"]}


def test_no_two_optimizers_share_a_name_but_for_its_capitals() -> None:
    assert len({name.lower() for name in USABLE}) == len(USABLE)
    assert not COLLECTIONS["torch_optimizer"] & COLLECTIONS["pytorch_optimizer"]


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.filterwarnings(FROM_SEQUIFIERS_PACKAGE)
def test_every_usable_optimizer_goes_on_from_a_file_bit_for_bit(name: str) -> None:
    whole, stopped, continued = (Trained(name) for _ in range(3))
    file = io.BytesIO()
    whole.steps(range(6))
    stopped.steps(range(3))
    torch.save([stopped.model.state_dict(), stopped.optimizer.state_dict()], file)
    file.seek(0)

    weights, state = torch.load(file, weights_only=True)
    continued.model.load_state_dict(weights)
    load_optimizer_state(continued.optimizer, state)
    continued.steps(range(3, 6))

    assert all(torch.isfinite(p).all() for p in whole.model.parameters())
    assert whole.weights() != Trained(name).weights()
    assert continued.content() == whole.content()


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.filterwarnings(FROM_SEQUIFIERS_PACKAGE)
def test_no_usable_optimizer_draws_random_numbers(name: str) -> None:
    # Processes that share a run draw other masks of dropout, and must make the same steps.
    trained = Trained(name)
    before = torch.get_rng_state()

    trained.steps(range(4))

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", sorted(COLLECTIONS["pytorch_optimizer"]))
def test_every_optimizer_of_the_maintained_package_follows_the_learning_rate(name: str) -> None:
    steady, slowed = Trained(name), Trained(name)
    for trained in (steady, slowed):
        trained.steps(range(1))
    slowed.optimizer.param_groups[0]["lr"] *= 0.5

    for trained in (steady, slowed):
        trained.steps(range(1, 4))

    assert steady.weights() != slowed.weights()


class Trained:
    """A model with vectors, matrices and an embedding, and the steps it makes."""

    def __init__(self, name: str) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Embedding(7, 4), nn.Linear(4, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 1)
        )
        self.optimizer = build_optimizer({"name": name}, self.model.parameters(), 0.01)

    def steps(self, numbers: range) -> None:
        for number in numbers:
            ids = torch.arange(number, number + 4) % 6  # one row never has a gradient
            self.optimizer.zero_grad(set_to_none=True)
            (self.model(ids).squeeze(1) - ids).square().mean().backward()
            self.optimizer.step()

    def weights(self) -> list[Any]:
        return [parameter.tolist() for parameter in self.model.parameters()]

    def content(self) -> str:
        return repr(plain([self.model.state_dict(), self.optimizer.state_dict()]))


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return (value.dtype, value.tolist()) if isinstance(value, torch.Tensor) else value


@pytest.mark.parametrize("name", ["AdamW", "AdEMAMix", "SGD", "Yogi"])
@pytest.mark.parametrize(
    "scheduler",
    [
        STEP_LR,
        {"name": "ReduceLROnPlateau", "patience": 2},
        {"name": "OneCycleLR", "max_lr": 1e-2, "total_steps": 10},
        {"name": "CosineAnnealingLR", "T_max": 3},
    ],
)
def test_sound_recipes_go_together(name: str, scheduler: dict[str, Any]) -> None:
    optimizer = build_optimizer({"name": name}, parameters(), 0.1)

    assert type(build_scheduler(scheduler, optimizer)).__name__ == scheduler["name"]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"name": "Adamw"}, "no optimizer `Adamw`; did you mean `AdamW`?"),
        (
            {"name": "AdamW", "weight_decy": 1},
            "no argument `weight_decy`; did you mean `weight_decay`?",
        ),
        ({"name": "AdamW", "betas": [0.9, 2.0]}, "AdamW cannot be built: Invalid beta"),
        ({"name": "LBFGS"}, "LBFGS cannot be used here"),
        ({"name": "SparseAdam"}, "SparseAdam cannot be used here"),
        ({"name": "Muon"}, "Muon cannot be used here"),
        ({"name": "Optimizer"}, "Optimizer cannot be used here"),
        ({"name": "Lookahead"}, "Lookahead cannot be used here"),
        ({"name": "Adahessian"}, "Adahessian cannot be used here"),
        ({"name": "ScheduleFreeAdamW"}, "it is evaluated with other weights than it trains"),
        ({"name": "Lionn"}, "no optimizer `Lionn`; did you mean `Lion`?"),
        ({"name": "Lion", "weight_decy": 1}, "did you mean `weight_decay`?"),
        ({"name": "Lion", "kwargs": 1}, "Lion has no argument `kwargs`"),
        ({"name": "Lion", "betas": [0.9, 2.0]}, "Lion cannot be built"),
    ],
)
def test_a_wrong_optimizer_is_explained(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        build_optimizer(recipe, parameters(), 0.1)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"name": "StepLr", "step_size": 1}, "no scheduler `StepLr`; did you mean `StepLR`?"),
        ({"name": "StepLR", "size": 1}, "no argument `size`"),
        ({"name": "StepLR", "size": 1}, "use any of step_size, gamma"),
        ({"name": "StepLR"}, "missing 1 required positional argument: 'step_size'"),
        ({"name": "LambdaLR"}, "needs a Python function"),
        ({"name": "SequentialLR"}, "made of other schedulers"),
        ({"name": "LRScheduler"}, "is the base class"),
        ({"name": "OneCycleLR", "max_lr": 0.1}, "OneCycleLR cannot be built"),
    ],
)
def test_a_wrong_scheduler_is_explained(recipe: dict[str, Any], message: str) -> None:
    optimizer = build_optimizer({"name": "SGD"}, parameters(), 0.1)

    with pytest.raises(InputError, match=re.escape(message)):
        build_scheduler(recipe, optimizer)


def test_a_pair_that_does_not_fit_is_found() -> None:
    cyclic = {"name": "CyclicLR", "base_lr": 0.1, "max_lr": 0.2}
    adagrad = build_optimizer({"name": "Adagrad"}, parameters(), 0.1)

    with pytest.raises(InputError, match="CyclicLR cannot be built for Adagrad"):
        build_scheduler(cyclic, adagrad)


def test_the_state_of_another_optimizer_is_refused() -> None:
    state = build_optimizer({"name": "SGD"}, parameters(), 0.1).state_dict()
    adam = build_optimizer({"name": "AdamW"}, parameters(), 0.1)

    with pytest.raises(ValueError, match=r"the state of another optimizer: it has no .*betas"):
        load_optimizer_state(adam, state)


@pytest.mark.parametrize("writer", [{"fused": False}, {"foreach": True}])
def test_how_steps_are_made_is_not_taken_over_from_a_file(writer: dict[str, Any]) -> None:
    # As in a file of Sequifier, or of another kind of device: on a GPU the fused kernel would then
    # meet counters of steps on the CPU.
    written = build_optimizer({"name": "AdamW", **writer, "weight_decay": 0.3}, parameters(), 0.1)
    optimizer = build_optimizer({"name": "AdamW"}, parameters(), 0.2)

    load_optimizer_state(optimizer, written.state_dict())

    (group,) = optimizer.param_groups
    assert (group["fused"], group["foreach"]) == (True, None)
    assert (group["lr"], group["weight_decay"]) == (0.1, 0.3)


def test_a_scheduler_changes_the_learning_rate_of_its_optimizer() -> None:
    optimizer = build_optimizer({"name": "SGD"}, parameters(), 1.0)
    scheduler = build_scheduler({"name": "StepLR", "step_size": 1, "gamma": 0.5}, optimizer)
    optimizer.step()

    scheduler.step()

    assert optimizer.param_groups[0]["lr"] == 0.5
