"""The metadata that a run file or a search file is read with, perhaps in place of its own."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.config.paths import project_path, split_path
from sequifier_hpo.config.yaml_file import YamlDocument
from sequifier_hpo.errors import ConfigError, ConfigIssue

_SPLITS = ("training_data_path", "validation_data_path")


def metadata_file(data: Mapping[str, Any]) -> Path | None:
    """The metadata file that the root keys of a file name; None if they name none."""
    path, root = data.get("metadata_config_path"), data.get("project_root")
    if not isinstance(path, str) or not isinstance(root, str):
        return None
    return Path(project_path(path, root))


def supplied_by_metadata(
    in_file: Mapping[str, Any], completed: Mapping[str, Any]
) -> dict[str, tuple[str, str]]:
    """Root keys that a file lacks -> the metadata file that supplied them, and the key in it."""
    source = metadata_file(completed)
    return {
        key: (str(source), _supplier(key))
        for key, value in completed.items()
        if value and in_file.get(key) is None and source is not None
    }


def _supplier(key: str) -> str:
    if key in DataMetadata.model_fields:
        return key
    return "split_paths" if key.endswith("_path") else "column_types"


def metadata_in_use(document: YamlDocument, data: Mapping[str, Any]) -> DataMetadata | None:
    """The metadata of the data that a file is to be read with.

    Args:
        document: The file as it is.
        data: Its root keys, those of the command line among them.

    Returns:
        None if the keys that say where they are are missing or mistyped: the model reports them.

    Raises:
        ConfigError: If they cannot be read, or the file names data of its own metadata instead.
    """
    file = metadata_file(data)
    if file is None:
        return None
    path, root = data["metadata_config_path"], data["project_root"]
    where = document.issue(("metadata_config_path",), "")
    metadata = read_metadata(file, where=where)
    if issues := _leftovers_of_own_metadata(document, root, path, metadata):
        raise ConfigError(issues)
    return metadata


def _leftovers_of_own_metadata(
    document: YamlDocument, project_root: str, path: str, metadata: DataMetadata
) -> list[ConfigIssue]:
    """Issues for values of a file that belong to its own metadata, not to the ones in use.

    A split of the old data would silently be trained on with the new metadata. The user's own paths,
    which are not splits of the file's metadata, may be combined with any metadata.

    Args:
        document: The run file or search file as it is.
        project_root: What relative paths start from.
        path: The metadata file that is read instead of the one that stands in the file.
        metadata: Its content.
    """
    named = document.data.get("metadata_config_path")
    if not isinstance(named, str) or _place(named, project_root) == _place(path, project_root):
        return []
    try:
        own = read_metadata(Path(project_path(named, project_root)))
    except ConfigError:
        return []  # then the owner of the splits is unknown
    own_splits, splits = (
        {Path(split_path(split, project_root)).resolve() for split in source.split_paths}
        for source in (own, metadata)
    )
    issues = []
    for key in _SPLITS:
        value = document.data.get(key)
        if isinstance(value, str) and _place(value, project_root) in own_splits - splits:
            problem = f"{value} is a split of {named}, but the file is read with {path}"
            fix = f"remove the line ({path} names its own splits), or point it at other data"
            issues.append(document.issue((key,), problem, fix=fix))
    if issues:
        issues += _other_descriptions(document, own, metadata, named)
    return issues


def _other_descriptions(
    document: YamlDocument, own: DataMetadata, metadata: DataMetadata, named: str
) -> Iterator[ConfigIssue]:
    """Types and classes of columns that the file has from the metadata that it names."""
    descriptions: dict[str, tuple[Any, Any]] = {
        "column_types": (own.column_types, metadata.column_types),
        "n_classes": (own.n_classes, metadata.n_classes),
    }
    for key, (old, new) in descriptions.items():
        value = document.data.get(key)
        said = value if isinstance(value, list) else [value]  # a search file has one per input set
        if old != new and old in said:
            problem = f"describes the data of {named}, not those of the other metadata file"
            yield document.issue((key,), problem, fix="remove it: it is then taken from that file")


def _place(path: str, project_root: str) -> Path:
    """One spelling for all that name the same file."""
    return Path(project_path(path, project_root)).resolve()
