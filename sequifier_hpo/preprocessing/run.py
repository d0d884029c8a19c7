"""The whole preprocessing job: raw table in, windows and metadata out."""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.config.train_rules import column_name_problem
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.digest_cache import SplitStamp, keep_values, stamp_split
from sequifier_hpo.preprocessing.encode import ColumnKind, EncodedColumn, encode_column
from sequifier_hpo.preprocessing.id_maps import (
    IdMap,
    encode_with_map,
    map_notes,
    read_id_maps,
)
from sequifier_hpo.preprocessing.long_table import write_long_table
from sequifier_hpo.preprocessing.raw_files import RawTable, find_files, read_raw_table
from sequifier_hpo.preprocessing.shard_job import (
    ShardFolder,
    number_width,
    plan_shards,
    shard_index,
    write_shards,
)
from sequifier_hpo.preprocessing.split_pieces import pieces_in_memory
from sequifier_hpo.preprocessing.staging import StagedOutputs, check_replaceable, disk_faults
from sequifier_hpo.preprocessing.table_checks import check_table, sort_items
from sequifier_hpo.preprocessing.table_notes import table_notes
from sequifier_hpo.preprocessing.value_digests import SplitValues, digest_pieces
from sequifier_hpo.preprocessing.windows import (
    Ints,
    Sequences,
    Windows,
    find_sequences,
    lay_windows,
    rows_of_split,
    split_bounds,
)
from sequifier_hpo.words import counted

# A category that is nearly unique to each row carries no information.
_SUSPICIOUS_SHARE_OF_CLASSES = 0.5
_SUSPICIOUS_NUM_CLASSES = 1000


@dataclass(frozen=True)
class PreprocessSummary:
    """What a preprocessing job read and wrote."""

    metadata_path: Path
    split_paths: tuple[str, ...]
    """Files or shard folders, one per split, as the metadata names them."""
    num_rows: int
    num_sequences: int
    num_windows: tuple[int, ...]
    """Windows per split."""
    columns: dict[str, str]
    """Feature column -> categorical or real, in the order of the metadata."""
    seconds: float
    notes: tuple[str, ...]
    """Remarks about the data for the user."""


def preprocess(
    config: PreprocessConfig, *, on_progress: Callable[[str], None]
) -> PreprocessSummary:
    """Window a raw table and write splits and metadata, all of them or nothing.

    Args:
        config: What to read and how to cut it.
        on_progress: Takes a line of text whenever a step begins.

    Raises:
        InputError: If the data cannot be windowed as asked.
        EnvironmentFaultError: If the results cannot be written.
    """
    started = time.perf_counter()
    split_paths = _split_paths(config)
    files = find_files(config)
    _check_outputs(config, files, split_paths)
    on_progress(f"reading {config.data_path}")
    table = read_raw_table(config, files)
    check_table(table)
    maps = read_id_maps(config, table)
    data = _window(config, table, maps, on_progress)
    notes = (
        *_split_notes(config, data),
        *_column_notes(data),
        *table_notes(table),
        *map_notes(config, table, maps),
    )
    metadata_path = _metadata_path(config)
    with StagedOutputs() as outputs:
        staged = _write_splits(config, data, split_paths, outputs, on_progress)
        on_progress("computing digests of the data")
        digests = [_digest(data, windows) for windows in data.splits]
        with disk_faults(metadata_path):
            text = _metadata(data.columns, split_paths)
            outputs.stage(metadata_path).write_text(text, encoding="utf-8")
            stamps = [stamp_split(path) for path in staged]
        outputs.publish()
    for path, values, stamp in zip(split_paths, digests, stamps, strict=True):
        _keep_digest(Path(path), config.write_format, values, stamp)
    return PreprocessSummary(
        metadata_path=metadata_path,
        split_paths=tuple(split_paths),
        num_rows=table.frame.height,
        num_sequences=len(data.sequences),
        num_windows=tuple(len(windows) for windows in data.splits),
        columns={column.name: str(column.kind) for column in data.columns},
        seconds=time.perf_counter() - started,
        notes=notes,
    )


@dataclass(frozen=True)
class _WindowedData:
    """Everything to be written, still as columns and positions in them."""

    sequences: Sequences
    columns: list[EncodedColumn]
    splits: list[Windows]


