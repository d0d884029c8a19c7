"""`sequifier-hpo refit`: the best configuration on all data but the test split."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sequifier_hpo.assembly.single import train_alone
from sequifier_hpo.atomic import write_atomically
from sequifier_hpo.cli.evaluation_text import evaluation_text
from sequifier_hpo.cli.options import AsJson, RunNumber, StorageUrl, StudyFile, StudyName
from sequifier_hpo.cli.say import say
from sequifier_hpo.cli.train import end_early, require_device_of
from sequifier_hpo.config.locate import find_study
from sequifier_hpo.config.run_file import run_file_text
from sequifier_hpo.config.train import (
    TEST,
    TrainConfig,
    TrainingSpec,
    load_train_config,
    training_split,
    validation_split,
)
from sequifier_hpo.coordinator.single import order_of
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.inputs import counted_by_run
from sequifier_hpo.preprocessing.joined_splits import join_splits, joined_path
from sequifier_hpo.preprocessing.stored_split import describe_split
from sequifier_hpo.records import Counted, EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.words import counted

_Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="Name of the new model; default: RUN-refit."),
]


def refit(
    config_path: StudyFile = None,
    storage: StorageUrl = None,
    study_name: StudyName = None,
    run: RunNumber = None,
    name: _Name = None,
    as_json: AsJson = False,  # noqa: FBT002 - a flag
) -> None:
    """Train the best run on validation data too.

    For as many steps as its best epoch took; the model after the last one is judged once, on
    the test split. It has a name of its own, and the study stays as it is.

    Example: sequifier-hpo refit
    """
    source = find_study(config_path, storage, study_name)
    # What reads studies and models takes half a second to load.
    from sequifier_hpo.inference.chosen_model import model_of_file  # noqa: PLC0415
    from sequifier_hpo.inference.evaluating import Judged, evaluate  # noqa: PLC0415
    from sequifier_hpo.report.chosen_run import chosen_run  # noqa: PLC0415
    from sequifier_hpo.report.run_files import train_file_of  # noqa: PLC0415
    from sequifier_hpo.report.study_reader import read_source  # noqa: PLC0415

    snapshot = read_source(source)
    chosen = chosen_run(source, snapshot, run)
    best_epoch = chosen.figures.best_epoch
    if best_epoch is None or chosen.validation_loss is None:
        raise InputError(
            f"run {chosen.number} is not complete: it is not known how long to train",
            "let it go on, or choose another with --run",
        )
    file = train_file_of(source, chosen, snapshot.study_id)
    say(f"refitting run {chosen.number} of {source.name}")
    known = None if snapshot.identity is None else snapshot.identity.counted
    config, new_file, num_batches = _prepared(file, best_epoch, known, name)
    result = _train(config, new_file, num_batches)
    _remove_best(config, result)
    model = config.paths.model(
        config.model_name, "last", result.last_epoch, "onnx", embedding=False
    )
    ready = model_of_file(model, None)
    if not ready.has_test_split:
        say("there is no test split: the new model is not judged")
        _show(model, {}, as_json=as_json)
        return
    _show(model, evaluate(ready, Judged(TEST)), as_json=as_json)


def _prepared(
    file: Path, best_epoch: int, counted_by_study: Counted | None, name: str | None
) -> tuple[TrainConfig, Path, int]:
    """The new run, its file, and after how many batches it ends; its data are in place."""
    old = load_train_config(file)
    splits = [training_split(old), validation_split(old)]
    sizes = [describe_split(*split).num_windows for split in splits]
    length = Length.of_steps(
        best_epoch * _steps_in(sizes[0], old.training_spec), sum(sizes), old.training_spec
    )
    target = joined_path(splits[0].path, splits[1].path)
    new_name = name or f"{old.model_name}-refit"
    config = old.refitted(new_name, str(target), length.epochs)
    new_file = file.with_name(f"{new_name}.yaml")
    last_positions = (counted_by_study or counted_by_run(old, file)).last_positions
    text = run_file_text(config, last_positions, max_batches=length.batches)
    if new_file.exists() and new_file.read_text(encoding="utf-8") != text:
        raise InputError(f"{new_file} exists, and its content differs", "give another --name")
    join_splits([split.path for split in splits], splits[0].form, target)
    write_atomically(new_file, text)
    say(
        f"{new_name}: {counted(sum(sizes), 'window')} of both splits in {target}, "
        f"{counted(length.steps, 'step')} as up to the best epoch, {best_epoch}: now they end in "
        f"epoch {length.epochs}; {new_file}"
    )
    return config, new_file, length.batches


@dataclass(frozen=True)
class Length:
    """How long a run is trained."""

    steps: int
    """Of the optimizer."""
    batches: int
    """In all epochs together."""
    epochs: int
    """In the last of which they end."""

    @classmethod
    def of_steps(cls, steps: int, num_windows: int, spec: TrainingSpec) -> "Length":
        """As many steps on another number of windows; the last step of an epoch may have fewer batches."""
        per_epoch = _steps_in(num_windows, spec)
        whole, rest = divmod(steps, per_epoch)
        in_epoch = -(-num_windows // spec.batch_size)
        batches = whole * in_epoch + rest * (spec.windows_per_step // spec.batch_size)
        return cls(steps, batches, whole + (rest > 0))


def _steps_in(num_windows: int, spec: TrainingSpec) -> int:
    """Steps of the optimizer in an epoch."""
    return -(-num_windows // spec.windows_per_step)


def _train(config: TrainConfig, file: Path, max_batches: int) -> TrainingResult:
    require_device_of(config, file)

    def on_epoch(report: EpochReport) -> None:  # its validation data are among those it learns from
        say(f"epoch {report.epoch}: training loss {report.train_loss:.6g}")

    order = order_of(config, counted=counted_by_run(config, file), max_batches=max_batches)
    result = train_alone(order, on_epoch=on_epoch, on_progress=say)
    if result.kind != OutcomeKind.COMPLETED:
        end_early(result)
    return result


def _remove_best(config: TrainConfig, result: TrainingResult) -> None:
    """Remove the model of the "best" epoch, which was chosen by data that it has learned from."""
    name, epoch = config.model_name, result.last_epoch
    for suffix in ("pt", "onnx"):
        for embedding in (False, True):
            path = config.paths.model(name, "best", epoch, suffix, embedding=embedding)
            path.unlink(missing_ok=True)


def _show(model: Path, found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"model": str(model), "test": found or None}, indent=2))
        return
    if found:
        print(evaluation_text(found))
        print()
    print(model)
    say(f"\nnext:\n  sequifier-hpo predict --model {model} --data NEW.csv --output predictions.csv")
