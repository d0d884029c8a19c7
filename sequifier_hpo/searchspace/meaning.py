"""What values mean for a training: equal meaning, equal weights and an equal result.

Nearly every field means what it says. The exceptions are here: fields without effect in
combination with others, and two spellings of the same value.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

from sequifier_hpo.searchspace.resolve import ATTENTION, embedding_widths, num_kv_heads


class _Absent(Enum):
    ABSENT = "means nothing beside the other values, or nothing that they do not say"


_ABSENT = _Absent.ABSENT
Values = Mapping[str, Any]


def meaning(resolved: Values, fields: Iterable[str]) -> dict[str, Any]:
    """What the given fields mean, as plain JSON values.

    Args:
        resolved: Values after `resolve`: of these fields, and of those they are looked at with.
        fields: Fields that influence the weights or the selection.
    """
    means = {
        field: _READ[field](resolved) if field in _READ else resolved[field] for field in fields
    }
    return {field: value for field, value in means.items() if value is not _ABSENT}


def columns_read(values: Values) -> set[str]:
    """Columns of the data that a run with these values reads."""
    return {
        *values["categorical_columns"],
        *values["real_columns"],
        *values["target_columns"],
    }


def _n_classes(values: Values) -> list[list[Any]]:
    """Of the columns that are read as ids, in order: in that order their tables are drawn."""
    kinds = values["target_column_types"]
    ids = {*values["categorical_columns"], *(c for c in kinds if kinds[c] == "categorical")}
    return [[column, number] for column, number in values["n_classes"].items() if column in ids]


def _loss_weights(values: Values) -> Any:
    return values["loss_weights"] or dict.fromkeys(values["target_columns"], 1.0)


_READ: Mapping[str, Callable[[Values], Any]] = {
    # The network sees categorical and real columns, each in the order of the metadata.
    "input_columns": lambda _: _ABSENT,
    # Spelled out: widths that are shared out can be the same as written ones.
    "feature_embedding_dims": embedding_widths,
    "n_classes": _n_classes,
    "attention_type": lambda _: _ABSENT,
    "n_kv_heads": num_kv_heads,
    "rope_theta": lambda v: v["rope_theta"] if v["positional_encoding"] == "rope" else _ABSENT,
    "accumulation_steps": lambda v: v["accumulation_steps"] or 1,
    "loss_weights": _loss_weights,
    "layer_autocast": lambda v: bool(v["layer_autocast"]) if v["layer_type_dtypes"] else _ABSENT,
}

# Searched fields that must be looked at together to know what a run is. Embedding widths are not
# among them as long as none are written: then different widths are different runs in any case.
INTERACTIONS = (
    ATTENTION,
    frozenset({"positional_encoding", "rope_theta"}),
)
