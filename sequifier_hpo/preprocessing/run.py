"""The whole preprocessing job: raw table in, windows and metadata out."""

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from sequifier_hpo.config.metadata import TABLE_KEYS, DataMetadata
from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.categories import CATEGORY_TYPES, find_categories
from sequifier_hpo.preprocessing.column_notes import (
    ColumnSummary,
    column_notes,
    split_notes,
    summary_of,
)
from sequifier_hpo.preprocessing.column_roles import Roles, assign_roles, missing_notes
from sequifier_hpo.preprocessing.digest_cache import SplitStamp, keep_values, stamp_split
from sequifier_hpo.preprocessing.encode import ColumnKind, EncodedColumn
from sequifier_hpo.preprocessing.id_maps import map_notes, read_id_maps
from sequifier_hpo.preprocessing.long_table import write_long_table
from sequifier_hpo.preprocessing.raw_files import find_files
from sequifier_hpo.preprocessing.raw_tables import read_raw_table
from sequifier_hpo.preprocessing.sequence_names import sequence_table
from sequifier_hpo.preprocessing.shard_job import (
    ShardFolder,
    number_width,
    plan_shards,
    shard_index,
    write_shards,
)
from sequifier_hpo.preprocessing.split_pieces import pieces_in_memory
from sequifier_hpo.preprocessing.staging import StagedOutputs, check_replaceable, disk_faults
from sequifier_hpo.preprocessing.table_checks import check_events
from sequifier_hpo.preprocessing.table_notes import table_notes
from sequifier_hpo.preprocessing.value_digests import SplitValues, digest_pieces
from sequifier_hpo.preprocessing.windowed_data import WindowedData, window_data
from sequifier_hpo.preprocessing.windows import Layout
from sequifier_hpo.words import counted

# Larger files are sorted on disk, in a part of the memory that does not depend on their size. A
# Parquet file is several times larger when it is read.
_MOST_BYTES_IN_MEMORY = 64 * 2**20
_GROWTH_OF_PARQUET = 4


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
    columns: dict[str, ColumnSummary]
    """Feature column -> what it became, in the order of the metadata."""
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
    files = find_files(config)
    _check_outputs(config, files, _split_paths(config))
    with StagedOutputs() as outputs:
        on_progress(f"reading {config.data_path}")
        scratch = _scratch(config, files, outputs)
        roles = assign_roles(config, read_raw_table(config, files, scratch))
        table = roles.table
        categories = {
            name: find_categories(table, name)
            for name in table.features
            if table.schema[name] in CATEGORY_TYPES
        }
        check_events(config, table, categories, roles.faults)
        maps = read_id_maps(config, table)
        data = window_data(config, table, categories, maps, scratch, on_progress)
        notes = (
            *split_notes(config, data.splits),
            *data.notes,
            *column_notes(config, data.columns, categories, table.num_rows),
            *table_notes(table, categories),
            *map_notes(config, categories, maps),
            *missing_notes(config, roles),
        )
        _write(config, roles, data, outputs, on_progress)
    return PreprocessSummary(
        metadata_path=_metadata_path(config),
        split_paths=tuple(_split_paths(config)),
        num_rows=table.num_rows,
        num_sequences=len(data.sequences),
        num_windows=tuple(len(layout) for layout in data.splits),
        columns={c.name: summary_of(c, roles.num_missing.get(c.name, 0)) for c in data.columns},
        seconds=time.perf_counter() - started,
        notes=notes,
    )


def _write(
    config: PreprocessConfig,
    roles: Roles,
    data: WindowedData,
    outputs: StagedOutputs,
    on_progress: Callable[[str], None],
) -> None:
    """Write splits and metadata, and keep the digests of the splits."""
    split_paths, metadata_path = _split_paths(config), _metadata_path(config)
    staged = _write_splits(config, data, split_paths, outputs, on_progress)
    on_progress("computing digests of the data")
    digests = [_digest(data, layout) for layout in data.splits]
    with disk_faults(metadata_path):
        names_path = _write_sequence_names(config, data, outputs)
        text = _metadata(config, roles, data.columns, split_paths, names_path)
        outputs.stage(metadata_path).write_text(text, encoding="utf-8")
        stamps = [stamp_split(path) for path in staged]
    outputs.publish()
    for path, values, stamp in zip(split_paths, digests, stamps, strict=True):
        _keep_digest(Path(path), config.write_format, values, stamp)


