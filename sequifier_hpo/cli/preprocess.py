"""`sequifier-hpo preprocess`: a table of events becomes windows and metadata."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sequifier_hpo.cli.options import ConfigPath, Randomize, chosen_seed, given
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.locate import DEFAULT_SEARCH_FILE
from sequifier_hpo.config.preprocess import load_preprocess_config
from sequifier_hpo.words import counted, duration

if TYPE_CHECKING:
    from sequifier_hpo.preprocessing.run import PreprocessSummary

_KINDS = ("categorical", "real")
_NOTHING_TO_VALIDATE_ON = (
    "note: there is one split only, and a search needs another one to validate on: give "
    "`split_ratios`\ntwo shares or more, such as [0.8, 0.2], or name another split in "
    "`validation_data_path`"
)


def preprocess(
    config_path: ConfigPath = Path("configs/preprocess.yaml"),
    data_path: Annotated[
        str | None, typer.Option("--data-path", "-dp", metavar="PATH", help="Replaces data_path.")
    ] = None,
    selected_columns: Annotated[
        list[str] | None,
        typer.Option(
            "--selected-columns",
            "-sc",
            metavar="COLUMN ...",
            help="Replaces selected_columns; None = all.",
        ),
    ] = None,
    randomize: Randomize = False,  # noqa: FBT002 - a flag
) -> None:
    """Turn a table of events into windows to train on.

    The table is a CSV or Parquet file, or a folder of them.

    Example: sequifier-hpo preprocess --config-path configs/preprocess.yaml
    """
    from sequifier_hpo.preprocessing.run import (  # noqa: PLC0415 - polars, for this command only
        preprocess as run_preprocess,
    )

    seed = chosen_seed(None, is_drawn=randomize)
    overrides = given(data_path=data_path, selected_columns=selected_columns, seed=seed)
    config = load_preprocess_config(config_path, overrides=overrides)
    summary = run_preprocess(config, on_progress=say)
    _show(summary)
    if not DEFAULT_SEARCH_FILE.exists():
        print(
            f"\nnext: describe the search in {DEFAULT_SEARCH_FILE} (docs/tutorial.md has one to "
            "copy,\n`sequifier-hpo init my-project` writes a commented one), then"
        )
    else:
        print("\nnext:")
    print(f"  sequifier-hpo hyperparameter-search --config-path {DEFAULT_SEARCH_FILE}")


def _show(summary: "PreprocessSummary") -> None:
    print(
        f"{counted(summary.num_rows, 'row')}, {counted(summary.num_sequences, 'sequence')}, "
        f"{duration(summary.seconds, decimals=1)}"
    )
    print("columns:")
    widths = [max(map(len, texts)) for texts in (summary.columns, _KINDS)]
    for name, column in summary.columns.items():
        print(f"  {name:{widths[0]}}  {column.kind:{widths[1]}}  {column}")
    for path, windows in zip(summary.split_paths, summary.num_windows, strict=True):
        print(f"  {Path(path)}  {counted(windows, 'window')}")
    print(f"  {summary.metadata_path}")
    for note in summary.notes:
        print(f"note: {note}")
    if len(summary.split_paths) == 1:
        print(_NOTHING_TO_VALIDATE_ON)
