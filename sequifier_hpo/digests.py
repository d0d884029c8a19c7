"""What differs between two data digests, in words."""

from collections.abc import Iterable

from sequifier_hpo.records import DataDigest, SplitDigest
from sequifier_hpo.words import counted, listed


def digest_differences(
    stored: DataDigest, present: DataDigest, columns: Iterable[str] | None = None
) -> list[str]:
    """The differences, for people: short lines, none if everything is equal.

    Args:
        stored: What a run was trained on.
        present: What there is now.
        columns: The columns that matter; None = all that one of them knows.
    """
    splits = (stored.training, stored.validation, present.training, present.validation)
    known = (column for split in splits for column in split.columns)
    names = list(dict.fromkeys(known if columns is None else columns))
    return [
        *_split_differences("training split", stored.training, present.training, names),
        *_split_differences("validation split", stored.validation, present.validation, names),
    ]


def _split_differences(
    split: str, stored: SplitDigest, present: SplitDigest, columns: list[str]
) -> list[str]:
    lines = []
    if stored.num_windows != present.num_windows:
        lines.append(
            f"the {split} holds {counted(present.num_windows, 'window')}; "
            f"it held {stored.num_windows:,}"
        )
    if stored.window_length != present.window_length:
        lines.append(
            f"the windows of the {split} hold {present.window_length + 1} items; "
            f"they held {stored.window_length + 1}"
        )
    is_same_shape = not lines
    if gone := [c for c in columns if c in stored.columns and c not in present.columns]:
        lines.append(f"the {split} no longer holds {_columns(gone)}")
    if new := [c for c in columns if c in present.columns and c not in stored.columns]:
        lines.append(f"the {split} did not hold {_columns(new)}")
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
        lines.append(f"in the {split}, {_columns(changed)} changed: values, ids or scaling")
    if stored.padding != present.padding:
        if not stored.padding:
            lines.append(f"the {split} now records which of its items are padding")
        elif not present.padding:
            lines.append(f"the {split} no longer records which of its items are padding")
        else:
            lines.append(f"different items of the {split} are padding")
    return lines


def _columns(names: list[str]) -> str:
    return listed([f"`{name}`" for name in names])
