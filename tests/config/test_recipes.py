"""Optimizers and schedulers are compared with the classes that are really installed."""

import importlib
import inspect
from typing import Any

import pytest
import torch

from sequifier_hpo.config import recipes
from sequifier_hpo.config.recipes import COLLECTIONS, EXTRA, recipe_findings, signature
from sequifier_hpo.config.schema import Finding


def findings(kind: Any, **recipe: Any) -> list[Finding]:
    return list(recipe_findings(kind, recipe, (kind,)))


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        ("optimizer", {"name": "AdamW", "weight_decay": 0.01, "betas": [0.9, 0.99]}),
        ("optimizer", {"name": "AdEMAMix", "alpha": 3.0, "T_alpha_beta3": 100}),
        ("optimizer", {"name": "Lamb"}),
        ("optimizer", {"name": "Lion", "betas": [0.9, 0.99], "weight_decay": 0.1}),
        ("scheduler", {"name": "StepLR", "step_size": 1, "gamma": 0.99}),
        ("scheduler", {"name": "ReduceLROnPlateau", "patience": 2}),
        ("scheduler", {"name": "OneCycleLR", "max_lr": 0.1, "total_steps": 5}),
    ],
)
def test_a_recipe_that_fits_its_class_is_accepted(kind: Any, recipe: dict[str, Any]) -> None:
    assert findings(kind, **recipe) == []


def test_an_unknown_name_gets_the_nearest() -> None:
    (finding,) = findings("optimizer", name="adamw")

    assert finding.loc == ("optimizer", "name")
    assert "`AdamW`" in finding.fix


def test_an_argument_the_class_does_not_take_is_named_with_those_it_takes() -> None:
    (finding,) = findings("optimizer", name="AdamW", weight_dcay=0.1)

    assert finding.loc == ("optimizer", "weight_dcay")
    assert "weight_decay" in finding.allowed
    assert "`weight_decay`" in finding.fix


@pytest.mark.parametrize(("argument", "fix"), [("weight_dcay", "`weight_decay`"), ("kwargs", "")])
def test_an_argument_that_a_class_would_only_keep_is_refused(argument: str, fix: str) -> None:
    (finding,) = findings("optimizer", name="Lion", **{argument: 0.1})

    assert finding.loc == ("optimizer", argument)
    assert fix in finding.fix


@pytest.mark.parametrize(("name", "package"), [("Lamb", "torch_"), ("SOAP", "pytorch_")])
def test_an_optimizer_of_a_package_that_is_missing_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    torchs_only = {"AdamW": None}
    monkeypatch.setattr(recipes, "_sources", lambda _: torchs_only)

    (finding,) = findings("optimizer", name=name)

    assert f"in the package {package}optimizer, which is not installed" in finding.problem
    assert finding.fix == EXTRA


def test_a_required_argument_that_is_missing_is_named() -> None:
    (finding,) = findings("scheduler", name="CosineAnnealingLR")

    assert "`T_max`" in finding.problem


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam", "Muon", "Optimizer", "Lookahead", "SAM"])
def test_an_optimizer_that_cannot_train_here_is_refused_with_the_reason(name: str) -> None:
    (finding,) = findings("optimizer", name=name)

    assert "cannot be used" in finding.problem


@pytest.mark.parametrize("name", ["LambdaLR", "SequentialLR", "ChainedScheduler"])
def test_a_scheduler_made_of_code_is_refused(name: str) -> None:
    (finding,) = findings("scheduler", name=name)

    assert "cannot be used" in finding.problem


def test_the_learning_rate_does_not_belong_into_the_optimizer() -> None:
    (finding,) = findings("optimizer", name="AdamW", lr=0.1)

    assert finding.fix == "use learning_rate"


@pytest.mark.parametrize("name", ["AdamW", "Adam", "SGD", "RMSprop", "NAdam", "Adagrad", "Rprop"])
def test_what_the_sources_say_is_what_the_classes_take(name: str) -> None:
    real = set(inspect.signature(getattr(torch.optim, name).__init__).parameters)

    found = signature("optimizer", name)

    assert {*found.required, *found.optional} == real - {"self", "params", "lr"}


@pytest.mark.parametrize(
    ("package", "name"),
    [(package, name) for package, names in COLLECTIONS.items() for name in sorted(names)],
)
def test_what_the_sources_say_is_what_the_packages_classes_take(package: str, name: str) -> None:
    built_class = getattr(importlib.import_module(package), name)
    real = set(inspect.signature(built_class.__init__).parameters)

    found = signature("optimizer", name)

    assert not found.takes_any
    assert {*found.required, *found.optional} == real - {"self", "params", "lr", "kwargs"}


@pytest.mark.parametrize(
    "name", ["StepLR", "OneCycleLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR"]
)
def test_what_the_sources_say_is_what_the_schedulers_take(name: str) -> None:
    real = inspect.signature(getattr(torch.optim.lr_scheduler, name).__init__).parameters

    found = signature("scheduler", name)

    own = {"self", "optimizer", "last_epoch"}
    assert {*found.required, *found.optional} == set(real) - own
    assert set(found.required) == {
        key for key, p in real.items() if key not in own and p.default is inspect.Parameter.empty
    }
