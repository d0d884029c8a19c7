"""From a validated search file to a search space: pure, without torch or optuna."""

from collections.abc import Iterator, Mapping
from typing import Any

from sequifier_hpo.config.description import Description, LinkedGroup
from sequifier_hpo.config.ranges import NumberRange, entries, one_by_one, ranges_in
from sequifier_hpo.config.search import SearchFile
from sequifier_hpo.config.yaml_file import dotted
from sequifier_hpo.searchspace.labels import label, row_text, value_text
from sequifier_hpo.searchspace.parameters import Choice, Parameter, Part, SearchSpace


def compile_space(config: SearchFile) -> SearchSpace:
    """Turn the candidate lists into categorical parameters; linked groups become one each."""
    description = config.description
    candidates = list(_candidates(config, description))
    return SearchSpace(
        config=config,
        parameters=tuple(parameter for parameter in candidates if parameter.varies),
        fixed=tuple(parameter for parameter in candidates if not parameter.varies),
        settings=_settings(config, description),
        column_types=config.types_of_columns,
    )


def _candidates(config: SearchFile, description: Description) -> Iterator[Parameter]:
    """Slowest to fastest varying, as Sequifier counts a grid: data, then training, then model."""
    for section in ("", *reversed(description.sections)):
        for searched in description.searched(section):
            if isinstance(searched, LinkedGroup):
                yield from _group(searched, config, description)
            else:
                yield _independent(searched.name, description.in_search_file(config, searched.name))


def _settings(config: SearchFile, description: Description) -> dict[str, Any]:
    """The trained fields that have one value in the search file."""
    values = {
        field.name: description.in_search_file(config, field.name)
        for field in description.fields.values()
        if not field.is_searched and not field.is_of_one_run
    }
    return with_criteria(values)


def with_criteria(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the losses that targets have where none are named."""
    if values["criterion"] is not None:
        return dict(values)
    criteria = {
        column: "MSELoss" if kind == "real" else "CrossEntropyLoss"
        for column, kind in values["target_column_types"].items()
    }
    return {**values, "criterion": criteria}


def _independent(field: str, written: Any) -> Parameter:
    values = [value for entry, _ in entries(written) for value in one_by_one(entry)]
    choices = []
    for i, value in enumerate(values):
        parts = parts_in(value, field, i if len(values) > 1 else None)
        choices.append(Choice(label(i, value_text(value)), {field: value}, value, parts))
    return Parameter(field, tuple(choices))


def _group(group: LinkedGroup, config: SearchFile, description: Description) -> Iterator[Parameter]:
    """A linked group, and each of its fields that is a range in every row."""
    written = {name: description.in_search_file(config, name) for name in group.fields}
    spans = {name: value for name, value in written.items() if isinstance(value, NumberRange)}
    fields = [description.fields[name] for name in group.fields if name not in spans]
    num_rows = next((len(written[f.name]) for f in fields if written[f.name]), 1)
    lists = {f.name: written[f.name] or [f.if_omitted] * num_rows for f in fields}
    written_rows = (dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True))
    rows = [each for row in written_rows for each in one_by_one(row)]
    varying = [field for field in lists if any(row[field] != rows[0][field] for row in rows)]
    choices = []
    for i, row in enumerate(rows):
        chosen = {f.name: row[f.name] for f in fields if not f.is_from_metadata}
        parts = parts_in(chosen, "", i if len(rows) > 1 else None)
        text = label(i, row_text(chosen, varying))
        choices.append(Choice(text, row, chosen, parts, is_row=True))
    yield Parameter(group.name, tuple(choices))
    yield from (_independent(name, span) for name, span in spans.items())


def parts_in(candidate: Any, field: str, index: int | None) -> tuple[Part, ...]:
    """The ranges in a candidate of a field, or in a row of several."""
    found = []
    for path, span in ranges_in(candidate):
        head, rest = (field, path) if field else (path[0], path[1:])
        numbered = (head,) if index is None else (head, index)
        found.append(Part(dotted((*numbered, *rest)), path, span))
    return tuple(found)
