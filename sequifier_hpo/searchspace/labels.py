"""How values of the search file are shown: in Optuna's dashboard, in tables and logs."""

from collections.abc import Collection, Mapping
from typing import Any

from sequifier_hpo.config.ranges import NumberRange

_MAX_LABEL = 80  # characters: what a table of the dashboard can show


def label(index: int, text: str) -> str:
    """A unique label that begins with the index of its choice."""
    shown = f"{index}: {text}"
    return shown if len(shown) <= _MAX_LABEL else shown[: _MAX_LABEL - 3] + "..."


def value_text(value: Any) -> str:
    """A value of the search file, short enough for a table."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict) and "name" in value:
        arguments = [f"{k}={_inner(v)}" for k, v in value.items() if k != "name"]
        return " ".join([str(value["name"]), *arguments])
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {value_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_inner(item) for item in value) + "]"
    return str(value)


def _inner(value: Any) -> str:
    """A value beside others."""
    return f"({value})" if isinstance(value, NumberRange) else value_text(value)


def row_text(row: Mapping[str, Any], varying: Collection[str]) -> str:
    """A row of a linked group, the anchor first; of the others those that vary and say anything."""
    anchor, *others = row
    value = row[anchor]
    if not others:
        return ", ".join(value) if isinstance(value, list) else value_text(value)
    parts = [f"{anchor}={_inner(value)}"]
    parts += [
        f"{field}={_inner(row[field])}"
        for field in others
        if field in varying and row[field] is not None and row[field] != value
    ]
    return " ".join(parts)
