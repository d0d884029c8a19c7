"""`sequifier-hpo report`: a study as one HTML file."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.cli.options import StorageUrl, StudyFile, StudyName, WithOutside
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.locate import find_study
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.words import counted


def report(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write; default: report.html of the study.",
            parser=expanded_path,
        ),
    ] = None,
    with_outside: WithOutside = False,  # noqa: FBT002 - a flag
    as_json: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--json", help="Print what was written as JSON.")
    ] = False,
) -> None:
    """Write a study as one HTML file that opens offline.

    Models that are here are run once, for how long they take for an event.

    Example: sequifier-hpo report --config-path configs/hyperparameter_search.yaml
    """
    source = find_study(config_path, storage, study_name, with_outside=with_outside)
    # Optuna and what it brings take half a second: only when a study is really read.
    from sequifier_hpo.inference.latency import measured  # noqa: PLC0415
    from sequifier_hpo.report.study_reader import read_source  # noqa: PLC0415
    from sequifier_hpo.report.writing import default_report_path, write_report  # noqa: PLC0415

    target = output or default_report_path(source)
    snapshot = read_source(source)
    snapshot = replace(snapshot, runs=tuple(measured(source, snapshot.runs, say)))
    data = write_report(source, snapshot, target)
    if as_json:
        size = target.stat().st_size
        print(json.dumps({"study": source.name, "report": str(target), "bytes": size}))
    else:
        num_complete = data.progress.num_complete
        print(f"wrote {target}: {counted(num_complete, 'complete run')}")