def _scratch(
    config: PreprocessConfig, files: Sequence[Path], outputs: StagedOutputs
) -> Path | None:
    """A folder for what is too large for memory; None if nothing is."""
    num_bytes = sum(file.stat().st_size for file in files)
    if not config.is_csv:
        num_bytes *= _GROWTH_OF_PARQUET
    if num_bytes <= _MOST_BYTES_IN_MEMORY:
        return None
    return outputs.scratch_folder(Path(_split_paths(config)[0]))


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


def _write_splits(
    config: PreprocessConfig,
    data: WindowedData,
    split_paths: list[str],
    outputs: StagedOutputs,
    on_progress: Callable[[str], None],
) -> list[Path]:
    """Write the splits where they are staged, and say where that is."""
    staged = [outputs.stage(Path(path)) for path in split_paths]
    if config.write_format == "pt":
        name = _data_name(config)
        folders = [
            ShardFolder(folder, f"{name}-split{i}", layout)
            for i, (folder, layout) in enumerate(zip(staged, data.splits, strict=True))
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
    for i, (path, layout) in enumerate(zip(staged, data.splits, strict=True)):
        on_progress(f"writing split {i}: {counted(len(layout), 'window')} to {split_paths[i]}")
        if config.merge_output:
            write_long_table(path, config.write_format, layout, data.columns)
        else:
            _write_table_folder(config, path, f"{_data_name(config)}-split{i}", layout, data)
    return staged


def _write_table_folder(
    config: PreprocessConfig, folder: Path, name: str, layout: Layout, data: WindowedData
) -> None:
    """Write a split as several long tables, of so many sequences each, and their listing."""
    num_sequences = config.batches_per_file
    width = number_width(len(data.sequences), num_sequences)
    files = plan_shards(name, layout, num_sequences, width, config.write_format)
    with disk_faults(folder):
        folder.mkdir()
        (folder / "metadata.json").write_text(shard_index(files), encoding="utf-8")
    begin = 0
    for file, num_windows in files:
        end = begin + num_windows
        write_long_table(folder / file, config.write_format, layout, data.columns, begin, end)
        begin = end


def _digest(data: WindowedData, layout: Layout) -> SplitValues:
    kinds = {column.name: column.kind for column in data.columns}
    pieces = pieces_in_memory(layout, data.columns)
    return digest_pieces(pieces, list(kinds), layout.seq_length, kinds)


def _keep_digest(
    path: Path, write_format: str, values: SplitValues, staged: SplitStamp | None
) -> None:
    """Cache the digests of a split, unless another job has already replaced it."""
    published = stamp_split(path)
    if staged is None or published is None or not published.is_of_same_files(staged):
        return
    if values.num_windows:  # an empty split is refused whenever it is read
        keep_values(path, write_format, values, published)


def _write_sequence_names(
    config: PreprocessConfig, data: WindowedData, outputs: StagedOutputs
) -> str | None:
    """Store which number stands for which text of the sequence column; None = it has none."""
    if data.sequence_names is None:
        return None
    path = f"configs/metadata_configs/{_data_name(config)}-sequences.parquet"
    table = sequence_table(data.sequence_names.cast(pl.String))
    table.write_parquet(outputs.stage(Path(project_path(path, config.project_root))))
    return path


def _metadata(
    config: PreprocessConfig,
    roles: Roles,
    columns: list[EncodedColumn],
    split_paths: list[str],
    names_path: str | None,
) -> str:
    id_maps = {c.name: dict(c.id_map) for c in columns if c.id_map is not None}
    read = (*config.id_columns, *(c.name for c in columns))
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
        sequence_column=config.sequence_column,
        sequence_ids_path=names_path,
        order_column=config.order_column,
        missing={name: policy for name in read if (policy := roles.policy_of(config, name))},
    )
    content = metadata.model_dump()
    unused = {key for key in TABLE_KEYS if not content[key]}
    return json.dumps({k: v for k, v in content.items() if k not in unused}, allow_nan=False)
