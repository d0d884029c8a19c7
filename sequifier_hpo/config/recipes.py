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
        "A2Grad": "takes no learning rate",
        "APOLLO": "needs parameters in several groups",
        "AdaDelta": "is named Adadelta",
        "AdaFactor": "is named Adafactor",
        "AdaGO": "needs parameters in several groups",
        "AdaHessian": "needs second derivatives",
        "AdaLOMO": "makes its steps during the backward pass",
        "AdaMax": "is named Adamax",
        "AdaMuon": "needs parameters in several groups",
        "AdaShift": "cannot be continued from a checkpoint",
        "Adahessian": "needs second derivatives",
        "AdamC": "needs parameters in several groups",
        "AdamMini": "needs the names of the parameters",
        "AdamWSN": "needs parameters in several groups",
        "AliG": "needs the loss in every step",
        "Alice": "draws random numbers of its own",
        "ApolloDQN": "has a schedule of its own",
        "BSAM": "needs to evaluate the loss several times a step",
        "Conda": "cannot be continued from a checkpoint",
        "DASH": "draws random numbers of its own",
        "DeMo": "exchanges gradients between processes itself",
        "DistributedMuon": "needs parameters in several groups",
        "DynamicLossScaler": "is a part of another optimizer",
        "EmoFact": "cannot be continued from a checkpoint",
        "EmoLynx": "cannot be continued from a checkpoint",
        "EmoNavi": "cannot be continued from a checkpoint",
        "Fira": "needs parameters in several groups",
        "FriendlySAM": "wraps another optimizer",
        "GSAM": "wraps another optimizer",
        "GaLore": "needs parameters in several groups",
        "Gravity": "draws random numbers of its own",
        "Kron": "draws random numbers of its own",
        "LBFGS": "needs to evaluate the loss several times a step",
        "LOMO": "makes its steps during the backward pass",
        "LoRARite": "accepts pairs of low-rank matrices only",
        "LookSAM": "wraps another optimizer",
        "Lookahead": "wraps another optimizer",
        "Magma": "wraps another optimizer",
        "Muon": "accepts matrices only, and a model has vectors too",
        "MuonClip": "needs parameters in several groups",
        "NorMuon": "needs parameters in several groups",
        "Optimizer": "is the base class",
        "OrthoGrad": "wraps another optimizer",
        "PCGrad": "wraps another optimizer",
        "ROSE": "draws random numbers of its own",
        "Ranger21": "has a schedule of its own",
        "RotoGrad": "needs several losses",
        "SAM": "wraps another optimizer",
        "SCION": "cannot be continued from a checkpoint",
        "SCIONLight": "cannot be continued from a checkpoint",
        "SPAM": "cannot be continued from a checkpoint",
        "SPlus": "is evaluated with other weights than it trains",
        "SafeFP16Optimizer": "wraps another optimizer",
        "ScalableShampoo": "cannot be continued from a checkpoint",
        "ScheduleFreeAdamW": "is evaluated with other weights than it trains",
        "ScheduleFreeRAdam": "is evaluated with other weights than it trains",
        "ScheduleFreeSGD": "is evaluated with other weights than it trains",
        "ScheduleFreeWrapper": "wraps another optimizer",
        "SophiaH": "needs second derivatives",
        "SparseAdam": "accepts sparse gradients only",
        "SpectralSphere": "accepts matrices only, and a model has vectors too",
        "TRAC": "wraps another optimizer",
        "WSAM": "wraps another optimizer",
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

