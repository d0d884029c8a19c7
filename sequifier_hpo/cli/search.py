"""`sequifier-hpo hyperparameter-search`: run or resume a search."""

from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.cli.options import (
    AsJson,
    ConfigPath,
    MetadataConfigPath,
    OneInputSet,
    SkipMetadata,
    StorageUrl,
    Verbose,
    Workers,
    search_overrides,
)
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.user_file import wanted_by

RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Retry failed runs.")]
Finish = Annotated[
    list[int] | None,
    typer.Option(
        "--finish",
        min=0,
        metavar="RUN",
        help="Give a run that was stopped early its full length; may be repeated.",
    ),
]
TimeBudget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Stop in time, as after 8h, 90m or 1h30m; default: the search file's.",
    ),
]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify",
        metavar="URL",
        help="Tell this service (apprise) when the search ends, gives up or loses its storage; "
        "may be repeated. Also $SEQUIFIER_HPO_NOTIFY, or your own configuration file.",
    ),
]
OnEvent = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND", help="Give this command the same events, as JSON on standard input."
    ),
]
NotifyBest = Annotated[bool, typer.Option("--notify-best", help="Tell of new best runs, too.")]
AcceptNewData = Annotated[
    bool,
    typer.Option(
        "--accept-new-data",
        help="Continue with changed data: earlier runs stay, marked and unranked.",
    ),
]
AcceptChanges = Annotated[
    bool,
    typer.Option(
        "--accept-changes",
        help="Continue with a changed search space: runs outside it stay, marked and unranked.",
    ),
]
SameData = Annotated[
    bool,
    typer.Option(
        "--same-data", help="Confirm that the data of a study started by 0.1.0 are unchanged."
    ),
]


def hyperparameter_search(
    config_path: ConfigPath = Path("configs/hyperparameter_search.yaml"),
    storage: StorageUrl = None,
    workers: Workers = None,
    time_budget: TimeBudget = None,
    retry_failed: RetryFailed = False,  # noqa: FBT002 - a flag
    finish: Finish = None,
    notify: Notify = None,
    on_event: OnEvent = None,
    notify_best: NotifyBest = False,  # noqa: FBT002 - a flag
    accept_new_data: AcceptNewData = False,  # noqa: FBT002 - a flag
    accept_changes: AcceptChanges = False,  # noqa: FBT002 - a flag
    same_data: SameData = False,  # noqa: FBT002 - a flag
    input_columns: OneInputSet = None,
    metadata_config_path: MetadataConfigPath = None,
    skip_metadata: SkipMetadata = False,  # noqa: FBT002 - a flag
    as_json: AsJson = False,  # noqa: FBT002 - a flag
    verbose: Verbose = False,  # noqa: FBT002 - a flag
) -> None:
    """Run a hyperparameter search. Running the same command again resumes it.

    Example: sequifier-hpo hyperparameter-search --config-path configs/hyperparameter_search.yaml
    """
    # What reads tables and search files takes half a second to load: not for `--help`.
    from sequifier_hpo.assembly.prepare import prepare_search  # noqa: PLC0415

    wanted = wanted_by(notify or (), on_event, tells_best=notify_best)
    prepared = prepare_search(
        config_path,
        overrides=search_overrides(input_columns, metadata_config_path, time_budget),
        skip_metadata=skip_metadata,
        storage=storage,
        workers=workers,
        on_progress=say,
    )
    # Optuna and what it brings take half a second: only when a search really runs.
    from sequifier_hpo.cli.running import run_search  # noqa: PLC0415
    from sequifier_hpo.study import Consent  # noqa: PLC0415

    consent = Consent(new_data=accept_new_data, same_data=same_data, changes=accept_changes)
    code = run_search(
        prepared,
        consent,
        retry_failed=retry_failed,
        finish=finish or (),
        wanted=wanted,
        as_json=as_json,
        verbose=verbose,
    )
    raise typer.Exit(code)
