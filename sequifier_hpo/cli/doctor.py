"""`sequifier-hpo doctor`: is everything here that a search needs?"""

import json
from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.cli.options import StorageUrl, StudyFile
from sequifier_hpo.config.locate import DEFAULT_SEARCH_FILE, StudySource, find_study

PROBLEM = 3


def doctor(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    as_json: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--json", help="Print the checks as JSON.")
    ] = False,
) -> None:
    """Check that everything a search needs is there.

    Python, torch, the device, the disk, folders and the storage. Exit code 3: something is wrong.

    Example: sequifier-hpo doctor --config-path configs/hyperparameter_search.yaml
    """
    # The rooms behind it load what they look at.
    from sequifier_hpo.doctor import examine  # noqa: PLC0415

    source: StudySource | None = None
    root = Path()
    if config_path is not None or DEFAULT_SEARCH_FILE.exists():
        source = find_study(config_path, storage, None)
        root = source.paths.root
    elif storage is not None:
        source = find_study(None, storage, "a study to come")
    checks = []
    for check in examine(source, root):
        checks.append(check)
        if not as_json:
            mark = "ok     " if check.is_fine else "PROBLEM"
            print(f"{mark}  {check.name}: {check.found}", flush=True)
            if check.fix:
                print(f"           {'fix' if not check.is_fine else 'more'}: {check.fix}")
    if as_json:
        print(json.dumps([vars(check) for check in checks], indent=2))
    if not all(check.is_fine for check in checks):
        raise typer.Exit(PROBLEM)