def _window(
    config: PreprocessConfig,
    table: RawTable,
    maps: Mapping[str, IdMap],
    on_progress: Callable[[str], None],
) -> _WindowedData:
    ordered = sort_items(table)
    on_progress(
        f"encoding {counted(ordered.height, 'row')}, "
        f"{counted(len(table.features), 'feature column')}"
    )
    sequences = find_sequences(ordered["sequenceId"].cast(pl.Int64).to_numpy())
    bounds = split_bounds(sequences.lengths, config.exact_ratios())
    splits = _lay_all_windows(config, sequences, bounds)
    learned_from = rows_of_split(sequences, bounds, 0) if config.statistics_from != "all" else None
    columns = [
        encode_with_map(ordered[name], maps[name])
        if name in maps
        else encode_column(ordered[name], learned_from)
        for name in table.features
    ]
    return _WindowedData(sequences, columns, splits)


def _data_name(config: PreprocessConfig) -> str:
    """Name of the data: the file's without its last extension, or the folder's."""
    path = Path(os.path.abspath(config.data_path))  # noqa: PTH100 - "." has a name, links keep theirs
    return path.name if path.is_dir() else path.stem


def _metadata_path(config: PreprocessConfig) -> Path:
    name = _data_name(config)
    return Path(project_path(f"configs/metadata_configs/{name}.json", config.project_root))


def _split_paths(config: PreprocessConfig) -> list[str]:
    name = _data_name(config)
    ending = f".{config.write_format}" if config.merge_output else ""
    return [
        project_path(f"data/{name}-split{i}{ending}", config.project_root)
        for i in range(len(config.split_ratios))
    ]


def _check_outputs(config: PreprocessConfig, files: Sequence[Path], split_paths: list[str]) -> None:
    """Refuse, before doing any work, what would destroy files that are not ours."""
    outputs = {Path(path).resolve() for path in split_paths}
    eaten = [file for file in files if file.resolve() in outputs]
    if eaten:
        raise InputError(
            f"{eaten[0]} is an output of preprocess and lies in the input folder {config.data_path}",
            "keep the raw files in a folder of their own, such as data/raw",
        )
    if not config.merge_output:
        for path in split_paths:
            check_replaceable(Path(path))


def _lay_all_windows(config: PreprocessConfig, sequences: Sequences, bounds: Ints) -> list[Windows]:
    splits = [
        lay_windows(
            sequences,
            bounds,
            split,
            seq_length=config.seq_length,
            stride=stride,
            mode=config.subsequence_start_mode,
        )
        for split, stride in enumerate(config.stride_by_split)
    ]
    if not len(splits[0]):
        raise InputError(
            f"the training split is empty: {config.split_ratios[0]:g} of the longest sequence "
            f"({sequences.lengths.max()} items) is less than one item",
            "raise the first of `split_ratios`, or use longer sequences",
        )
    return splits


def _write_splits(
    config: PreprocessConfig,
    data: _WindowedData,
    split_paths: list[str],
    outputs: StagedOutputs,
    on_progress: Callable[[str], None],
) -> list[Path]:
    """Write the splits where they are staged, and say where that is."""
    staged = [outputs.stage(Path(path)) for path in split_paths]
    if config.write_format == "pt":
        name = _data_name(config)
        folders = [
            ShardFolder(folder, f"{name}-split{i}", windows)
            for i, (folder, windows) in enumerate(zip(staged, data.splits, strict=True))
        ]
        write_shards(
            folders,
            data.columns,
            num_sequences=len(data.sequences),
            sequences_per_shard=config.batches_per_file,
            scratch=outputs.scratch_folder(Path(split_paths[0])),
            on_progress=on_progress,
        )
        return staged
    for i, (path, windows) in enumerate(zip(staged, data.splits, strict=True)):
        on_progress(f"writing split {i}: {counted(len(windows), 'window')} to {split_paths[i]}")
        if config.merge_output:
            write_long_table(path, config.write_format, windows, data.columns)
        else:
            _write_table_folder(config, path, f"{_data_name(config)}-split{i}", windows, data)
    return staged


