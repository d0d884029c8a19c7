"""From a validated search file to a search space: pure, without torch or optuna."""

from collections.abc import Iterator
from typing import Any

from sequifier_hpo.config.description import Description, LinkedGroup
from sequifier_hpo.config.search import SearchFile
from sequifier_hpo.searchspace.labels import label, row_text, value_text
from sequifier_hpo.searchspace.parameters import Choice, Parameter, SearchSpace


def compile_space(config: SearchFile) -> SearchSpace:
    """Turn the candidate lists into categorical parameters; linked groups become one each."""
    description = config.description
    candidates = list(_candidates(config, description))
    return SearchSpace(
        config=config,
        parameters=tuple(parameter for parameter in candidates if len(parameter.choices) > 1),
        fixed=tuple(parameter for parameter in candidates if len(parameter.choices) == 1),
        settings=_settings(config, description),
        column_types=config.types_of_columns,
    )


def _candidates(config: SearchFile, description: Description) -> Iterator[Parameter]:
    """Slowest to fastest varying, as Sequifier counts a grid: data, then training, then model."""
    for section in ("", *reversed(description.sections)):
        for searched in description.searched(section):
            if isinstance(searched, LinkedGroup):
                yield _group(searched, config, description)
            else:
                yield _independent(searched.name, description.in_search_file(config, searched.name))


def _settings(config: SearchFile, description: Description) -> dict[str, Any]:
    """The trained fields that have one value in the search file."""
    values = {
        field.name: description.in_search_file(config, field.name)
        for field in description.fields.values()
        if not field.is_searched and not field.is_of_one_run
    }
    if values["criterion"] is None:
        values["criterion"] = {
            column: "MSELoss" if kind == "real" else "CrossEntropyLoss"
            for column, kind in config.target_column_types.items()
        }
    return values


def _independent(field: str, values: list[Any]) -> Parameter:
    choices = (
        Choice(label(i, value_text(value)), {field: value}, value) for i, value in enumerate(values)
    )
    return Parameter(field, tuple(choices))


def _group(group: LinkedGroup, config: SearchFile, description: Description) -> Parameter:
    fields = [description.fields[name] for name in group.fields]
    written = {name: description.in_search_file(config, name) for name in group.fields}
    num_rows = len(written[group.anchor])
    lists = {f.name: written[f.name] or [f.if_omitted] * num_rows for f in fields}
    rows = [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    varying = [field for field in lists if any(row[field] != rows[0][field] for row in rows)]
    choices = []
    for i, row in enumerate(rows):
        chosen = {f.name: row[f.name] for f in fields if not f.is_from_metadata}
        choices.append(Choice(label(i, row_text(chosen, varying)), row, chosen))
    return Parameter(group.name, tuple(choices))
