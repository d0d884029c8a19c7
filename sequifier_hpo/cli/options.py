"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer

ConfigPath = Annotated[
    Path, typer.Option("--config-path", help="The YAML file.", show_default=True)
]
SkipMetadata = Annotated[
    bool,
    typer.Option(
        "--skip-metadata",
        "-sm",
        help="Take column lists, ids and data paths from the file, not from the metadata.",
    ),
]
MetadataConfigPath = Annotated[
    str | None,
    typer.Option("--metadata-config-path", "-mc", help="Replaces metadata_config_path."),
]


def given(**overrides: Any) -> dict[str, Any]:
    """The overrides that were given on the command line."""
    return {key: value for key, value in overrides.items() if value is not None}


def column_list(text: str | None) -> list[str] | None:
    """Columns from `A,B,C` or `A B C`; None stays None."""
    if text is None:
        return None
    return [name for name in text.replace(",", " ").split() if name]


# A study that is looked at, by its search file or by where it is stored.
StudyFile = Annotated[
    Path | None,
    typer.Option(
        "--config-path", help="The search file; default: configs/hyperparameter_search.yaml."
    ),
]
StorageUrl = Annotated[
    str | None, typer.Option("--storage", help="Storage URL; default: the search file's.")
]
StudyName = Annotated[
    str | None, typer.Option("--study-name", help="Name of the study; default: the search file's.")
]
