"""`sequifier-hpo dashboard`: a study in the browser, while it runs."""

import sys
from typing import Annotated

import typer

from sequifier_hpo.cli.options import StorageUrl, StudyFile, StudyName
from sequifier_hpo.config.locate import find_study

_OWN_ADDRESSES = ("127.0.0.1", "::1", "localhost")
_OPEN_TO_ALL = "there is no password: anyone who can reach this address can see the study"


def dashboard(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on. There is no password.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, metavar="N", help="Port to listen on; 0 = any free port."),
    ] = 8080,
    allow_changes: Annotated[  # noqa: FBT002 - a flag
        bool,
        typer.Option(
            "--allow-changes", help="Let the dashboard write notes, and delete or rename studies."
        ),
    ] = False,
) -> None:
    """Open optuna-dashboard on a study, read-only. Ctrl-C stops it.

    Example: sequifier-hpo dashboard --config-path configs/hyperparameter_search.yaml
    """
    source = find_study(config_path, storage, study_name)
    # Optuna and what it brings take half a second: only when a study is really opened.
    from sequifier_hpo.dashboard import open_dashboard  # noqa: PLC0415

    with open_dashboard(source, host=host, port=port, allow_changes=allow_changes) as opened:
        if host not in _OWN_ADDRESSES:
            print(f"warning: {_OPEN_TO_ALL}", file=sys.stderr)
        print(opened.url, flush=True)
        print(
            "Ctrl-C stops the dashboard; a running search is not affected",
            file=sys.stderr,
            flush=True,
        )
        try:
            opened.serve_forever()
        except KeyboardInterrupt:
            return
