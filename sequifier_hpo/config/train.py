"""The run file `train.yaml`: read, checked, written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sequifier_hpo.config.description import description_of
from sequifier_hpo.config.later_versions import LATER_TRAINING_FIELDS
from sequifier_hpo.config.metadata import DataMetadata, is_categorical, is_real
from sequifier_hpo.config.model_fields import ModelSpec
from sequifier_hpo.config.other_metadata import metadata_in_use, supplied_by_metadata
from sequifier_hpo.config.paths import project_path, split_path
from sequifier_hpo.config.schema import load
from sequifier_hpo.config.train_fields import TrainConfig, TrainingSpec
from sequifier_hpo.config.train_rules import TRAIN_CHECKS
from sequifier_hpo.config.user_file import YOURS
from sequifier_hpo.config.yaml_file import YamlDocument, dump_yaml, read_yaml
from sequifier_hpo.errors import ConfigError, ConfigIssue

VALIDATION, TEST = "validation", "test"
"""The splits on which a model can be judged."""

_PLACE_OF_TEST = 2  # among the splits of the metadata

SUPPLIED = (
    "input_columns",  # all of them; what decides which are read, if the file says it
    *(
        field.name
        for field in description_of(TrainConfig).fields.values()
        if field.is_from_metadata
    ),
)
"""Root fields that a file may leave out, since the metadata supply them."""


def load_train_config(
    path: Path, *, overrides: Mapping[str, Any] | None = None, skip_metadata: bool = False
) -> TrainConfig:
    """Read a `train.yaml`, fill it in from the metadata, and check it.

    Args:
        path: The YAML file.
        overrides: Root keys given on the command line; they replace those of the file.
        skip_metadata: Take the derived fields from the file instead of from the metadata.

    Raises:
        ConfigError: With every mistake of the file.
    """
    document = read_yaml(path)
    data = {**document.data, **(overrides or {})}
    skip = bool(data.pop("skip_metadata", False)) or skip_metadata
    issues: list[ConfigIssue] = []
    unknown: set[str] = set()
    if not skip:
        try:
            if (metadata := metadata_in_use(document, data)) is not None:
                data = filled(data, metadata, data["project_root"])
        except ConfigError as error:
            issues += error.issues
            unknown = {name for name in SUPPLIED if data.get(name) is None}
    supplied = {} if skip else supplied_by_metadata(document.data, data)
    document = document.completed(data, overrides or {}, supplied)
    try:
        config = load(TrainConfig, document, TRAIN_CHECKS, moved={**LATER_TRAINING_FIELDS, **YOURS})
    except ConfigError as error:
        # What the metadata would have supplied is not missing from the file.
        issues += [issue for issue in error.issues if issue.path not in unknown]
        raise ConfigError(issues) from None
    if issues:
        raise ConfigError(issues)
    return config


def train_yaml(config: TrainConfig) -> str:
    """The text of the run's standalone `train.yaml`.

    Sequifier 1.0.0.6 refuses keys it does not know. The id maps, which may have thousands of lines,
    come last: what people look for in the file stands before them.
    """
    content = config.model_dump()
    content["id_maps"] = content.pop("id_maps")
    for field in description_of(TrainConfig).fields.values():
        if field.is_newer and content[field.section][field.name] == field.default:
            del content[field.section][field.name]
    return dump_yaml(content)


def effective_columns(
    input_columns: list[str], column_types: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """(categorical, real) input columns, both in the order of the metadata's `column_types`."""
    # No set: raw YAML values, which may not be hashable, come through here as well.
    chosen = [(name, kind) for name, kind in column_types.items() if name in input_columns]
    return [n for n, t in chosen if is_categorical(t)], [n for n, t in chosen if is_real(t)]


def filled(data: dict[str, Any], metadata: DataMetadata, project_root: str) -> dict[str, Any]:
    """Root keys of a train config with everything that the metadata supplies."""
    data = dict(data)
    splits = metadata.split_paths
    if splits:
        data.setdefault("training_data_path", split_path(splits[0], project_root))
        last = splits[min(1, len(splits) - 1)]
        data.setdefault("validation_data_path", split_path(last, project_root))
    for key in ("training_data_path", "validation_data_path"):
        if isinstance(data.get(key), str) and data[key].strip():
            data[key] = project_path(data[key], project_root)
    data.setdefault("column_types", dict(metadata.column_types))
    data["n_classes"] = data.get("n_classes") or dict(metadata.n_classes)
    if data.get("input_columns") is None and isinstance(data["column_types"], dict):
        data["input_columns"] = list(data["column_types"])
    if isinstance(data.get("input_columns"), list):
        categorical, real = effective_columns(data["input_columns"], metadata.column_types)
        data["categorical_columns"], data["real_columns"] = categorical, real
    data["id_maps"] = metadata.id_maps
    return data


class SplitFiles(NamedTuple):
    """Where a split is, and how it is stored."""

    path: Path
    form: str
    """csv, parquet or pt."""


def validation_split(config: TrainConfig) -> SplitFiles:
    """The split that chooses a run's best epoch."""
    return SplitFiles(Path(config.validation_data_path), config.read_format)


def split_for_test(config: TrainConfig, metadata: DataMetadata) -> SplitFiles | None:
    """The split that no run reads; None if the data were divided in two."""
    if len(metadata.split_paths) <= _PLACE_OF_TEST:
        return None
    path = split_path(metadata.split_paths[_PLACE_OF_TEST], config.project_root)
    return SplitFiles(Path(path), config.read_format)


def judged_on(config: TrainConfig, split: SplitFiles, *, keeps_training: bool) -> TrainConfig:
    """The run with another split to judge it on, which also stands in for training data."""
    update = {"read_format": split.form, "validation_data_path": str(split.path)}
    if not keeps_training:
        update["training_data_path"] = str(split.path)
    return config.model_copy(update=update)


def training_split(config: TrainConfig) -> SplitFiles:
    """The split that a run learns from."""
    return SplitFiles(Path(config.training_data_path), config.read_format)


def has_training_data(config: TrainConfig) -> bool:
    """Whether the split that the run learns from is here."""
    return Path(config.training_data_path).exists()


def assert_valid(config: TrainConfig) -> TrainConfig:
    """Return a config built by us, after the same checks as a file's.

    Raises:
        ConfigError: If a rule is broken: the compiler of the search space let it through.
    """
    document = YamlDocument("generated run file", config.model_dump())
    issues = [
        document.issue(finding.loc, finding.problem, allowed=finding.allowed, fix=finding.fix)
        for rule in TRAIN_CHECKS
        for finding in rule.find(config)
    ]
    if issues:
        raise ConfigError(issues)
    return config


__all__ = [
    "SUPPLIED",
    "TEST",
    "VALIDATION",
    "ModelSpec",
    "SplitFiles",
    "TrainConfig",
    "TrainingSpec",
    "assert_valid",
    "effective_columns",
    "filled",
    "has_training_data",
    "judged_on",
    "load_train_config",
    "split_for_test",
    "train_yaml",
    "training_split",
    "validation_split",
]
