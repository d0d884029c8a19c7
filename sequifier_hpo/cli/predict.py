"""`sequifier-hpo predict`: what comes next, for the sequences of a table."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.cli.options import (
    MetadataFile,
    ModelFile,
    RunNumber,
    StorageUrl,
    StudyFile,
    StudyName,
)
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.errors import InputError
from sequifier_hpo.words import counted

_Data = Annotated[
    Path,
    typer.Option(
        "--data",
        metavar="TABLE",
        help="CSV or Parquet with the columns of the table that was preprocessed.",
        parser=expanded_path,
    ),
]
_Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="File to write, Parquet if its name ends so, else CSV; default: stdout.",
        parser=expanded_path,
    ),
]
_Sequence = Annotated[
    list[str] | None,
    typer.Option("--sequence", metavar="ID ...", help="Only these sequences; default: all."),
]
_Steps = Annotated[
    int,
    typer.Option(min=1, metavar="N", help="Predict N events, each from those before; default: 1."),
]
_TopK = Annotated[
    int,
    typer.Option(min=1, metavar="K", help="The K most probable categories; default: 1."),
]
_AllowEmptyHistory = Annotated[
    bool,
    typer.Option(
        "--allow-empty-history", help="Predict the first event of sequences that have none."
    ),
]


def predict(
    data: _Data,
    output: _Output = None,
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    run: RunNumber = None,
    model: ModelFile = None,
    metadata: MetadataFile = None,
    sequence: _Sequence = None,
    steps: _Steps = 1,
    top_k: _TopK = 1,
    allow_empty_history: _AllowEmptyHistory = False,  # noqa: FBT002 - a flag
) -> None:
    """Predict the next event of each sequence of a table.

    With the model of a study's best run, of another run, or of a file. The table may hold any
    sequences, of any length, and may be larger than the memory.

    Example: sequifier-hpo predict --data data/new.csv --output predictions.csv
    """
    if output is not None and output.resolve() == data.resolve():
        raise InputError(f"{output} is the table that is read", "name another file")
    # What reads studies, models and tables takes half a second to load.
    from sequifier_hpo.cli.chosen import chosen_model  # noqa: PLC0415
    from sequifier_hpo.inference.predicting import Request, predict_table  # noqa: PLC0415
    from sequifier_hpo.inference.result_file import write_table  # noqa: PLC0415
    from sequifier_hpo.preprocessing.remarks import Remarks  # noqa: PLC0415

    with chosen_model(config_path, storage, study_name, run, model, metadata) as chosen:
        request = Request(data, sequence or None, steps, top_k, allow_empty_history)
        remarks = Remarks()
        say(f"predicting with {chosen.name}")
        frames = predict_table(chosen.model, chosen.metadata, request, remarks)
        num_rows = write_table(frames, output)
        sys.stdout.flush()
        for line in remarks.lines(chosen.metadata):
            say(f"note: {line}")
        if output is not None:
            say(f"wrote {output}: {counted(num_rows, 'prediction')}")
