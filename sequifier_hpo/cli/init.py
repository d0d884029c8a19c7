"""`sequifier-hpo init`: a new project with real data and commented configurations."""

import os
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.plain_files import open_own


def init(
    folder: Annotated[Path, typer.Argument(help="The new project's folder.", parser=expanded_path)],
) -> None:
    """Create a project with real data, ready to run.

    It holds real weather data, and a preprocessing file and search files with comments. Existing
    files are left alone.

    Example: sequifier-hpo init my-project
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file", "choose a folder")
    starter = resources.files("sequifier_hpo.cli") / "starter"
    written: list[Path] = []
    try:
        _copy(starter, folder, written)
    except OSError as error:
        raise EnvironmentFaultError(f"cannot write {error.filename}: {error.strerror}") from error
    for path in written:
        print(f"wrote {path}")
    if not written:
        print(f"{folder} already has all files")
    go_there = "" if folder.resolve() == Path.cwd() else f"  cd {folder}\n"
    print(
        f"\nnext:\n{go_there}"
        "  sequifier-hpo preprocess --config-path configs/preprocess.yaml\n"
        "  sequifier-hpo hyperparameter-search --config-path configs/hyperparameter_search.yaml"
    )


def _copy(source: Traversable, target: Path, written: list[Path]) -> None:
    """Copy a folder of the package; existing files stay as they are."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name):
        path = target / entry.name
        if entry.is_dir():
            _copy(entry, path, written)
        elif not path.exists():
            with os.fdopen(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                file.write(entry.read_bytes())
            written.append(path)
