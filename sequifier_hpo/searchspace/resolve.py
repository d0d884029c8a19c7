"""Dependent values: what a chosen value becomes in combination with the others, and why.

Each rule declares the fields it reads. Nothing here can fail: what no rule can repair is refused
when the search file is loaded.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sequifier_hpo.config.widths import allocate_widths, equal_to_default


@dataclass(frozen=True)
class Adjustment:
    """A value that differs from the one chosen, with the reason."""

    field: str
    given: Any
    used: Any
    reason: str

    def __str__(self) -> str:
        given, used = _text(self.given), _text(self.used)
        return f"{self.field}: {given} -> {used} ({self.reason})"


def resolve(
    values: Mapping[str, Any], column_order: Sequence[str]
) -> tuple[dict[str, Any], list[Adjustment]]:
    """Apply all rules to the values of one cell.

    Returns:
        The values as they are trained and written, and what was adjusted.
    """
    resolved = dict(values)
    _order_columns(resolved, column_order)
    return resolved, [adjustment for rule in RULES for adjustment in rule.apply(resolved)]


def _reconcile_attention(values: dict[str, Any]) -> Iterable[Adjustment]:
    """Sequifier's rules: mha has no n_kv_heads, mqa has 1, gqa a divisor of n_head."""
    kind, num_kv, num_heads = values["attention_type"], values["n_kv_heads"], values["n_head"]
    if kind == "mha" and num_kv is not None:
        values["n_kv_heads"] = None
        if num_kv != num_heads:
            yield Adjustment("n_kv_heads", num_kv, None, "mha has as many as n_head")
    elif kind == "mqa" and num_kv != 1:
        values["n_kv_heads"] = 1
        yield Adjustment("n_kv_heads", num_kv, 1, "mqa has one key/value head")
    elif kind == "gqa" and (num_kv is None or num_heads % num_kv):
        values["attention_type"], values["n_kv_heads"] = "mha", None
        why = "is null" if num_kv is None else f"{num_kv} does not divide n_head = {num_heads}"
        if num_kv is not None:
            yield Adjustment("n_kv_heads", num_kv, None, why)
        yield Adjustment("attention_type", "gqa", "mha", f"n_kv_heads {why}")


def _order_columns(values: dict[str, Any], column_order: Sequence[str]) -> None:
    """Sequifier wants columns in the order of the metadata; the network never sees another."""
    position = {column: i for i, column in enumerate(column_order)}
    values["input_columns"] = sorted(values["input_columns"], key=position.__getitem__)
    if values["feature_embedding_dims"] is not None:
        widths = values["feature_embedding_dims"]
        values["feature_embedding_dims"] = {c: widths[c] for c in values["input_columns"]}


def embedding_widths(values: Mapping[str, Any]) -> Mapping[str, int]:
    """Per input column: as written, else as the total is shared out."""
    if values["feature_embedding_dims"] is not None:
        written: Mapping[str, int] = values["feature_embedding_dims"]
        return written
    shared = allocate_widths(
        values["initial_embedding_dim"], values["categorical_columns"], values["real_columns"]
    )
    assert shared is not None, "the search file's checks let a too narrow embedding through"
    return shared


def num_kv_heads(values: Mapping[str, Any]) -> int:
    """Number of key/value heads; all that attention depends on: `mqa` is `gqa` with one."""
    return int(values["n_kv_heads"] or values["n_head"])


def _write_widths(values: dict[str, Any]) -> Iterable[Adjustment]:
    """Spell out the embedding widths where Sequifier would refuse to share them out."""
    if values["feature_embedding_dims"] is not None:
        return
    categorical, real = values["categorical_columns"], values["real_columns"]
    width = values["initial_embedding_dim"]
    shared_by = len(categorical)
    refused = shared_by and max(values["dim_model"], values["n_head"]) % shared_by
    if equal_to_default(width, categorical, real) and not (refused and not real):
        return
    widths = embedding_widths(values)
    values["feature_embedding_dims"] = {c: widths[c] for c in values["input_columns"]}
    yield Adjustment(
        "feature_embedding_dims",
        None,
        values["feature_embedding_dims"],
        f"initial_embedding_dim = {width} shared out among the input columns",
    )


@dataclass(frozen=True)
class Rule:
    """A dependence between fields: what it reads, and what it makes of the values."""

    reads: frozenset[str]
    apply: Callable[[dict[str, Any]], Iterable[Adjustment]]


ATTENTION = frozenset({"n_head", "attention_type", "n_kv_heads"})
"""The fields that decide the number of key/value heads."""
RULES = (
    Rule(ATTENTION, _reconcile_attention),
    Rule(frozenset({"initial_embedding_dim", "input_columns"}), _write_widths),
)


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {v}" for k, v in value.items()) + "}"
    return str(value)
