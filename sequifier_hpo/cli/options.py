"""Options that several commands share."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from sequifier_hpo.config.paths import expanded_path

ConfigPath = Annotated[
    Path,
    typer.Option(
        "--config-path",
        metavar="FILE",
        help="The YAML file.",
        show_default=True,
        parser=expanded_path,
    ),
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
    typer.Option(
        "--metadata-config-path", "-mc", metavar="FILE", help="Replaces metadata_config_path."
    ),
]
OneInputSet = Annotated[
    list[str] | None,
    typer.Option(
        "--input-columns",
        "-ic",
        metavar="COLUMN",
        help="Search only this input set; repeat for each column.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Concurrent trials; default: the search file's."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


class Format(StrEnum):
    """How the result is printed."""

    TEXT = "text"
    JSON = "json"
    CSV = "csv"


OutputFormat = Annotated[Format, typer.Option("--format", help="csv and json: in full precision.")]
JsonFormat = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


@dataclass(frozen=True)
class WantedCheck:
    """What the user asks of a winner check."""

    num_runs: int
    num_seeds: int
    retry_failed: bool
    output_format: Format


def given(**overrides: Any) -> dict[str, Any]:
    """The overrides that were given on the command line."""
    return {key: value for key, value in overrides.items() if value is not None}


def search_overrides(
    input_columns: list[str] | None, metadata_config_path: str | None
) -> dict[str, Any]:
    """What the options of Sequifier's search replace in the search file."""
    return given(
        input_columns=[input_columns] if input_columns else None,
        metadata_config_path=metadata_config_path,
    )


# A study that is looked at, by its search file or by where it is stored.
StudyFile = Annotated[
    Path | None,
    typer.Option(
        "--config-path",
        metavar="FILE",
        help="The search file; default: configs/hyperparameter_search.yaml.",
        parser=expanded_path,
    ),
]
StorageUrl = Annotated[
    str | None,
    typer.Option("--storage", metavar="URL", help="The storage; default: the search file's."),
]
StudyName = Annotated[
    str | None,
    typer.Option("--study-name", metavar="NAME", help="The study; default: the search file's."),
]
