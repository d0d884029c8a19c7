"""Judges a model on a stored split, or on a table of events."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sequifier_hpo.config.metadata import (
    DataMetadata,
    metadata_file_of,
    metadata_of,
    sequence_ids_file_of,
)
from sequifier_hpo.config.train import (
    TEST,
    VALIDATION,
    SplitFiles,
    TrainConfig,
    has_training_data,
    judged_on,
    split_for_test,
    validation_split,
)
from sequifier_hpo.errors import InputError
from sequifier_hpo.inference.asking import ask
from sequifier_hpo.inference.chosen_model import ChosenModel
from sequifier_hpo.inference.decoding import labels_of, units_of
from sequifier_hpo.preprocessing.counted_events import read_places
from sequifier_hpo.preprocessing.new_data import write_windows
from sequifier_hpo.preprocessing.raw_text import read_as_text
from sequifier_hpo.preprocessing.stored_split import describe_split
from sequifier_hpo.records import Counted
from sequifier_hpo.words import counted


@dataclass(frozen=True)
class Judged:
    """What a model is judged on."""

    split: str = VALIDATION
    """Or `TEST`."""
    table: Path | None = None
    """Raw events instead of a split: Parquet if its name ends so, else CSV."""
    last_positions: int | None = None
    """How many positions at the end of a window count; None = as in its study."""
    with_baselines: bool = True
    """Whether trivial predictors are judged, too."""


def what_is_judged(split: str | None, table: Path | None) -> Judged:
    """What a user asks for: a split by its name, a table, or by default the validation split.

    Raises:
        InputError: If there is no such split, or both are named.
    """
    if split not in {None, VALIDATION, TEST}:
        raise InputError(f"there is no split `{split}`", f"choose {VALIDATION} or {TEST}")
    if split is not None and table is not None:
        raise InputError(
            "--split names a stored split, and --data a table", "leave one of them out"
        )
    return Judged(split or VALIDATION, table)


@dataclass(frozen=True)
class OutputFiles:
    """Files to write beside the figures."""

    events: Path | None = None
    """CSV, one row per event."""
    sequences: Path | None = None
    """Of numpy: `ids`, `sums` and `counts` of the loss of every sequence."""


NO_FILES = OutputFiles()


def evaluate(
    chosen: ChosenModel,
    judged: Judged,
    outputs: OutputFiles = NO_FILES,
    on_message: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Judge a model.

    Args:
        chosen: The model.
        judged: On what.
        outputs: Files to write.
        on_message: Told what a person should know.

    Returns:
        JSON values: `model`, `run`, `study`, `study_id`, `split` and `data`; `loss` over the
        positions that the search counts, `loss_all_positions`, `loss_in_search` (None = not known,
        or of another split); `num_events`, `baselines` and `targets`, as `training.judging.judge`
        says.

    Raises:
        InputError: If the split is missing, or not of the data that the model was trained with.
    """
    config = chosen.config
    if config is None:
        raise InputError(
            f"{chosen.name} does not say what its loss is: an earlier version wrote it",
            "judge the run that it belongs to: --run N instead of --model",
        )
    with tempfile.TemporaryDirectory(prefix="sequifier-hpo-") as name:
        folder = Path(name)
        if judged.table is not None:
            split, names = _write_split(chosen, judged.table, folder, on_message)
        else:
            split = _stored_split(config, chosen.metadata, judged.split)
            names = sequence_ids_file_of(config)
        keeps_training = judged.table is None and has_training_data(config)
        order = {
            **_order(chosen, judged),
            "config": judged_on(config, split, keeps_training=keeps_training).model_dump(
                mode="json"
            ),
            "has_training": keeps_training and judged.with_baselines,
            "events": None if outputs.events is None else str(outputs.events.absolute()),
            "sequences": None if outputs.sequences is None else str(outputs.sequences.absolute()),
        }
        if outputs != NO_FILES:
            order["names"] = None if names is None else str(names.absolute())
            order["places"] = str(_write_places(split, chosen.model.about.length, folder))
        return {**_head(chosen, judged, split.path), **ask("judging", order)}


