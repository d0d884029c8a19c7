"""`sequifier-hpo train`: one `train.yaml`, alone."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from sequifier_hpo.assembly.single import train_alone
from sequifier_hpo.cli.continuing import continued_file
from sequifier_hpo.cli.options import (
    NO_SUCCESS,
    ConfigPath,
    MetadataConfigPath,
    Randomize,
    SkipMetadata,
    chosen_seed,
    given,
)
from sequifier_hpo.cli.say import say
from sequifier_hpo.config.paths import expanded_path
from sequifier_hpo.config.run_file import read_run_file_head
from sequifier_hpo.config.train import TrainConfig, load_train_config
from sequifier_hpo.config.yaml_file import read_yaml
from sequifier_hpo.coordinator.devices import device_issue, require_device
from sequifier_hpo.coordinator.single import order_of
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.inputs import counted_by_run
from sequifier_hpo.records import Checkpoints, EpochReport, OutcomeKind, TrainingResult

_EXIT_CODES = {
    OutcomeKind.COMPLETED: 0,
    OutcomeKind.INTERRUPTED: 130,
    OutcomeKind.OUT_OF_MEMORY: 3,
    OutcomeKind.CRASHED: 1,
    OutcomeKind.DIVERGED: NO_SUCCESS,
}

_NOTHING_TRAINED = (
    "nothing was trained: the run was already finished. This is its result; "
    "--restart trains it again"
)
_ModelName = Annotated[
    str | None, typer.Option("--model-name", "-mn", metavar="NAME", help="Replaces model_name.")
]
_Seed = Annotated[int | None, typer.Option("--seed", "-s", metavar="N", help="Replaces seed.")]
_InputColumns = Annotated[
    list[str] | None,
    typer.Option(
        "--input-columns",
        "-ic",
        metavar="COLUMN ...",
        help="Replaces input_columns; None = all.",
    ),
]
_Restart = Annotated[
    bool,
    typer.Option("--restart", help="Remove the checkpoints of this model name and start afresh."),
]
_TrustCheckpoint = Annotated[
    bool,
    typer.Option(
        "--trust-checkpoint",
        help="Continue a checkpoint of version 0.1.0, which does not record its data.",
    ),
]
_ContinueFrom = Annotated[
    str | None,
    typer.Option(
        "--continue-from",
        metavar="RUN",
        help="Go on from a finished run, a number or its file, as a run of its own.",
    ),
]
_Epochs = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="With --continue-from: the epoch to end with."),
]
_Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="Begin with the weights of a checkpoint or `.pt` model.",
        parser=expanded_path,
    ),
]


def train(
    config_path: ConfigPath = Path("configs/train.yaml"),
    model_name: _ModelName = None,
    seed: _Seed = None,
    randomize: Randomize = False,  # noqa: FBT002 - a flag
    input_columns: _InputColumns = None,
    metadata_config_path: MetadataConfigPath = None,
    skip_metadata: SkipMetadata = False,  # noqa: FBT002 - a flag
    restart: _Restart = False,  # noqa: FBT002 - a flag
    trust_checkpoint: _TrustCheckpoint = False,  # noqa: FBT002 - a flag
    continue_from: _ContinueFrom = None,
    epochs: _Epochs = None,
    weights: _Weights = None,
) -> None:
    """Train one model from a `train.yaml`.

    The same code, and the same result, as a trial of a search. With `continue_training: true` in
    the file it continues from the newest checkpoint, if that has the same data and configuration.

    With --continue-from, a finished run gets more epochs, under a name of its own. With --weights,
    a run begins with what another has learned: give it another learning rate, or other data.

    Example: sequifier-hpo train --config-path configs/hp_search/my-search-run-5.yaml
    """
    checkpoints = _chosen(restart=restart, trust=trust_checkpoint)
    changes = bool(weights or model_name or restart)
    config_path = _file_to_train(config_path, continue_from, epochs, changes=changes)
    overrides = given(
        model_name=model_name,
        seed=chosen_seed(seed, is_drawn=randomize),
        input_columns=input_columns,
        metadata_config_path=metadata_config_path,
    )
    config = load_train_config(config_path, overrides=overrides, skip_metadata=skip_metadata)
    require_device_of(config, config_path)
    if restart:
        _announce_restart(config)
    _train(config, config_path, checkpoints, weights)


def _train(
    config: TrainConfig, config_path: Path, checkpoints: Checkpoints, weights: Path | None
) -> None:
    trained: list[int] = []

    def on_epoch(report: EpochReport) -> None:
        trained.append(report.epoch)
        _show_epoch(report)

    order = order_of(
        config,
        counted=counted_by_run(config, config_path),
        checkpoints=checkpoints,
        weights=_announced(weights),
        max_batches=read_run_file_head(config_path.read_text(encoding="utf-8")).max_batches,
    )
    result = train_alone(order, on_epoch=on_epoch, on_progress=say)
    if result.kind != OutcomeKind.COMPLETED:
        end_early(result)
    if not trained:
        say(_NOTHING_TRAINED)
    _show_result(result, Path(config.project_root))


def _file_to_train(
    file: Path, continue_from: str | None, epochs: int | None, *, changes: bool
) -> Path:
    """The run file that the options mean; that of a continued run is written first."""
    if continue_from is None:
        if epochs is not None:
            raise InputError("--epochs belongs to --continue-from", "write `epochs` into the file")
        return file
    if changes:
        raise InputError(
            "--continue-from goes on with a run as it is",
            "leave out --weights, --model-name and --restart",
        )
    return continued_file(continue_from, epochs)


def _announced(weights: Path | None) -> str | None:
    if weights is None:
        return None
    say(f"beginning with the weights of {weights}, unless a checkpoint is continued")
    return str(weights.absolute())


def require_device_of(config: TrainConfig, path: Path) -> None:
    """Make sure that the machine has the device that a run file names."""
    spec, where = config.training_spec, ("training_spec", "device")
    require_device(device_issue(spec.device, spec.num_processes, read_yaml(path), where))


def _show_result(result: TrainingResult, root: Path) -> None:
    print(
        f"best validation loss {result.best_validation_loss!r} at epoch {result.best_epoch} "
        f"of {result.last_epoch}"
    )
    everywhere = result.best_validation_loss_all_positions
    if everywhere is not None:
        print(f"over all positions {everywhere!r}")
    for path in result.model_files:
        print(f"  {root / path}")


def end_early(result: TrainingResult) -> NoReturn:
    """Say why a run did not complete, and end with the exit code for it."""
    if result.kind == OutcomeKind.INVALID:
        raise InputError(result.reason)
    reason = f": {result.reason}" if result.reason else ""
    say(f"{result.kind.value}{reason}")
    if result.kind == OutcomeKind.INTERRUPTED:
        say("to resume, set `continue_training: true` in the file")
    raise typer.Exit(_EXIT_CODES[result.kind])


def _chosen(*, restart: bool, trust: bool) -> Checkpoints:
    if restart and trust:
        raise InputError("--restart removes the checkpoint that --trust-checkpoint continues")
    if restart:
        return Checkpoints.REMOVED
    return Checkpoints.TRUSTED if trust else Checkpoints.OWN


def _announce_restart(config: TrainConfig) -> None:
    for checkpoint in config.paths.checkpoints_of(config.model_name):
        say(f"starting afresh: removing {checkpoint}")


def _show_epoch(report: EpochReport) -> None:
    best = ", best so far" if report.is_best else ""
    everywhere = report.validation_loss_all_positions
    beside = "" if everywhere is None else f" ({everywhere:.6g} over all positions)"
    say(
        f"epoch {report.epoch}: validation loss {report.validation_loss:.6g}{beside}, "
        f"training loss {report.train_loss:.6g}, {report.tokens_per_second:,.0f} tokens/s{best}"
    )
