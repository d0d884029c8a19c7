"""The data digest: whether two runs were trained and judged on the same data, whatever its format."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
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
) -> DataDigest:
    """Digest both splits: all columns that have a type and that a split holds.

    What was found is kept beside each split, so that it is read again only after a change.

    Args:
        training_path: Long table, or folder of shards.
        validation_path: The same; may be the training split.
        read_format: csv, parquet or pt.
        metadata: What the values mean; None = the digest is of the values alone.
        column_types: Column -> type name, as the metadata calls it.
        on_progress: Takes a line of text before a split is read, which takes a few seconds for
            each gigabyte.

    Raises:
        InputError: If a split is missing, damaged or written to at the same time.
    """
    kinds = {name: kind for name, text in column_types.items() if (kind := _kind(text))}
    meanings = {name: _meaning(name, kind, metadata) for name, kind in kinds.items()}
    says_padding = metadata is not None and metadata.padding is not None
    splits = {
        path: _with_meanings(
            _values(path, read_format, kinds, on_progress), meanings, says_padding=says_padding
        )
        for path in dict.fromkeys((training_path, validation_path))
    }
    return DataDigest(training=splits[training_path], validation=splits[validation_path])


def digest_differences(
    stored: DataDigest, present: DataDigest, columns: Iterable[str]
) -> list[str]:
    """What is not as it was, for people: short lines, none if all is the same.

    Args:
        stored: What a run was trained on.
        present: What there is now.
        columns: The columns that matter.
    """
    names = list(dict.fromkeys(columns))
    return [
        *_split_differences("training split", stored.training, present.training, names),
        *_split_differences("validation split", stored.validation, present.validation, names),
    ]


def _kind(type_name: str) -> ColumnKind | None:
    if is_categorical(type_name):
        return ColumnKind.CATEGORICAL
    return ColumnKind.REAL if is_real(type_name) else None


def _values(
    path: Path,
    read_format: str,
    kinds: Mapping[str, ColumnKind],
    on_progress: Callable[[str], None],
) -> SplitValues:
    """The kept digests of a split's columns, completed."""
    stamp = stamp_split(path)
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
    after = stamp_split(path)
    if (
        stamp is None or after is None or stamp.files != after.files
    ) or values.num_windows != described.num_windows:
        raise InputError(
            f"{path} was written to while it was read",
            "wait until that is done, then run the same command again",
        )
    if kept is not None:
        values = values.model_copy(update={"columns": kept.columns | values.columns})
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


def _split_differences(
    split: str, stored: SplitDigest, present: SplitDigest, columns: list[str]
) -> list[str]:
    lines = []
    if stored.num_windows != present.num_windows:
        lines.append(
            f"the {split} holds {_counted(present.num_windows, 'window')}; "
            f"it held {stored.num_windows:,}"
        )
    if stored.window_length != present.window_length:
        lines.append(
            f"the windows of the {split} hold {present.window_length + 1} items; "
            f"they held {stored.window_length + 1}"
        )
    is_same_shape = not lines
    if gone := [c for c in columns if c in stored.columns and c not in present.columns]:
        lines.append(f"the {split} no longer holds {_listed(gone)}")
    if new := [c for c in columns if c in present.columns and c not in stored.columns]:
        lines.append(f"the {split} did not hold {_listed(new)}")
    if is_same_shape:
        lines += _content_differences(split, stored, present, columns)
    return lines


def _content_differences(
    split: str, stored: SplitDigest, present: SplitDigest, columns: list[str]
) -> list[str]:
    """Of splits of the same shape; in others all values have changed."""
    lines = []
    both = [c for c in columns if c in stored.columns and c in present.columns]
    if changed := [c for c in both if stored.columns[c] != present.columns[c]]:
        lines.append(
            f"in the {split}, {_listed(changed)} changed: the values, or the ids or the scaling "
            "that they stand for"
        )
    if stored.padding != present.padding:
        if not stored.padding:
            lines.append(f"the {split} now says which of its items are padding")
        elif not present.padding:
            lines.append(f"the {split} no longer says which of its items are padding")
        else:
            lines.append(f"other items of the {split} are padding")
    return lines


def _listed(columns: list[str]) -> str:
    *most, last = [f"`{column}`" for column in columns]
    return f"{', '.join(most)} and {last}" if most else last


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
