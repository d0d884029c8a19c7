import re
from typing import Any

import pytest
import torch
from torch import nn

from sequifier_hpo.config.recipes import _sources
from sequifier_hpo.errors import InputError
from sequifier_hpo.training import optim
from sequifier_hpo.training.optim import (
    build_optimizer,
    build_scheduler,
    load_optimizer_state,
    numbers_from_text,
)

STEP_LR = {"name": "StepLR", "step_size": 2}


def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(3, 2)), nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-5", 1e-5), ("0.5", 0.5), ("-3", -3), ("16", 16), (".5", 0.5), ("1.", 1.0)],
)
def test_numbers_given_as_text_become_numbers(text: str, number: float) -> None:
    assert numbers_from_text({"a": [text, "cos"]}) == {"a": [number, "cos"]}
    assert type(numbers_from_text(text)) is type(number)


@pytest.mark.parametrize("text", ["cos", "nan", "1e", "max", "", "1_000"])
def test_other_texts_stay_texts(text: str) -> None:
    assert numbers_from_text(text) == text


def test_arguments_reach_the_optimizer_in_one_group() -> None:
    recipe = {"name": "AdamW", "betas": ["0.8", 0.9], "weight_decay": "1e-2"}

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
        ("Lamb", "torch_optimizer"),
        ("AdEMAMix", "sequifier_hpo"),
    ],
)
def test_names_are_looked_up_in_torch_then_the_package_and_ademamix_is_ours(
    name: str, package: str
) -> None:
    built = type(build_optimizer({"name": name}, parameters(), 0.1))

    assert built.__module__.partition(".")[0] == package
    path = _sources("optimizer")[name]
    assert (path is None) if package == "sequifier_hpo" else (f"/{package}/" in str(path))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optim, "_torch_optimizer", lambda: None)

    with pytest.raises(InputError, match=r'pip install "sequifier-hpo\[optimizers\]"'):
        build_optimizer({"name": "Lamb"}, parameters(), 0.1)


@pytest.mark.parametrize("name", ["AdamW", "AdEMAMix", "SGD", "Yogi"])
@pytest.mark.parametrize(
    "scheduler",
    [
        STEP_LR,
        {"name": "ReduceLROnPlateau", "patience": "2"},
        {"name": "OneCycleLR", "max_lr": "1e-2", "total_steps": 10},
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
    scheduler = build_scheduler({"name": "StepLR", "step_size": 1, "gamma": "0.5"}, optimizer)
    optimizer.step()

    scheduler.step()

    assert optimizer.param_groups[0]["lr"] == 0.5
