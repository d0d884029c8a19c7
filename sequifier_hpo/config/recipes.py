"""Optimizers and schedulers by name: which exist, and which arguments their classes take.

The installed torch is asked through its source files, because importing it takes a second that
`plan` and the first line of an error message should not cost.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from sequifier_hpo.config.schema import Finding, did_you_mean
from sequifier_hpo.config.yaml_file import Loc

Kind = Literal["optimizer", "scheduler"]

UNUSABLE: Mapping[Kind, Mapping[str, str]] = {
    "optimizer": {
        "Adahessian": "needs second derivatives",
        "LBFGS": "needs to evaluate the loss several times a step",
        "Lookahead": "wraps another optimizer",
        "Muon": "accepts matrices only, and a model has vectors too",
        "Optimizer": "is the base class",
        "SparseAdam": "accepts sparse gradients only",
    },
    "scheduler": {
        "ChainedScheduler": "is made of other schedulers",
        "LRScheduler": "is the base class",
        "LambdaLR": "needs a Python function",
        "MultiplicativeLR": "needs a Python function",
        "SequentialLR": "is made of other schedulers",
    },
}
"""Classes that exist but cannot be used from a YAML file, and why."""

_ADEMAMIX_ARGUMENTS = ("betas", "eps", "weight_decay", "alpha", "T_alpha_beta3")
# What the training loop fills in, so that it is neither asked of the user nor listed for them.
_OWN = frozenset({"self", "params", "lr", "optimizer", "last_epoch", "verbose"})


@dataclass(frozen=True)
class Signature:
    """The arguments of a constructor that the user may give."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    takes_any: bool
    """Whether it accepts arguments that it does not name."""


def recipe_findings(kind: Kind, recipe: Mapping[str, Any], loc: Loc) -> Iterator[Finding]:
    """Check the name and the arguments of one optimizer or scheduler map."""
    name = recipe.get("name")
    if not isinstance(name, str):
        example = "AdamW" if kind == "optimizer" else "StepLR"
        yield Finding(loc, f"the {kind} has no name", f"`name: {example}` and its arguments")
        return
    if kind == "optimizer" and "lr" in recipe:
        yield Finding(
            (*loc, "lr"), "the learning rate has a field of its own", fix="use learning_rate"
        )
    known = _sources(kind)
    if not known:
        return  # torch is not installed: nothing to compare with
    usable = sorted(set(known) - set(UNUSABLE[kind]))
    if name in UNUSABLE[kind]:
        problem = f"the {kind} {name} cannot be used: it {UNUSABLE[kind][name]}"
        yield Finding((*loc, "name"), problem, ", ".join(usable))
    elif name not in known:
        problem = f"there is no {kind} `{name}`"
        yield Finding((*loc, "name"), problem, ", ".join(usable), did_you_mean(name, usable))
    else:
        yield from _argument_findings(kind, recipe, signature(kind, name), loc)


@cache
def signature(kind: Kind, name: str) -> Signature:
    """The arguments of a usable class.

    Raises:
        KeyError: If there is no such class.
    """
    path = _sources(kind)[name]
    if path is None:
        return Signature((), _ADEMAMIX_ARGUMENTS, takes_any=False)
    return _signature_in(path, name)


@cache
def _sources(kind: Kind) -> dict[str, Path | None]:
    """Class name -> file that defines it, None for our own; empty if torch is not installed."""
    folder = _package_folder("torch")
    if folder is None:
        return {}
    if kind == "scheduler":
        path = folder / "optim" / "lr_scheduler.py"
        names = re.findall(r"^class ([A-Z]\w*)", path.read_text(encoding="utf-8"), re.MULTILINE)
        return dict.fromkeys(names, path)
    # A name that exists twice means torch's: a file must not change its meaning with the package.
    return {
        **_optimizers_of(_package_folder("torch_optimizer"), r"^from \.(\w+) import (.+)$"),
        **_optimizers_of(folder / "optim", r"^from torch\.optim\.(\w+) import (.+)$"),
        "AdEMAMix": None,
    }


def _argument_findings(
    kind: Kind, recipe: Mapping[str, Any], taken: Signature, loc: Loc
) -> Iterator[Finding]:
    name = recipe["name"]
    arguments = [key for key in recipe if key not in {"name", "lr"}]
    known = (*taken.required, *taken.optional)
    for argument in arguments:
        if argument not in known and not taken.takes_any:
            yield Finding(
                (*loc, argument),
                f"{name} takes no argument `{argument}`",
                ", ".join(known) or "none",
                did_you_mean(argument, known),
            )
    missing = [argument for argument in taken.required if argument not in recipe]
    if missing:
        yield Finding(
            loc,
            f"the {kind} {name} needs {' and '.join(f'`{m}`' for m in missing)}",
            ", ".join(known),
            f"add `{missing[0]}: ...`",
        )


def _optimizers_of(folder: Path | None, import_line: str) -> dict[str, Path | None]:
    """Classes that a package lists in its `__init__.py`, with the files they come from."""
    if folder is None:
        return {}
    listing = (folder / "__init__.py").read_text(encoding="utf-8")
    return {
        name: folder / f"{module}.py"
        for module, names in re.findall(import_line, listing, re.MULTILINE)
        for name in re.findall(r"\b[A-Z]\w*\b", names)
    }


def _signature_in(path: Path, class_name: str) -> Signature:
    """Read the constructor's arguments off the source of one class."""
    text = path.read_text(encoding="utf-8")
    source = re.search(rf"^class {class_name}\b.*?(?=^[^\s#)\]]|\Z)", text, re.M | re.S)
    body = ast.parse(source[0]).body if source else []
    for definition in body:
        for statement in getattr(definition, "body", []):
            if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
                return _of_constructor(statement.args)
    return Signature((), (), takes_any=True)  # inherited: leave the judgement to the class itself


def _of_constructor(arguments: ast.arguments) -> Signature:
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    num_required = len(positional) - len(arguments.defaults)
    required = positional[:num_required]
    optional = positional[num_required:]
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        (required if default is None else optional).append(argument.arg)
    return Signature(
        tuple(name for name in required if name not in _OWN),
        tuple(name for name in optional if name not in _OWN),
        takes_any=arguments.kwarg is not None,
    )


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None
