"""`sequifier-hpo best`: the best run of a study, and its `train.yaml`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sequifier_hpo.assembly.locate import StudySource, find_study
from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.cli.options import StorageUrl, StudyFile, StudyName
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.records import Run
from sequifier_hpo.report.leaderboard import leaderboard, value_of
from sequifier_hpo.report.tables import run_record

if TYPE_CHECKING:
    from sequifier_hpo.study import StudySnapshot

NO_SUCCESS = 4


def best(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    write: Annotated[
        Path | None, typer.Option(help="Copy the best run's train.yaml to this file.")
    ] = None,
    force: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--force", help="Let --write replace a file with other content.")
    ] = False,
    as_json: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--json", help="Print the run as JSON.")
    ] = False,
) -> None:
    """Show the best run of a study; with --write, copy its train.yaml. Exit code 4: none is complete.

    Example: sequifier-hpo best --write configs/train.yaml
    """
    source = find_study(config_path, storage, study_name)
    # Optuna and what it brings take half a second: only when a study is really read.
    from sequifier_hpo.assembly.view import read_source, train_file_of  # noqa: PLC0415

    snapshot = read_source(source)
    ranked = leaderboard(snapshot.runs)
    if not ranked:
        print(f"no run of the study {source.name} is complete yet", file=sys.stderr)
        raise typer.Exit(NO_SUCCESS)
    run = ranked[0]
    if write is not None:
        _copy(train_file_of(source, run), write, force=force)
        print(f"wrote {write}: run {run.number} of {source.name}", file=sys.stderr)
    if as_json:
        print(json.dumps(_as_json(source, run), indent=2))
    elif write is None:
        print(_as_text(source, run, snapshot))
    else:
        print(f"next:\n  sequifier-hpo train --config-path {write}", file=sys.stderr)


def _as_text(source: StudySource, run: Run, snapshot: "StudySnapshot") -> str:
    num_complete = sum(other.validation_loss is not None for other in snapshot.runs)
    lines = [
        f"best of {num_complete:,} complete runs: run {run.number}, "
        f"validation loss {run.validation_loss!r}"
    ]
    shown: dict[str, Any] = {name: value_of(label) for name, label in run.labels.items()}
    for name in ("best_epoch", "epochs_run", "effective_batch_size", "num_parameters", "seconds"):
        if name in run.attributes:
            shown[name] = run.attributes[name]
    width = max((len(name) for name in shown), default=0)
    lines += [f"  {name:<{width}}  {value}" for name, value in shown.items()]
    file = _run_file(source, run)
    if file is not None:
        lines += ["", f"run file  {file}", "", "next:"]
        lines.append(f"  sequifier-hpo best {source.options} --write configs/train.yaml")
    return "\n".join(lines)


def _as_json(source: StudySource, run: Run) -> dict[str, Any]:
    file = _run_file(source, run)
    return {
        "study": source.name,
        **run_record(source.name, run),
        "train_config": None if file is None else str(file),
    }


def _run_file(source: StudySource, run: Run) -> Path | None:
    from sequifier_hpo.assembly.view import model_name_of  # noqa: PLC0415 - loads optuna

    return source.run_file(model_name_of(source.name, run))


def _copy(file: Path, target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise InputError(f"{target} is a folder", "name a file, such as configs/train.yaml")
    try:
        content = file.read_bytes()
        is_other = target.exists() and target.read_bytes() != content
    except OSError as error:
        raise EnvironmentFaultError(f"cannot read {error.filename}: {error.strerror}") from error
    if is_other and not force:
        raise InputError(f"{target} exists, with other content", "add --force to replace it")
    write_atomically(target, content.decode("utf-8"))
