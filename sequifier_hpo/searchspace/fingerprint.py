"""What makes two search files the same study, and how two files differ."""

from collections.abc import Mapping, Sequence
from typing import Any

from sequifier_hpo.config.description import SELECTION, WEIGHTS, Description, description_of
from sequifier_hpo.config.ranges import as_json
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import Stored
from sequifier_hpo.searchspace.canonical import canonical
from sequifier_hpo.searchspace.parameters import SearchSpace
from sequifier_hpo.searchspace.point import Point


def describe_space(space: SearchSpace) -> dict[str, Any]:
    """The space as plain JSON values: name -> candidates of every parameter, and the fixed part.

    The fixed part is what has an influence on the weights or on which epoch is the best. Where
    things are, how many runs there are and how fast may change between two starts of a study.
    """
    candidates = {
        parameter.name: [as_json(candidate.chosen) for candidate in parameter.candidates]
        for parameter in (*space.parameters, *space.fixed)
    }
    written = space.config.model_dump(mode="json")
    influencing = space.description.influencing(WEIGHTS, SELECTION)
    fixed = {
        field: space.description.in_search_file(written, field)
        for field in influencing
        if field in space.settings
    }
    return _comparable({**fixed, **candidates}, space.description)


def point_of_labels(described: Mapping[str, Any], labels: Mapping[str, Stored]) -> Point:
    """The point of a trial of which only labels are stored, as version 0.1.0 did.

    Args:
        described: The space that the study was started with.
        labels: Parameter -> label; only its leading index counts.

    Raises:
        KeyError: If there is no label for a parameter with several candidates.
    """
    description = description_of(TrainConfig)
    values: dict[str, Any] = {}
    for name, candidates in _comparable(described, description).items():
        field = description.fields.get(name)
        if field is None or field.is_searched:
            index = 0 if len(candidates) == 1 else int(str(labels[name]).partition(":")[0])
            values[name] = candidates[index]
    return Point(values)


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What was added, removed or changed between two descriptions, a line each.

    Descriptions of earlier versions held more: what has no influence, and what the metadata say of
    columns that no run reads. That is not compared.
    """
    description = description_of(TrainConfig)
    stored, given = _comparable(stored, description), _comparable(given, description)
    lines: list[str] = []
    for name in sorted({*stored, *given}):
        if name not in given:
            lines.append(f"- {name}: {canonical(stored[name])}")
        elif name not in stored:
            lines.append(f"+ {name}: {canonical(given[name])}")
        elif canonical(stored[name]) != canonical(given[name]):
            lines += _changes(name, stored[name], given[name])
    return lines


def _changes(name: str, before: Any, after: Any) -> list[str]:
    """Per row where two lists of linked rows differ, else in one line."""
    has_rows = all(isinstance(part, list) and part for part in (before, after)) and all(
        isinstance(row, dict) for row in (*before, *after)
    )
    if not has_rows:
        return [f"~ {name}: {canonical(before)} -> {canonical(after)}"]
    lines = []
    for i in range(max(len(before), len(after))):
        if i >= len(after):
            lines.append(f"- {_row(name, i, before[i])}")
        elif i >= len(before):
            lines.append(f"+ {_row(name, i, after[i])}")
        elif canonical(before[i]) != canonical(after[i]):
            lines += _row_changes(name, i, before[i], after[i])
    return lines


def _row(name: str, i: int, row: Mapping[str, Any]) -> str:
    """A row; one of a single list of names as those names."""
    ((field, value), *more) = row.items()
    if not more and _is_names(value):
        return f"{field}[{i}]: {', '.join(value)}"
    return f"{name}[{i}]: {canonical(row)}"


def _row_changes(
    name: str, i: int, before: Mapping[str, Any], after: Mapping[str, Any]
) -> list[str]:
    """What differs between two rows; between lists of names, in words."""
    fields = [
        field
        for field in dict.fromkeys((*before, *after))
        if canonical(before.get(field)) != canonical(after.get(field))
    ]
    if not all(_is_names(row.get(field)) for field in fields for row in (before, after)):
        return [f"~ {name}[{i}]: {canonical(before)} -> {canonical(after)}"]
    return [f"~ {field}[{i}]: {_names_changed(before[field], after[field])}" for field in fields]


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def _names_changed(before: Sequence[str], after: Sequence[str]) -> str:
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    parts = [
        f"{what} {', '.join(names)}"
        for what, names in (("no longer", gone), ("now also", new))
        if names
    ]
    return "; ".join(parts) or f"in another order: {', '.join(after)}"


def _comparable(described: Mapping[str, Any], description: Description) -> dict[str, Any]:
    """The significant part of a described space, whichever version described it."""
    counts = description.influencing(WEIGHTS, SELECTION)
    kept = {
        name: value
        for name, value in described.items()
        if name not in description.fields or name in counts
    }
    decided = {field.name for field in description.fields.values() if field.is_from_metadata}
    for group in description.groups:
        kept[group] = [
            {field: value for field, value in row.items() if field not in decided}
            for row in kept.get(group, [])
        ]
    return _of_columns_read(kept)


def _of_columns_read(described: dict[str, Any]) -> dict[str, Any]:
    """Without the numbers of ids of columns that no run reads: the data may gain columns."""
    numbers = described.get("n_classes")
    if numbers:
        sets = [row["input_columns"] for row in described["data_schema"]]
        read = {column for columns in (*sets, described["target_columns"]) for column in columns}
        described["n_classes"] = {c: number for c, number in numbers.items() if c in read}
    return described
