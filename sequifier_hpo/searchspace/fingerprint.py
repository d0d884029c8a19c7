"""What makes two search files the same space."""

from collections.abc import Mapping
from typing import Any

from sequifier_hpo.config.description import SELECTION, WEIGHTS, Description, description_of
from sequifier_hpo.config.ranges import as_json
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import Stored
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
    return comparable({**fixed, **candidates})


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
    for name, candidates in comparable(described).items():
        if is_parameter(name, description):
            index = 0 if len(candidates) == 1 else int(str(labels[name]).partition(":")[0])
            values[name] = candidates[index]
    return Point(values)


def is_parameter(name: str, description: Description) -> bool:
    """Whether a description of a space has a list of candidates under a name."""
    field = description.fields.get(name)
    return field is None or field.is_searched


def columns_in(described: Mapping[str, Any]) -> set[str]:
    """The columns of the data that some run of a described space reads."""
    sets = [row["input_columns"] for row in described.get("data_schema", ())]
    columns = (*sets, described.get("target_columns") or ())
    return {column for each in columns for column in each}


def comparable(described: Mapping[str, Any]) -> dict[str, Any]:
    """The significant part of a described space, whichever version described it."""
    description = description_of(TrainConfig)
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
        read = columns_in(described)
        described["n_classes"] = {c: number for c, number in numbers.items() if c in read}
    return described