def _write_table_folder(
    config: PreprocessConfig, folder: Path, name: str, windows: Windows, data: _WindowedData
) -> None:
    """Write a split as several long tables, of so many sequences each, and their listing."""
    num_sequences = config.batches_per_file
    width = number_width(len(data.sequences), num_sequences)
    files = plan_shards(name, windows, num_sequences, width, config.write_format)
    with disk_faults(folder):
        folder.mkdir()
        (folder / "metadata.json").write_text(shard_index(files), encoding="utf-8")
    begin = 0
    for file, num_windows in files:
        part = windows.part(begin, begin + num_windows)
        write_long_table(folder / file, config.write_format, part, data.columns)
        begin += num_windows


def _digest(data: _WindowedData, windows: Windows) -> SplitValues:
    kinds = {column.name: column.kind for column in data.columns}
    pieces = pieces_in_memory(windows, data.columns)
    return digest_pieces(pieces, list(kinds), windows.seq_length, kinds)


def _keep_digest(
    path: Path, write_format: str, values: SplitValues, staged: SplitStamp | None
) -> None:
    """Cache the digests of a split, unless another job has already replaced it."""
    published = stamp_split(path)
    if staged is None or published is None or not published.is_of_same_files(staged):
        return
    if values.num_windows:  # an empty split is refused whenever it is read
        keep_values(path, write_format, values, published)


def _metadata(columns: list[EncodedColumn], split_paths: list[str]) -> str:
    id_maps = {c.name: dict(c.id_map) for c in columns if c.id_map is not None}
    metadata = DataMetadata(
        n_classes={name: max(id_map.values()) + 1 for name, id_map in id_maps.items()},
        id_maps=id_maps,
        split_paths=split_paths,
        # Float64 whatever the raw type: Sequifier's inference drops columns called Float32.
        column_types={
            c.name: "Int64" if c.kind is ColumnKind.CATEGORICAL else "Float64" for c in columns
        },
        selected_columns_statistics={
            c.name: c.statistics for c in columns if c.statistics is not None
        },
        padding="startItemPosition",
    )
    return json.dumps(metadata.model_dump(), allow_nan=False)


def _split_notes(config: PreprocessConfig, data: _WindowedData) -> list[str]:
    notes = []
    for i, windows in enumerate(data.splits):
        stride = config.stride_by_split[i]
        if not len(windows):
            notes.append(f"split {i} is empty: no sequence is long enough to reach it")
        elif windows.num_absent:
            notes.append(
                f"split {i}: {windows.num_absent:,} of {len(data.sequences):,} sequences are too "
                "short to have an item in it"
            )
        if windows.num_padded:
            notes.append(
                f"split {i}: padded {counted(windows.num_padded, 'sequence')} shorter than the "
                f"window of {config.seq_length + 1} items in front"
            )
        if stride > config.seq_length:
            notes.append(
                f"split {i}: the stride {stride} is larger than seq_length {config.seq_length}, "
                "so some items may never be predicted"
            )
    return notes


def _constant_note(column: EncodedColumn) -> str:
    if np.abs(column.values).max() < 1:  # not exactly 0: means are rounded
        return f"column `{column.name}` is constant and becomes all zeros"
    return (
        f"column `{column.name}` is constant in the training split and varies later, by up to "
        f"{np.abs(column.values).max():.0e} standard deviations: leave it out with "
        "`selected_columns`"
    )


def _column_notes(data: _WindowedData) -> list[str]:
    notes = []
    num_rows = int(data.sequences.lengths.sum())
    suspicious = max(_SUSPICIOUS_NUM_CLASSES, int(_SUSPICIOUS_SHARE_OF_CLASSES * num_rows))
    for column in data.columns:
        if problem := column_name_problem(column.name):
            notes.append(f"{problem}: it can be stored, but not trained on")
        if column.statistics is not None and column.statistics.std == 0:
            notes.append(_constant_note(column))
        if column.unknown is not None:
            notes.append(
                f"{column.unknown} after the training split: they get id 0, "
                "which no model learns to predict"
            )
        if column.id_map is not None and len(column.id_map) > suspicious:
            is_text = not all(value.lstrip("-").isdecimal() for value in column.id_map)
            notes.append(
                f"column `{column.name}` has {len(column.id_map):,} categories in {num_rows:,} "
                + (
                    "rows; leave it out with `selected_columns`, or store it as a number, if "
                    "it is not a category (a time, for example)"
                    if is_text
                    else "rows; store numbers that are not categories with a decimal point"
                )
            )
    return notes
