"""Hyperparameter search for Sequifier models.

`search` and `open_study` are for programs and notebooks; they are loaded when they are first used,
and their types are in `__init__.pyi`.
"""

import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

__version__ = "0.1.0"
__all__ = ["Study", "StudyRun", "__version__", "open_study", "search"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with warnings.catch_warnings():
        # In a notebook a library of optuna's misses a package that nothing here uses.
        warnings.filterwarnings("ignore", message="IProgress not found")
        return getattr(import_module("sequifier_hpo.api"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """The package, whose `search` is the function, though a package below it has that name too."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "search":  # an import would set it
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