def _head(chosen: ChosenModel, judged: Judged, path: Path) -> dict[str, Any]:
    is_own = judged.split == VALIDATION and judged.table is None
    counts_alike = judged.last_positions in {None, chosen.last_positions}
    return {
        "model": chosen.name,
        "run": None if chosen.run is None else chosen.run.number,
        "study": None if chosen.snapshot is None else chosen.snapshot.name,
        "study_id": None if chosen.snapshot is None else chosen.snapshot.study_id,
        "split": None if judged.table is not None else judged.split,
        "data": str(judged.table or path),
        "last_positions": judged.last_positions or chosen.last_positions,
        "loss_in_search": chosen.loss_in_study if is_own and counts_alike else None,
    }


def _order(chosen: ChosenModel, judged: Judged) -> dict[str, Any]:
    about = chosen.model.about
    positions = Counted(
        last_positions=judged.last_positions or chosen.last_positions,
        padding_is_stored=judged.table is not None or chosen.metadata.padding is not None,
    )
    return {
        "model": str(about.path),
        "sequence_column": chosen.metadata.id_columns[0],
        "counted": positions.model_dump(),
        "labels": {target: labels_of(about, target) for target in about.class_labels},
        "units": units_of(about, chosen.metadata),
    }


def _write_places(split: SplitFiles, length: int, folder: Path) -> Path:
    """Where the windows of a split lie, of which the newest items are read."""
    described = describe_split(*split)
    ids, starts = read_places(*split, described)
    np.save(folder / "places.npy", np.stack([ids, starts + described.window_length - length], 1))
    return folder / "places.npy"


def _stored_split(config: TrainConfig, of_model: DataMetadata, split: str) -> SplitFiles:
    stored = metadata_of(config)
    if stored is None:
        raise InputError(
            f"the metadata {metadata_file_of(config)} do not exist",
            "judge the model where its data are, or on a table of events with --data",
        )
    _require_same_meaning(config, of_model, stored)
    if split != TEST:
        return validation_split(config)
    found = split_for_test(config, stored)
    if found is None:
        raise InputError(
            f"there is no test split: {metadata_file_of(config)} names "
            f"{counted(len(stored.split_paths), 'split')}",
            "give `split_ratios` of the preprocessing file three shares, such as [0.7, 0.15, 0.15], "
            "and search again; or judge the model on a table that it has not seen, with --data",
        )
    return found


def _require_same_meaning(
    config: TrainConfig, of_model: DataMetadata, stored: DataMetadata
) -> None:
    """Make sure that ids and units of the stored data are those that the model was trained with."""
    changed = [
        column
        for column in sorted(config.columns_read)
        if of_model.meaning_of(column) not in (stored.meaning_of(column), (None, None))
    ]
    if changed:
        raise InputError(
            f"the data were preprocessed again since: `{changed[0]}` has other ids or units now than "
            "the model was trained with",
            "judge it on a table of events with --data, or preprocess the old data again",
        )


def _write_split(
    chosen: ChosenModel, table: Path, folder: Path, on_message: Callable[[str], None]
) -> tuple[SplitFiles, Path | None]:
    """Write a table of events as a split, whose windows count every event about once.

    Returns:
        The split, and a table of the names of its sequences, if they have some.
    """
    about = chosen.model.about
    columns = list(dict.fromkeys([*about.inputs, *about.targets]))
    path = folder / "events.parquet"
    written = write_windows(
        path,
        read_as_text(table, columns, chosen.metadata),
        about.length,
        chosen.last_positions,
        chosen.metadata,
    )
    for line in written.remarks.lines(chosen.metadata):
        on_message(f"note: {line}")
    names = None
    if written.names is not None:
        names = folder / "names.parquet"
        written.names.write_parquet(names)
    return SplitFiles(path, "parquet"), names
