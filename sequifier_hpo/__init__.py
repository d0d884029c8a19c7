"""Hyperparameter search for Sequifier models.

`search` and `open_study` are for programs and notebooks; they are loaded when they are first used,
and their types are in `__init__.pyi`. At its start the package uses only what Python has loaded: see
`python_path`.
"""

__version__ = "0.1.0"
__all__ = ["Study", "StudyRun", "__version__", "open_study", "search"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import warnings  # noqa: PLC0415 - as the package's docstring says
    from importlib import import_module  # noqa: PLC0415

    with warnings.catch_warnings():
        # In a notebook a library of optuna's misses a package that nothing here uses.
        warnings.filterwarnings("ignore", message="IProgress not found")
        found: object = getattr(import_module("sequifier_hpo.api"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
