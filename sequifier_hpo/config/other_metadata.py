"""A train file that is read with a different metadata file, and still names old data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.config.paths import project_path, split_path
from sequifier_hpo.config.yaml_file import YamlDocument
from sequifier_hpo.errors import ConfigError, ConfigIssue

_SPLITS = ("training_data_path", "validation_data_path")


def leftovers_of_own_metadata(
    document: YamlDocument, project_root: str, path: str, metadata: DataMetadata
) -> list[ConfigIssue]:
    """Issues for values of a train file that belong to its own metadata, not to the ones in use.

    A split of the old data would silently be trained on with the new metadata. The user's own paths,
    which are not splits of the file's metadata, may be combined with any metadata.

    Args:
        document: The file as it is.
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
        if document.data.get(key) == old != new:
            problem = f"describes the data of {named}, not those of the other metadata file"
            yield document.issue((key,), problem, fix="remove it: it is then taken from that file")


def _place(path: str, project_root: str) -> Path:
    """One spelling for all that name the same file."""
    return Path(project_path(path, project_root)).resolve()
