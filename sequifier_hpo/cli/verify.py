"""`sequifier-hpo verify`: whether the winner of a search still wins with other seeds."""

from typing import Annotated

import typer

from sequifier_hpo.assembly.prepare import prepare_search
from sequifier_hpo.cli.options import (
    Format,
    JsonFormat,
    MetadataConfigPath,
    OneInputSet,
    OutputFormat,
    SkipMetadata,
    StorageUrl,
    StudyFile,
    StudyName,
    Verbose,
    WantedCheck,
    Workers,
    search_overrides,
)
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.locate import DEFAULT_SEARCH_FILE
from sequifier_hpo.errors import InputError

DEFAULT_RUNS, DEFAULT_SEEDS = 3, 5


def verify(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    runs: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of best runs to check.")
    ] = DEFAULT_RUNS,
    seeds: Annotated[
        int, typer.Option(min=2, metavar="N", help="New seeds per run.")
    ] = DEFAULT_SEEDS,
    workers: Workers = None,
    retry_failed: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--retry-failed", help="Retry failed training runs.")
    ] = False,
    input_columns: OneInputSet = None,
    metadata_config_path: MetadataConfigPath = None,
    skip_metadata: SkipMetadata = False,  # noqa: FBT002 - a flag
    output_format: OutputFormat = Format.TEXT,
    as_json: JsonFormat = False,  # noqa: FBT002 - a flag
    verbose: Verbose = False,  # noqa: FBT002 - a flag
) -> None:
    """Check the winner of a search with other seeds.

    Retrains the best runs with new seeds and compares them. These training runs are not part of
    the search: they are stored in a study of their own. Running the same command again resumes
    them, and trains none twice. Use the same options as for the search.

    Example: sequifier-hpo verify --runs 3 --seeds 5
    """
    prepared = prepare_search(
        config_path or DEFAULT_SEARCH_FILE,
        overrides=search_overrides(input_columns, metadata_config_path),
        skip_metadata=skip_metadata,
        storage=storage,
        workers=workers,
        on_progress=say,
    )
    # A training needs the search file; one of another study would be the wrong one.
    if study_name not in {None, prepared.name}:
        raise InputError(
            f"{prepared.loaded.document.file} is the search file of the study `{prepared.name}`, "
            f"not of `{study_name}`",
            "name the search file of that study with --config-path",
        )
    # Optuna and what it brings take half a second: only when a study is really read.
    from sequifier_hpo.cli.running import run_check  # noqa: PLC0415

    wanted = WantedCheck(runs, seeds, retry_failed, Format.JSON if as_json else output_format)
    raise typer.Exit(run_check(prepared, wanted, verbose=verbose))
