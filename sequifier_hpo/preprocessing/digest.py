"""The data digest: whether two runs were trained and judged on the same data, whatever its format."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from sequifier_hpo.config.metadata import DataMetadata, is_categorical, is_real
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.digest_cache import keep_values, kept_values, stamp_split
from sequifier_hpo.preprocessing.encode import ColumnKind
from sequifier_hpo.preprocessing.split_pieces import pieces_of_shards, pieces_of_table
from sequifier_hpo.preprocessing.stored_split import describe_split
from sequifier_hpo.preprocessing.value_digests import SplitValues, digest_pieces
from sequifier_hpo.records import DataDigest, SplitDigest


def data_digest(
    training_path: Path,
    validation_path: Path,
    read_format: str,
    metadata: DataMetadata | None,
    column_types: Mapping[str, str],
    *,
    on_progress: Callable[[str], None] = lambda _: None,
    keeps: bool = True,
) -> DataDigest:
    """Digest both splits: all columns that have a type and that a split holds.

    The result is usually cached next to each split, which is then read again only after a change.

    Args:
        training_path: Long table, or folder of shards.
        validation_path: The same; may be the training split.
        read_format: csv, parquet or pt.
        metadata: What the values mean; None = the digest is of the values alone.
        column_types: Column -> type name, as the metadata calls it.
        on_progress: Takes a line of text before a split is read, which takes a few seconds for
            each gigabyte.
        keeps: Whether to cache the result.

    Raises:
        InputError: If a split is missing, damaged or written to at the same time.
    """
    kinds = {name: kind for name, text in column_types.items() if (kind := _kind(text))}
    meanings = {name: _meaning(name, kind, metadata) for name, kind in kinds.items()}
    says_padding = metadata is not None and metadata.padding is not None
    splits = {
        path: _with_meanings(
            _values(path, read_format, kinds, on_progress, keeps=keeps),
            meanings,
            says_padding=says_padding,
        )
        for path in dict.fromkeys((training_path, validation_path))
    }
    return DataDigest(training=splits[training_path], validation=splits[validation_path])


def _kind(type_name: str) -> ColumnKind | None:
    if is_categorical(type_name):
        return ColumnKind.CATEGORICAL
    return ColumnKind.REAL if is_real(type_name) else None


def _values(
    path: Path,
    read_format: str,
    kinds: Mapping[str, ColumnKind],
    on_progress: Callable[[str], None],
    *,
    keeps: bool,
) -> SplitValues:
    """The kept digests of a split's columns, completed."""
    stamp = stamp_split(path, asks_clock=keeps)
    kept = kept_values(path, read_format, stamp)
    if kept is not None and not kept.missing(kinds):
        return kept
    described = describe_split(path, read_format)
    wanted = described.columns if kept is None else kept.missing(kinds)
    asked = {name: kinds[name] for name in wanted if name in kinds}
    on_progress(f"reading {path} to identify its data")
    pieces = (
        pieces_of_shards(path, described)
        if read_format == "pt"
        else pieces_of_table(path, read_format, described)
    )
    values = digest_pieces(pieces, described.columns, described.window_length, asked)
    after = stamp_split(path, asks_clock=False)
    if (
        stamp is None or after is None or stamp.files != after.files
    ) or values.num_windows != described.num_windows:
        raise InputError(
            f"{path} changed while it was being read",
            "wait until it is complete, then run the same command again",
        )
    if kept is not None:
        values = values.model_copy(update={"columns": kept.columns | values.columns})
    if keeps:
        keep_values(path, read_format, values, stamp)
    return values


def _meaning(name: str, kind: ColumnKind, metadata: DataMetadata | None) -> bytes:
    """Digest of what decides what the values of a column mean."""
    if metadata is None:
        return b""
    if kind is ColumnKind.CATEGORICAL:
        meaning: object = metadata.id_maps.get(name)
    else:
        statistics = metadata.selected_columns_statistics.get(name)
        meaning = statistics and statistics.model_dump()
    return hashlib.sha256(json.dumps(meaning, sort_keys=True).encode()).digest()


def _with_meanings(
    values: SplitValues, meanings: Mapping[str, bytes], *, says_padding: bool
) -> SplitDigest:
    return SplitDigest(
        num_windows=values.num_windows,
        window_length=values.window_length,
        columns={
            name: hashlib.sha256(bytes.fromhex(values.columns[name].sha256) + meaning).hexdigest()
            for name, meaning in meanings.items()
            if name in values.columns
        },
        padding=values.padding if says_padding else "",
    )
