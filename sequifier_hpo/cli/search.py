"""`sequifier-hpo hyperparameter-search`: run a search, or go on with it."""

from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.assembly.prepare import prepare_search
from sequifier_hpo.cli.options import ConfigPath, MetadataConfigPath, SkipMetadata, given


def hyperparameter_search(
    config_path: ConfigPath = Path("configs/hyperparameter_search.yaml"),
    storage: Annotated[
        str | None,
        typer.Option(help="Storage URL; default: the file's, then SQLite below studies/."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Trials at the same time; default: the file's.")
    ] = None,
    retry_failed: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--retry-failed", help="Run failed runs again.")
    ] = False,
    input_columns: Annotated[
        list[str] | None,
        typer.Option("--input-columns", "-ic", help="Search this one input set; repeatable."),
    ] = None,
    metadata_config_path: MetadataConfigPath = None,
    skip_metadata: SkipMetadata = False,  # noqa: FBT002 - a flag
    as_json: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--json", help="Print the result as JSON.")
    ] = False,
) -> None:
    """Run a hyperparameter search. The same command again resumes it.

    Example: sequifier-hpo hyperparameter-search --config-path configs/hyperparameter_search.yaml
    """
    overrides = given(
        input_columns=[input_columns] if input_columns else None,
        metadata_config_path=metadata_config_path,
    )
    prepared = prepare_search(
        config_path,
        overrides=overrides,
        skip_metadata=skip_metadata,
        storage=storage,
        workers=workers,
    )
    # Optuna and what it brings take half a second: only when a search really runs.
    from sequifier_hpo.cli.running import run_search  # noqa: PLC0415

    raise typer.Exit(run_search(prepared, config_path, retry_failed=retry_failed, as_json=as_json))
