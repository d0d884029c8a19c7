"""`sequifier-hpo train`: one `train.yaml`, alone."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sequifier_hpo.assembly.single import counted_in, train_alone
from sequifier_hpo.cli.lasting import lasting_output
from sequifier_hpo.cli.options import ConfigPath, MetadataConfigPath, SkipMetadata, given
from sequifier_hpo.config.train import load_train_config
from sequifier_hpo.records import EpochReport, OutcomeKind

_EXIT_CODES = {
    OutcomeKind.COMPLETED: 0,
    OutcomeKind.INTERRUPTED: 130,
    OutcomeKind.INVALID: 2,
    OutcomeKind.OUT_OF_MEMORY: 3,
    OutcomeKind.CRASHED: 1,
    OutcomeKind.DIVERGED: 4,
}


def train(
    config_path: ConfigPath = Path("configs/train.yaml"),
    model_name: Annotated[
        str | None, typer.Option("--model-name", "-mn", metavar="NAME", help="Replaces model_name.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", "-s", metavar="N", help="Replaces seed.")
    ] = None,
    input_columns: Annotated[
        list[str] | None,
        typer.Option(
            "--input-columns", "-ic", metavar="COLUMN", help="Replaces input_columns; repeatable."
        ),
    ] = None,
    metadata_config_path: MetadataConfigPath = None,
    skip_metadata: SkipMetadata = False,  # noqa: FBT002 - a flag
) -> None:
    """Train one model from a `train.yaml`.

    The same code, and the same result, as a trial of a search.

    Example: sequifier-hpo train --config-path configs/hp_search/my-search-run-5.yaml
    """
    overrides = given(
        model_name=model_name,
        seed=seed,
        input_columns=input_columns or None,
        metadata_config_path=metadata_config_path,
    )
    config = load_train_config(config_path, overrides=overrides, skip_metadata=skip_metadata)
    with lasting_output():
        counted = counted_in(config_path, config)
        result = train_alone(config, counted=counted, on_epoch=_show_epoch)
    if result.kind != OutcomeKind.COMPLETED:
        reason = f": {result.reason}" if result.reason else ""
        print(f"{result.kind.value}{reason}", file=sys.stderr)
        if result.kind == OutcomeKind.INTERRUPTED:
            print("go on with `continue_training: true` in the file", file=sys.stderr)
        raise typer.Exit(_EXIT_CODES[result.kind])
    print(
        f"best validation loss {result.best_validation_loss!r} at epoch {result.best_epoch} "
        f"of {result.last_epoch}"
    )
    for path in result.model_files:
        print(f"  {Path(config.project_root) / path}")


def _show_epoch(report: EpochReport) -> None:
    best = ", best so far" if report.is_best else ""
    print(
        f"epoch {report.epoch}: validation loss {report.validation_loss:.6g}, "
        f"training loss {report.train_loss:.6g}, {report.tokens_per_second:,.0f} tokens/s{best}",
        file=sys.stderr,
        flush=True,
    )
