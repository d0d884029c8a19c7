"""The search file: read, filled in from the metadata, checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sequifier_hpo.config.description import description_of
from sequifier_hpo.config.later_versions import LATER_SEARCH_FIELDS
from sequifier_hpo.config.metadata import DataMetadata
from sequifier_hpo.config.other_metadata import metadata_in_use, supplied_by_metadata
from sequifier_hpo.config.paths import project_path, split_path
from sequifier_hpo.config.schema import load
from sequifier_hpo.config.search_fields import SearchConfig, SearchFile
from sequifier_hpo.config.search_rules import SEARCH_CHECKS, unusual
from sequifier_hpo.config.train import effective_columns
from sequifier_hpo.config.train_fields import TrainConfig
from sequifier_hpo.config.user_file import YOURS
from sequifier_hpo.config.yaml_file import YamlDocument, read_yaml
from sequifier_hpo.errors import ConfigError, ConfigIssue


@dataclass(frozen=True)
class LoadedSearch:
    """A validated search file, filled in from the metadata."""

    config: SearchFile
    document: YamlDocument
    warnings: tuple[ConfigIssue, ...]
    """What is allowed but probably not meant."""


def load_search(
    path: Path, *, overrides: Mapping[str, Any] | None = None, skip_metadata: bool = False
) -> LoadedSearch:
    """Read a search file, fill it in from the metadata, and check all of it.

    Args:
        path: The YAML file.
        overrides: Root keys given on the command line; they replace those of the file.
        skip_metadata: Take the derived fields from the file instead of from the metadata.

    Raises:
        ConfigError: With every mistake of the file.
    """
    document = read_yaml(path)
    data = {**document.data, **(overrides or {})}
    issues: list[ConfigIssue] = []
    metadata: DataMetadata | None = None
    if skip_metadata:
        issues += _missing_derived_fields(document, data)
    else:
        try:
            metadata = metadata_in_use(document, data)
        except ConfigError as error:
            issues += error.issues
        data = _filled(data, metadata)
    supplied = {} if skip_metadata else supplied_by_metadata(document.data, data)
    document = document.completed(data, overrides or {}, supplied)
    try:
        config = load(SearchConfig, document, SEARCH_CHECKS, moved=_MOVED)
    except ConfigError as error:
        raise ConfigError(sorted([*issues, *error.issues], key=lambda i: i.line or 0)) from None
    if issues:
        raise ConfigError(issues)
    warnings = tuple(
        document.issue(finding.loc, finding.problem, fix=finding.fix) for finding in unusual(config)
    )
    return LoadedSearch(config, document, warnings)


_DESCRIPTION = description_of(TrainConfig)
_LATER = "this file is one for Sequifier 2 or later, whose own `sequifier` runs it"
_MOVED = {
    **LATER_SEARCH_FIELDS,
    **YOURS,
    "base_config_path": _LATER,
    **{
        field.name: f"move it to `{_DESCRIPTION.sections[field.section].name}`"
        for field in _DESCRIPTION.fields.values()
        if field.section
    },
    **dict.fromkeys(SearchConfig.model_fields, "move it to the root of the file"),
}


def _missing_derived_fields(document: YamlDocument, data: Mapping[str, Any]) -> list[ConfigIssue]:
    return [
        document.issue((name,), "--skip-metadata needs this field in the file", fix=f"add `{name}`")
        for name, field in _DESCRIPTION.fields.items()
        if not field.section and field.search.default is None and data.get(name) is None
    ]


def _filled(data: dict[str, Any], metadata: DataMetadata | None) -> dict[str, Any]:
    """Root keys of the search with everything that the metadata supplies."""
    if metadata is None:
        return data
    data = dict(data)
    root = data["project_root"]
    splits = metadata.split_paths
    for key, position in (("training_data_path", 0), ("validation_data_path", 1)):
        if data.get(key) is None and splits:
            data[key] = split_path(splits[min(position, len(splits) - 1)], root)
        if isinstance(data.get(key), str) and data[key].strip():
            data[key] = project_path(data[key], root)
    if data.get("column_types") is None:
        sets = data.get("input_columns")
        data["column_types"] = [dict(metadata.column_types)] * (
            len(sets) if isinstance(sets, list) else 1
        )
    if data.get("input_columns") is None and isinstance(data["column_types"], list):
        data["input_columns"] = [list(types) for types in data["column_types"]]
    if data.get("n_classes") is None:
        data["n_classes"] = dict(metadata.n_classes)
    data["id_maps"] = metadata.id_maps
    sets = data["input_columns"]
    if isinstance(sets, list) and all(isinstance(columns, list) for columns in sets):
        pairs = [effective_columns(columns, metadata.column_types) for columns in sets]
        data["categorical_columns"] = [categorical for categorical, _ in pairs]
        data["real_columns"] = [real for _, real in pairs]
    return data


__all__ = ["LoadedSearch", "SearchConfig", "SearchFile", "load_search"]
