"""`sequifier-hpo export`: all runs of a study as a table for other programs."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.atomic import MAKE_ROOM, write_atomically
from sequifier_hpo.cli.lasting import why_incomplete
from sequifier_hpo.cli.options import StorageUrl, StudyFile, StudyName
from sequifier_hpo.config.locate import find_study
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.report.tables import detailed_records, results_csv
from sequifier_hpo.words import counted


class Format(StrEnum):
    """How runs are written."""

    CSV = "csv"
    JSON = "json"


def export(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    output_format: Annotated[
        Format, typer.Option("--format", help="csv: one row per run; json: also the loss curves.")
    ] = Format.CSV,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write; default: stdout.",
            parser=expanded_path,
        ),
    ] = None,
) -> None:
    """Write all runs of a study as CSV or JSON.

    Best first, in full precision.

    Example: sequifier-hpo export --format json | jq '.[0].parameters'
    """
    source = find_study(config_path, storage, study_name)
    # Optuna and what it brings take half a second: only when a study is really read.
    from sequifier_hpo.report.study_reader import read_source  # noqa: PLC0415

    runs = read_source(source).runs
    if output_format == Format.CSV:
        text = results_csv(source.name, runs)
    else:
        text = json.dumps(detailed_records(source.name, runs), indent=2) + "\n"
    if output is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        if reason := why_incomplete(sys.stdout):
            raise EnvironmentFaultError(f"the table is incomplete: {reason}", MAKE_ROOM)
    else:
        write_atomically(output, text)
        print(f"wrote {output}: {counted(len(runs), 'run')}", file=sys.stderr)
