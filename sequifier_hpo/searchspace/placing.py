"""Where a configuration of another space lies in a space, or why it has no place there.

What decides are the values of its fields. Parameters may have other names in each space: fields are
linked in one and free in the other, a range stands in a row or beside it.
"""

from collections.abc import Mapping
from typing import Any

from sequifier_hpo.config.description import REQUIRED, WEIGHTS, Description
from sequifier_hpo.config.ranges import NumberRange
from sequifier_hpo.searchspace.canonical import canonical
from sequifier_hpo.searchspace.compile import with_criteria
from sequifier_hpo.searchspace.fingerprint import is_parameter
from sequifier_hpo.searchspace.labels import value_text
from sequifier_hpo.searchspace.meaning import meaning
from sequifier_hpo.searchspace.parameters import Parameter, SearchSpace
from sequifier_hpo.searchspace.point import Point

Configuration = Mapping[str, Any]
"""Field -> value, as a search file has it, of all fields that are searched or have an influence."""
_SEED = "seed"


def configuration(
    described: Mapping[str, Any], point: Point, description: Description
) -> Configuration:
    """The values of a run of another study.

    Args:
        described: The space of that study, as `describe_space` has it.
        point: What was chosen in the run.
        description: The fields that there are.
    """
    settings = {
        name: value for name, value in described.items() if not is_parameter(name, description)
    }
    return {**settings, **point.fields}


def place(space: SearchSpace, other: Configuration) -> Point | str:
    """The point of a space that has the values of a configuration, or why there is none.

    Another seed is no obstacle, nor another patience: neither says which configurations are good.
    """
    if reason := _other_settings(space, other):
        return reason
    values: dict[str, Any] = {}
    for parameter in (*space.parameters, *space.fixed):
        fields = parameter.chosen_fields
        if missing := [field for field in fields if field not in other]:
            if parameter.varies:
                return f"it has no {missing[0]}"
            continue  # it is older than the field, which has a single value here
        row = {field: other[field] for field in fields}
        value = row if parameter.is_linked else other[parameter.name]
        if parameter.place_of(value) is None:
            return _why_not(parameter, row)
        values[parameter.name] = value
    return Point(values)


def _other_settings(space: SearchSpace, other: Configuration) -> str:
    """In which of the settings that shape the weights or the loss a configuration differs."""
    fields = [
        field
        for field in space.description.fields.values()
        if field.name in space.settings
        and field.influence is WEIGHTS
        and field.name != _SEED
        and not field.is_from_metadata
    ]
    defaults = {field.name: field.default for field in fields if field.default is not REQUIRED}
    there = with_criteria({**dict.fromkeys(space.settings), **defaults, **other})
    for field in fields:
        before, here = (meaning(each, [field.name]) for each in (there, space.settings))
        if canonical(before) != canonical(here):
            shown = (value_text(each.get(field.name)) for each in (before, here))
            return f"{field.name} is {next(shown)} there and {next(shown)} here"
    return ""


def _why_not(parameter: Parameter, chosen: Mapping[str, Any]) -> str:
    """The first value that no candidate has; else it is the row that none has."""
    for field, value in chosen.items():
        candidates = [
            candidate.chosen[field] if parameter.is_linked else candidate.chosen
            for candidate in parameter.candidates
        ]
        if not any(_fits(candidate, value) for candidate in candidates):
            only = candidates[0] if len(candidates) == 1 else None
            if isinstance(only, NumberRange):
                return f"{field} is outside {only}"
            return f"{field} {value_text(value)} is not a candidate"
    named = (f"{field} {value_text(value)}" for field, value in chosen.items())
    return f"{', '.join(named)} are not one row"


def _fits(candidate: Any, value: Any) -> bool:
    """Whether a value is one that a candidate stands for, by the numbers of its ranges."""
    if isinstance(candidate, NumberRange):
        return candidate.has(value)
    if isinstance(candidate, dict) and isinstance(value, dict):
        same = candidate.keys() == value.keys()
        return same and all(_fits(part, value[name]) for name, part in candidate.items())
    if isinstance(candidate, list) and isinstance(value, list):
        pairs = zip(candidate, value, strict=False)
        return len(candidate) == len(value) and all(_fits(*pair) for pair in pairs)
    return canonical(candidate) == canonical(value)
