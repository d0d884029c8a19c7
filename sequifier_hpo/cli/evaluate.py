"""`sequifier-hpo evaluate`: what a model is worth."""

import json
from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.cli.evaluation_text import evaluation_text
from sequifier_hpo.cli.options import (
    AsJson,
    MetadataFile,
    ModelFile,
    RunNumber,
    StorageUrl,
    StudyFile,
    StudyName,
)
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.locate import find_study
from sequifier_hpo.config.paths import evaluation_name, expanded_path
from sequifier_hpo.config.train import TEST, VALIDATION
from sequifier_hpo.errors import InputError

_Split = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="validation or test; default: validation, on which the search chose.",
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="TABLE",
        help="Judge on these events, CSV or Parquet, instead of a split.",
        parser=expanded_path,
    ),
]
_Events = Annotated[
    Path | None,
    typer.Option(
        "--events",
        metavar="FILE",
        help="Also write a CSV file with a row per event: what came, and what was predicted.",
        parser=expanded_path,
    ),
]


def evaluate(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    run: RunNumber = None,
    model: ModelFile = None,
    metadata: MetadataFile = None,
    split: _Split = None,
    data: _Data = None,
    events: _Events = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Say what a model is worth.

    Its loss, accuracy, calibration, and errors in the columns' own units, beside those of trivial
    predictors: of a study's best run, of another run, or of a file; on the split that the search
    chose by, on the test split, or on a table.

    Example: sequifier-hpo evaluate --split test
    """
    if split not in {None, VALIDATION, TEST}:
        raise InputError(f"--split {split} is no split", f"choose {VALIDATION} or {TEST}")
    if split is not None and data is not None:
        raise InputError(
            "--split names a stored split, and --data a table", "leave one of them out"
        )
    # What reads studies and models takes half a second to load.
    from sequifier_hpo.cli.chosen import chosen_model  # noqa: PLC0415
    from sequifier_hpo.inference.evaluating import Judged, Outputs  # noqa: PLC0415
    from sequifier_hpo.inference.evaluating import evaluate as judge  # noqa: PLC0415

    with chosen_model(config_path, storage, study_name, run, model, metadata) as chosen:
        say(f"judging {chosen.name}")
        judged = Judged(split or VALIDATION, data)
        found = judge(chosen, judged, Outputs(events), say)
        has_test = data is None and split is None and chosen.has_test_split
    print(json.dumps(found, indent=2) if as_json else evaluation_text(found))
    if events is not None:
        say(f"wrote {events}: {found['num_events']:,} events")
    if found["run"] is not None and data is None:
        folder = find_study(config_path, storage, study_name).study_folder
        kept = folder / evaluation_name(found["run"], found["split"])
        write_atomically(kept, json.dumps(found, indent=2) + "\n")
        say(f"kept as {kept}; the report shows it")
    if has_test and not as_json:
        say(
            "\nnext:\n  sequifier-hpo evaluate --split test    "
            "# events that chose nothing: an honest figure, if looked at once"
        )
