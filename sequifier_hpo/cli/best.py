"""`sequifier-hpo best`: the best run of a study, its `train.yaml`, and whether it still wins."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.cli.options import (
    NO_SUCCESS,
    Format,
    JsonFormat,
    MetadataConfigPath,
    OneInputSet,
    OutputFormat,
    SkipMetadata,
    StorageUrl,
    StudyFile,
    StudyName,
    WithOutside,
)
from sequifier_hpo.cli.say import none_to_show, say
from sequifier_hpo.cli.verify import DEFAULT_SEEDS
from sequifier_hpo.cli.verify import verify as check_winners
from sequifier_hpo.config.locate import StudySource, find_study
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.plain_files import read_plain
from sequifier_hpo.records import Run
from sequifier_hpo.report.leaderboard import (
    anew_line,
    budget_line,
    leaderboard,
    longer_line,
    progress,
    value_of,
)
from sequifier_hpo.report.run_files import record_with_file, run_file_of, train_file_of
from sequifier_hpo.report.tables import results_csv
from sequifier_hpo.words import counted

if TYPE_CHECKING:
    from sequifier_hpo.study import StudySnapshot

_Write = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Copy the best run's train.yaml to this file.", parser=expanded_path
    ),
]
_Force = Annotated[
    bool, typer.Option("--force", help="Let --write replace a file with other content.")
]
_Verify = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Retrain this many of the best runs with new seeds."),
]
_Seeds = Annotated[
    int | None,
    typer.Option(
        min=2, metavar="N", help=f"With --verify: new seeds per run; default: {DEFAULT_SEEDS}."
    ),
]
_Workers = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="With --verify: concurrent trials; default: the search file's."
    ),
]
_RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="With --verify: train failed ones again.")
]


def best(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    write: _Write = None,
    force: _Force = False,  # noqa: FBT002 - a flag
    verify: _Verify = None,
    seeds: _Seeds = None,
    workers: _Workers = None,
    retry_failed: _RetryFailed = False,  # noqa: FBT002 - a flag
    input_columns: OneInputSet = None,
    metadata_config_path: MetadataConfigPath = None,
    skip_metadata: SkipMetadata = False,  # noqa: FBT002 - a flag
    with_outside: WithOutside = False,  # noqa: FBT002 - a flag
    output_format: OutputFormat = Format.TEXT,
    as_json: JsonFormat = False,  # noqa: FBT002 - a flag
) -> None:
    """Show the best run of a study, copy or verify it.

    With --write, copy its train.yaml. Exit code 4: no run is complete.

    With --verify, do what `sequifier-hpo verify` does, which replaces this option.

    Example: sequifier-hpo best --write configs/train.yaml
    """
    chosen = Format.JSON if as_json else output_format
    of_check: dict[str, Any] = {
        "workers": workers,
        "retry_failed": retry_failed,
        "input_columns": input_columns,
        "metadata_config_path": metadata_config_path,
        "skip_metadata": skip_metadata,
    }
    if verify is None:
        _refuse_stray({"seeds": seeds, **of_check})
        source = find_study(config_path, storage, study_name, with_outside=with_outside)
        _show_best(source, write, chosen, force=force)
        return
    if write is not None:
        raise InputError("--write cannot be combined with --verify", "verify first, then write")
    say("best --verify is now its own command: sequifier-hpo verify")
    check_winners(
        config_path,
        storage,
        study_name,
        runs=verify,
        seeds=seeds or DEFAULT_SEEDS,
        output_format=chosen,
        **of_check,
    )


def _refuse_stray(only_with_verify: Mapping[str, object]) -> None:
    stray = [f"--{name.replace('_', '-')}" for name, value in only_with_verify.items() if value]
    if stray:
        raise InputError(f"{', '.join(stray)}: only with --verify", "add --verify 3")


def _show_best(source: StudySource, write: Path | None, chosen: Format, *, force: bool) -> None:
    # Optuna and what it brings take half a second: only when a study is really read.
    from sequifier_hpo.report.study_reader import read_source  # noqa: PLC0415

    snapshot = read_source(source)
    ranked = leaderboard(snapshot.runs)
    if not ranked:
        say(none_to_show(source))
        raise typer.Exit(NO_SUCCESS)
    run = ranked[0]
    if write is not None:
        _copy(train_file_of(source, run, snapshot.study_id), write, force=force)
        print(f"wrote {write}: run {run.number} of {source.name}", file=sys.stderr)
    if chosen == Format.JSON:
        print(json.dumps(_as_json(source, run, snapshot), indent=2))
    elif chosen == Format.CSV:
        print(results_csv(source.name, snapshot.runs, [run]), end="")
    elif write is None:
        print(_as_text(source, run, snapshot))
    else:
        print(f"next:\n  sequifier-hpo train --config-path {write}", file=sys.stderr)


def _as_text(source: StudySource, run: Run, snapshot: "StudySnapshot") -> str:
    from sequifier_hpo.cli.tables import baseline_lines  # noqa: PLC0415 - loads rich
    from sequifier_hpo.report.series import loss_of  # noqa: PLC0415 - with the tables

    num_complete = len(leaderboard(snapshot.runs))
    lines = [
        f"best of {counted(num_complete, 'complete run')}: run {run.number}, "
        f"validation loss {run.validation_loss!r}"
    ]
    shown: dict[str, Any] = {name: value_of(label) for name, label in run.labels.items()}
    figures = run.figures.model_dump(exclude_defaults=True)
    for name in (
        "best_epoch",
        "epochs_run",
        "effective_batch_size",
        "num_parameters",
        "seconds",
        "milliseconds_per_event",
        "measured_on",
    ):
        if name in figures:
            shown[name] = figures[name]
    width = max((len(name) for name in shown), default=0)
    lines += [f"  {name:<{width}}  {value}" for name, value in shown.items()]
    if anew := anew_line(run):
        lines += ["", f"run {run.number} was {anew}"]
    if snapshot.baselines:
        lines += ["", *baseline_lines(loss_of(run), snapshot.baselines)]
    if longer := longer_line(run):
        lines += ["", longer]
    done = progress(snapshot.runs, snapshot.num_runs)
    if not done.num_running and (stopped := budget_line(snapshot.stopped_by, done)):
        lines += ["", stopped]
    file = run_file_of(source, run, snapshot.study_id)
    if file is not None:
        lines += ["", f"run file  {file.shown}", "", "next:"]
        if not file.missing:
            lines.append(f"  sequifier-hpo best {source.options} --write configs/train.yaml")
        if len({other.number for other in snapshot.runs if other.duplicate_of is None}) > 1:
            lines.append(f"  sequifier-hpo verify {source.options}    # does it still win?")
    return "\n".join(lines)


def _as_json(source: StudySource, run: Run, snapshot: "StudySnapshot") -> dict[str, Any]:
    return {
        "study": source.name,
        **record_with_file(source, run, snapshot.study_id, snapshot.runs),
        "baselines": {baseline.name: baseline.loss for baseline in snapshot.baselines},
    }


def _copy(file: Path, target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise InputError(f"{target} is a folder", "name a file, such as configs/train.yaml")
    try:
        content = read_plain(file)
        is_other = target.exists() and read_plain(target) != content
    except OSError as error:
        raise EnvironmentFaultError(f"cannot read {error.filename}: {error.strerror}") from error
    if is_other and not force:
        raise InputError(f"{target} exists, and its content differs", "add --force to replace it")
    write_atomically(target, content.decode("utf-8"))
