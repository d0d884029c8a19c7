"""Options that several commands share."""

import secrets
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from sequifier_hpo.cli.say import say
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.errors import InputError

NO_SUCCESS = 4
"""Exit code: nothing was done wrong, but no run succeeded."""

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
        metavar="COLUMN ...",
        help="Search only this input set; None = all columns.",
    ),
]
Randomize = Annotated[
    bool, typer.Option("--randomize", "-r", help="Draw the seed, and show it on stderr.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Concurrent trials; default: the search file's."),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "--verbose", "-v", help="Show on stderr, too, what studies/NAME/coordinator.log gets."
    ),
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


class ListsLikeSequifier(TyperCommand):
    """A command whose lists may be written as Sequifier has them, `--input-columns A B`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments in which an option of several values may stand once, before them all."""
        lists = {
            name
            for option in self.params
            if isinstance(option, TyperOption) and option.multiple
            for name in option.opts
        }
        return super().parse_args(ctx, list(_repeated(args, lists)))


def _repeated(arguments: Iterable[str], lists: Collection[str]) -> Iterator[str]:
    """`-ic A B` becomes `-ic A -ic B`."""
    option, is_first = "", False
    for argument in arguments:
        if argument.startswith("-"):
            name, equals, _ = argument.partition("=")
            option, is_first = (name if name in lists else ""), not equals
        elif option and not is_first:
            yield option
        else:
            is_first = False
        yield argument


def given(**overrides: Any) -> dict[str, Any]:
    """The overrides that were given on the command line; null for Sequifier's word `None`."""
    return {
        key: None if value == ["None"] else value
        for key, value in overrides.items()
        if value is not None and value != []
    }


def chosen_seed(seed: int | None, *, is_drawn: bool) -> int | None:
    """The seed that `--seed` and `--randomize` ask for; one that is drawn is shown.

    None is that of the file.

    Raises:
        InputError: If both are given.
    """
    if not is_drawn:
        return seed
    if seed is not None:
        raise InputError("--randomize draws the seed that --seed gives", "leave one of them out")
    drawn = secrets.randbelow(10**9)
    say(f"seed: {drawn}")
    return drawn


def search_overrides(
    input_columns: list[str] | None,
    metadata_config_path: str | None,
    time_budget: str | None = None,
) -> dict[str, Any]:
    """What the options of a search replace in the search file."""
    overrides = given(
        input_columns=input_columns,
        metadata_config_path=metadata_config_path,
        time_budget=time_budget,
    )
    if overrides.get("input_columns"):
        overrides["input_columns"] = [overrides["input_columns"]]  # one set of columns
    return overrides


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
WithOutside = Annotated[
    bool,
    typer.Option(
        "--with-outside", help="Rank runs outside the present search space among the others."
    ),
]
# A model that is used: a file, or that of a run.
RunNumber = Annotated[
    int | None,
    typer.Option("--run", min=0, metavar="N", help="A run of the study; default: the best."),
]
ModelFile = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="FILE",
        help="An ONNX model, instead of a run of a study.",
        parser=expanded_path,
    ),
]
MetadataFile = Annotated[
    Path | None,
    typer.Option(
        "--metadata",
        metavar="FILE",
        help="The metadata of its data, for models of version 0.1.0.",
        parser=expanded_path,
    ),
]
