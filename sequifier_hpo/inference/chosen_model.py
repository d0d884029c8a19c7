"""The model that a command is to use: a file, or that of a run of a study."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.config.metadata import DataMetadata, metadata_file_of, metadata_of, read_metadata
from sequifier_hpo.config.train import TrainConfig, load_train_config, split_for_test
from sequifier_hpo.errors import ConfigError, EnvironmentFaultError, InputError
from sequifier_hpo.inference.asking import ask
from sequifier_hpo.inference.model_file import Model
from sequifier_hpo.records import Run
from sequifier_hpo.report.chosen_run import chosen_run
from sequifier_hpo.report.run_files import train_file_of
from sequifier_hpo.report.study_reader import read_source
from sequifier_hpo.study import StudySnapshot


@dataclass(frozen=True)
class ChosenModel:
    """A model, and what is known about it."""

    model: Model
    name: str
    """What a person knows it by: `run 5 of shop`, or the file."""
    metadata: DataMetadata
    """Of the data that it was trained with."""
    config: TrainConfig | None
    """The run; None if neither the file nor a study tells."""
    run: Run | None = None
    snapshot: StudySnapshot | None = None
    """Of the study that the run belongs to."""
    study_folder: Path | None = None
    """Of the same study."""

    @property
    def last_positions(self) -> int:
        """How many positions at the end of a window count in its study; of a file, in its loss."""
        about, snapshot = self.model.about, self.snapshot
        if snapshot is None or snapshot.identity is None:
            return about.counted_last or about.length
        return snapshot.identity.counted.last_positions or about.length

    @property
    def loss_in_study(self) -> float | None:
        """Its validation loss over these positions; None = not known."""
        run = self.run
        if run is not None and run.counts_other_positions:
            return None
        if run is not None and run.figures.as_trained is not None:
            return run.loss
        about = self.model.about
        is_over_these = (about.counted_last or about.length) == self.last_positions
        return about.best_validation_loss if is_over_these else None

    @property
    def has_test_split(self) -> bool:
        """Whether there is a stored split that no run has read."""
        stored = None if self.config is None else metadata_of(self.config)
        return (
            self.config is not None
            and stored is not None
            and split_for_test(self.config, stored) is not None
        )


def model_of_file(path: Path, metadata_path: Path | None) -> ChosenModel:
    """The model of a file.

    Args:
        path: The ONNX file.
        metadata_path: The metadata of its data, which models of 0.1.0 need; they win if given.

    Raises:
        InputError: If it is no model, or does not say enough about itself.
        ConfigError: If the metadata cannot be read.
    """
    model = Model(path)
    about = model.about
    given = None if metadata_path is None else read_metadata(metadata_path)
    metadata = given or about.metadata
    if metadata is None:
        raise InputError(
            f"{path} does not say what the ids of its columns are: an earlier version wrote it",
            "name the metadata of the data with --metadata configs/metadata_configs/NAME.json",
        )
    return ChosenModel(model, str(path), metadata, about.config)


@contextmanager
def model_of_run(
    source: StudySource,
    number: int | None,
    metadata_path: Path | None,
    on_message: Callable[[str], None],
) -> Iterator[ChosenModel]:
    """The model of a run of a study; where only its checkpoint is left, one is made for the block.

    Args:
        source: The study.
        number: The run; None = the best.
        metadata_path: As of `model_of_file`.
        on_message: Told what a person should know.

    Raises:
        NoRunError: If the best run is wanted and none is complete.
        InputError: If there is no such run, or neither a model nor a checkpoint of it.
    """
    snapshot = read_source(source)
    run = chosen_run(source, snapshot, number)
    with model_of(source, snapshot, run, metadata_path, on_message) as chosen:
        yield chosen


@contextmanager
def model_of(
    source: StudySource,
    snapshot: StudySnapshot,
    run: Run,
    metadata_path: Path | None,
    on_message: Callable[[str], None],
) -> Iterator[ChosenModel]:
    """The same of a study that was read."""
    run_file = train_file_of(source, run, snapshot.study_id)
    config = load_train_config(run_file)
    with tempfile.TemporaryDirectory(prefix="sequifier-hpo-") as folder:
        path = _model_file(config, run)
        if path is None:
            on_message(f"run {run.number} has no ONNX model of its own: its checkpoint is used")
            request = {
                "run_file": str(run_file),
                "folder": folder,
                "study_id": snapshot.study_id,
                "key": run.key,
                "loss": run.loss_as_trained,
            }
            path = Path(ask("export.from_checkpoint", request)["path"])
        model = Model(path)
        given = None if metadata_path is None else read_metadata(metadata_path)
        metadata = given or model.about.metadata or metadata_of(config)
        if metadata is None:
            raise InputError(
                f"the metadata of run {run.number}, {metadata_file_of(config)}, do not exist",
                "name them with --metadata",
            )
        name = f"run {run.number} of {source.name}"
        config = model.about.config or config
        yield ChosenModel(model, name, metadata, config, run, snapshot, source.study_folder)


def has_model(source: StudySource, snapshot: StudySnapshot, run: Run) -> bool:
    """Whether a model, or a checkpoint with one, is under the name of a run of the study."""
    try:
        config = load_train_config(train_file_of(source, run, snapshot.study_id))
        return _model_file(config, run) is not None or bool(
            config.paths.checkpoints_of(config.model_name)
        )
    except (InputError, ConfigError, EnvironmentFaultError, OSError):
        return False


def _model_file(config: TrainConfig, run: Run) -> Path | None:
    """The ONNX file of a run's best epoch; a file under its name may be another run's."""
    folder, name = config.paths.models, config.model_name
    if run.loss_as_trained is None:
        return None  # models are written when a run ends
    for path in sorted(folder.glob("*.onnx")) if folder.is_dir() else ():
        epoch = path.stem.rpartition("-")[2]
        if not epoch.isdecimal():
            continue
        if path != config.paths.model(name, "best", int(epoch), "onnx", embedding=False):
            continue
        if Model(path).about.best_validation_loss == run.loss_as_trained:
            return path
    return None
