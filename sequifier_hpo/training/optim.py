"""Optimizers and schedulers from their recipes: `name`, and arguments of the constructor.

An optimizer's name is looked up in torch, then in two packages of an optional extra: Sequifier's
`torch_optimizer`, then `pytorch_optimizer`, which is maintained; AdEMAMix is ours. Sequifier asks its
package first, so that RAdam and Adafactor, which exist twice, would be other ones on a machine that
has it than on one that has not.
"""

import importlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from sequifier_hpo.config.recipes import COLLECTIONS, EXTRA, UNUSABLE, collection_of
from sequifier_hpo.config.schema import did_you_mean
from sequifier_hpo.errors import InputError
from sequifier_hpo.training.ademamix import AdEMAMix
from sequifier_hpo.training.eager_optimizers import eager_class

# What the caller fills in, so that it is neither asked of the user nor listed for them.
_OPTIMIZER_OWN = frozenset({"self", "params", "lr"})
_SCHEDULER_OWN = frozenset({"self", "optimizer", "last_epoch", "verbose"})
_IMPLEMENTATION = ("capturable", "foreach", "fused")

Recipe = Mapping[str, Any]


def build_optimizer(
    recipe: Recipe, parameters: Iterable[nn.Parameter], learning_rate: float
) -> Optimizer:
    """Build an optimizer with all parameters in one group.

    Adam and AdamW use torch's fused kernel where it exists, unless the recipe chooses another.

    Raises:
        InputError: If the recipe cannot be built: unknown or unusable name, or wrong arguments.
    """
    name, arguments = _split(recipe)
    optimizer_class = _optimizer_class(name)
    parameters = list(parameters)
    _check_arguments("optimizer", name, optimizer_class, arguments, _OPTIMIZER_OWN)
    if _can_be_fused(optimizer_class, arguments, parameters):
        arguments["fused"] = True
    built_class = eager_class(optimizer_class, is_fused=arguments.get("fused") is True)
    try:
        optimizer: Optimizer = built_class(parameters, lr=learning_rate, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"the optimizer {name} cannot be built: {error}") from error
    return optimizer


def build_scheduler(recipe: Recipe, optimizer: Optimizer) -> LRScheduler:
    """Build a scheduler of torch for an optimizer.

    Raises:
        InputError: If the recipe cannot be built: unknown or unusable name, or wrong arguments.
    """
    name, arguments = _split(recipe)
    scheduler_class = _scheduler_class(name)
    _check_arguments("scheduler", name, scheduler_class, arguments, _SCHEDULER_OWN)
    try:
        scheduler: LRScheduler = scheduler_class(optimizer, **arguments)
    except (TypeError, ValueError, KeyError, AttributeError, ZeroDivisionError) as error:
        owner = type(optimizer).__name__
        raise InputError(f"the scheduler {name} cannot be built for {owner}: {error}") from error
    return scheduler


def load_optimizer_state(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimizer from a checkpoint.

    By which of torch's implementations the steps are made is not part of the state: it stays as it
    was built, since the file may come from another kind of device, or from Sequifier.

    Raises:
        ValueError: If the state is that of another optimizer, or of other parameters.
    """
    (group,) = state["param_groups"]
    own = optimizer.param_groups[0]
    # torch would load a stranger's state without a word and fail at the next step.
    if missing := own.keys() - group.keys():
        raise ValueError(f"the state of another optimizer: it has no {', '.join(sorted(missing))}")
    implementation = {key: own[key] for key in _IMPLEMENTATION if key in own}
    optimizer.load_state_dict({**state, "param_groups": [{**group, **implementation}]})
    # torch gives every state the type of its parameter's numbers, but some are kept in another:
    # NAdam's `mu_product` of a bfloat16 layer is float32, and would go on rounded.
    for number, values in state["state"].items():
        loaded = optimizer.state[own["params"][number]]
        for name, saved in values.items():
            if isinstance(saved, Tensor) and saved.dtype != loaded[name].dtype:
                loaded[name] = saved.to(loaded[name].device)


def _split(recipe: Recipe) -> tuple[str, dict[str, Any]]:
    arguments = {k: v for k, v in recipe.items() if k != "name"}
    return str(recipe.get("name")), arguments


def _optimizer_class(name: str) -> type[Any]:
    if name == "AdEMAMix":
        return AdEMAMix
    if name in UNUSABLE["optimizer"]:
        raise InputError(
            f"the optimizer {name} cannot be used here: it {UNUSABLE['optimizer'][name]}"
        )
    known = {
        key: value
        for key, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, Optimizer)
    }
    if name in known:
        return known[name]
    if (package := collection_of("optimizer", name)) is not None:
        found = getattr(_imported(package), name, None)
        if found is None:
            problem = f"the optimizer {name} is in the package {package}, which is not installed"
            raise InputError(problem, EXTRA)
        collected: type[Any] = found
        return collected
    names = {"AdEMAMix", *known}.union(*COLLECTIONS.values())
    usable = sorted(names - set(UNUSABLE["optimizer"]))
    raise InputError(_unknown("optimizer", name, usable), f"use one of {', '.join(usable)}")


def _scheduler_class(name: str) -> type[Any]:
    if name in UNUSABLE["scheduler"]:
        raise InputError(
            f"the scheduler {name} cannot be used here: it {UNUSABLE['scheduler'][name]}"
        )
    known = {
        key: value
        for key, value in vars(lr_scheduler).items()
        if isinstance(value, type) and issubclass(value, LRScheduler) and not key.startswith("_")
    }
    if name not in known:
        usable = sorted(set(known) - set(UNUSABLE["scheduler"]))
        raise InputError(_unknown("scheduler", name, usable), f"use one of {', '.join(usable)}")
    return known[name]


def _unknown(kind: str, name: str, usable: Sequence[str]) -> str:
    hint = did_you_mean(name, usable)
    return f"there is no {kind} `{name}`{'; ' + hint if hint else ''}"


def _imported(package: str) -> ModuleType | None:
    """An optional package, imported when an optimizer of it is first built."""
    try:
        return importlib.import_module(package)
    except ImportError:
        return None


def _check_arguments(
    kind: str, name: str, built_class: type[Any], arguments: Recipe, own: frozenset[str]
) -> None:
    """Refuse arguments that the constructor does not have.

    Raises:
        InputError: Naming each unknown argument and what there is instead.
    """
    taken = [
        key
        for key, parameter in inspect.signature(built_class.__init__).parameters.items()
        if key not in own and parameter.kind is not parameter.VAR_KEYWORD
    ]
    unknown = [key for key in arguments if key not in taken]
    if unknown:
        hints = [hint for key in unknown if (hint := did_you_mean(key, taken))]
        raise InputError(
            f"the {kind} {name} has no argument {', '.join(f'`{key}`' for key in unknown)}"
            + "".join(f"; {hint}" for hint in hints),
            f"use any of {', '.join(taken)}",
        )


def _can_be_fused(
    optimizer_class: type[Any], arguments: Recipe, parameters: Sequence[Tensor]
) -> bool:
    """Whether torch's fused kernel does the same as the recipe asks for, only faster."""
    if optimizer_class not in (torch.optim.Adam, torch.optim.AdamW):
        return False
    if any(arguments.get(key) for key in ("foreach", "capturable", "differentiable")):
        return False
    return "fused" not in arguments and all(
        parameter.device.type == "cuda"
        or (parameter.device.type == "cpu" and parameter.dtype is torch.float32)
        for parameter in parameters
    )