COLLECTIONS: Mapping[str, frozenset[str]] = {
    "torch_optimizer": frozenset(
        [
            "A2GradExp",
            "A2GradInc",
            "A2GradUni",
            "AccSGD",
            "AdaBelief",
            "AdaBound",
            "AdaMod",
            "AdamP",
            "AggMo",
            "Apollo",
            "DiffGrad",
            "LARS",
            "Lamb",
            "MADGRAD",
            "NovoGrad",
            "PID",
            "QHAdam",
            "QHM",
            "Ranger",
            "RangerQH",
            "RangerVA",
            "SGDP",
            "SGDW",
            "SWATS",
            "Shampoo",
            "Yogi",
        ]
    ),
    "pytorch_optimizer": frozenset(
        [
            "ADOPT",
            "AdaGC",
            "AdaNorm",
            "AdaPNM",
            "AdaSmooth",
            "AdaTAM",
            "Adai",
            "Adalite",
            "AdamG",
            "AdamS",
            "Adan",
            "Aida",
            "Amos",
            "Ano",
            "AvaGrad",
            "BCOS",
            "CAME",
            "DAdaptAdaGrad",
            "DAdaptAdam",
            "DAdaptAdan",
            "DAdaptLion",
            "DAdaptSGD",
            "DualAdam",
            "EXAdam",
            "FAdam",
            "FOCUS",
            "FTRL",
            "FlashAdamW",
            "Fromage",
            "Grams",
            "GrokFastAdamW",
            "Kate",
            "LaProp",
            "Lion",
            "MARS",
            "MSVAG",
            "Nero",
            "PAdam",
            "PNM",
            "Prodigy",
            "RACS",
            "SGDSaI",
            "SM3",
            "SOAP",
            "SRMM",
            "SaRA",
            "SignSGD",
            "SimplifiedAdEMAMix",
            "StableAdamW",
            "StableSPAM",
            "TAM",
            "Tiger",
            "VSGD",
        ]
    ),
}
"""The packages of the extra `optimizers`, and the optimizers of each that train and resume here.

A name that exists twice means torch's, then that of the package listed first: a file must not
change its meaning with what is installed.
"""
EXTRA = 'pip install "sequifier-hpo[optimizers]"'
"""The command that installs these packages."""

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
    elif name not in known and (package := collection_of(kind, name)) is not None:
        problem = f"the optimizer {name} is in the package {package}, which is not installed"
        yield Finding((*loc, "name"), problem, ", ".join(usable), EXTRA)
    elif name not in known:
        problem = f"there is no {kind} `{name}`"
        yield Finding((*loc, "name"), problem, ", ".join(usable), did_you_mean(name, usable))
    else:
        yield from _argument_findings(kind, recipe, signature(kind, name), loc)


def collection_of(kind: Kind, name: str) -> str | None:
    """The optional package that a name is looked up in when torch has none of that name."""
    if kind == "scheduler":
        return None
    return next((package for package, names in COLLECTIONS.items() if name in names), None)


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
    return {
        **{
            name: path
            for package, names in COLLECTIONS.items()
            for name, path in _collected(package).items()
            if name in names
        },
        **_optimizers_of(folder),
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


def _collected(package: str) -> dict[str, Path | None]:
    """Classes of an optional package, with the files they come from."""
    folder = _package_folder(package)
    if folder is None or package != "torch_optimizer":
        return _optimizers_of(folder)
    # It has its three Rangers from a package that it requires.
    return {**_optimizers_of(_package_folder("pytorch_ranger")), **_optimizers_of(folder)}


def _optimizers_of(package: Path | None) -> dict[str, Path | None]:
    """Classes that a package lists in an `__init__.py`, with the files they come from."""
    if package is None:
        return {}
    folders = (package / "optim", package / "optimizer", package)
    folder = next(path for path in folders if path.is_dir())
    listing = (folder / "__init__.py").read_text(encoding="utf-8")
    return {
        name: folder / f"{module}.py"
        for module, names in re.findall(r"^from [\w.]*\.(\w+) import (.+)$", listing, re.MULTILINE)
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
        # What comes in by `**kwargs` is kept and perhaps never read: a typo would go unnoticed.
        takes_any=False,
    )


def _package_folder(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    return Path(spec.origin).parent if spec is not None and spec.origin else None
