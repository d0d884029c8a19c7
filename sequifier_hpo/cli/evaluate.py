"""`sequifier-hpo evaluate`: what a model is worth."""

import json
from pathlib import Path
from typing import Annotated

import typer

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
from sequifier_hpo.config.paths import expanded_path

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
    # What reads studies and models takes half a second to load.
    from sequifier_hpo.cli.chosen import chosen_model  # noqa: PLC0415
    from sequifier_hpo.inference.evaluating import OutputFiles, what_is_judged  # noqa: PLC0415
    from sequifier_hpo.inference.evaluating import evaluate as judge  # noqa: PLC0415
    from sequifier_hpo.report.evaluations import keep_evaluation  # noqa: PLC0415

    judged = what_is_judged(split, data)
    with chosen_model(config_path, storage, study_name, run, model, metadata) as chosen:
        say(f"judging {chosen.name}")
        found = judge(chosen, judged, OutputFiles(events), say)
    print(json.dumps(found, indent=2) if as_json else evaluation_text(found))
    if events is not None:
        say(f"wrote {events}: {found['num_events']:,} events")
    if chosen.study_folder is not None and data is None:
        kept = keep_evaluation(chosen.study_folder, found)
        say(f"kept as {kept}; the report shows it")
    if data is None and split is None and not as_json and chosen.has_test_split:
        say(
            "\nnext:\n  sequifier-hpo evaluate --split test    "
            "# events that chose nothing: an honest figure, if looked at once"
        )
