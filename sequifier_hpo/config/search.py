"""The search file: read, filled in from the metadata, checked."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sequifier_hpo.config.description import description_of
from sequifier_hpo.config.later_versions import LATER_SEARCH_FIELDS
from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.config.paths import project_path
from sequifier_hpo.config.schema import Finding, load
from sequifier_hpo.config.search_fields import SearchConfig, SearchFile
from sequifier_hpo.config.search_rules import SEARCH_CHECKS, TRAINING_SECTION
from sequifier_hpo.config.train import effective_columns
from sequifier_hpo.config.train_fields import TrainConfig
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
            metadata = _metadata_of(document, data)
        except ConfigError as error:
            issues += error.issues
        data = _filled(data, metadata)
    document = document.completed(data, overrides or {})
    try:
        config = load(SearchConfig, document, SEARCH_CHECKS, moved=_MOVED)
    except ConfigError as error:
        raise ConfigError(sorted([*issues, *error.issues], key=lambda i: i.line or 0)) from None
    if issues:
        raise ConfigError(issues)
    warnings = tuple(
        document.issue(finding.loc, finding.problem, fix=finding.fix)
        for finding in _unusual(config)
    )
    return LoadedSearch(config, document, warnings)


def _unusual(config: SearchFile) -> Iterator[Finding]:
    """What is allowed but probably not meant."""
    yield from _schedules_that_do_not_end(config)
    for column, kind in config.target_column_types.items():
        if kind == "real" and column in (config.n_classes or {}):
            yield Finding(
                ("target_column_types", column),
                f"`{column}` is categorical in the data: as a real target it is the number that "
                "its category happens to have",
                fix="categorical; or give the table decimal numbers (3.0) if it is a quantity",
            )


def _schedules_that_do_not_end(config: SearchFile) -> Iterator[Finding]:
    sampling = config.training_hyperparameter_sampling
    if sampling.scheduler_step_on != "epoch":
        return
    for i, (recipe, epochs) in enumerate(
        zip(sampling.scheduler or [], sampling.epochs, strict=False)
    ):
        period = recipe.get("T_max")
        if isinstance(period, int) and period != epochs:
            turns = "rises again" if period < epochs else "stops before its minimum"
            yield Finding(
                (TRAINING_SECTION, "scheduler", i, "T_max"),
                f"T_max is {period} and epochs[{i}] is {epochs}: the learning rate {turns}",
                fix=f"T_max: {epochs}, unless this is intended",
            )


_DESCRIPTION = description_of(TrainConfig)
_MOVED = {
    **LATER_SEARCH_FIELDS,
    **{
        field.name: f"move it to `{_DESCRIPTION.sections[field.section].name}`"
        for field in _DESCRIPTION.fields.values()
        if field.section
    },
    **dict.fromkeys(SearchConfig.model_fields, "move it to the root of the file"),
}


def _metadata_of(document: YamlDocument, data: Mapping[str, Any]) -> DataMetadata | None:
    path, root = data.get("metadata_config_path"), data.get("project_root")
    if not isinstance(path, str) or not isinstance(root, str):
        return None  # the model reports them as missing or mistyped
    where = document.issue(("metadata_config_path",), "")
    return read_metadata(Path(project_path(path, root)), where=where)


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
            data[key] = splits[min(position, len(splits) - 1)]
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
