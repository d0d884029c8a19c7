"""What makes two search files the same study, and how two that differ do so."""

import hashlib
from collections.abc import Mapping
from typing import Any

from sequifier_hpo.searchspace.parameters import SearchSpace
from sequifier_hpo.searchspace.canonical import canonical

# What may change between two starts of the same study: where things are, how many runs, how fast.
_NOT_IDENTITY = frozenset(
    {
        "project_root",
        "metadata_config_path",
        "model_config_write_path",
        "training_data_path",
        "validation_data_path",
        "n_samples",
        "search_strategy",
        "hp_search_name",
        "override_input",
        "storage",
        "workers",
        "max_consecutive_failures",
        "export",
        "on_out_of_memory",
        "inference_batch_size",
        "id_maps",
        "export_generative_model",
        "export_embedding_model",
        "export_onnx",
        "export_pt",
        "export_with_dropout",
        "device",
        "log_interval",
        "class_share_log_columns",
        "save_interval_epochs",
        "continue_training",
        "num_workers",
        "torch_compile",
        "max_ram_gb",
        "load_full_data_to_ram",
        "backend",
        "device_max_concat_length",
        "model_hyperparameter_sampling",
        "training_hyperparameter_sampling",
    }
)


def describe_space(space: SearchSpace) -> dict[str, Any]:
    """The space as plain JSON values: name -> rows of every parameter, and the fixed part."""
    config = space.config
    candidates = {
        parameter.name: [_row(parameter.name, choice.values) for choice in parameter.choices]
        for parameter in (*space.parameters, *space.fixed)
    }
    searched = {f for p in (*space.parameters, *space.fixed) for f in p.choices[0].values}
    holders = (
        config,
        config.model_hyperparameter_sampling,
        config.training_hyperparameter_sampling,
    )
    fixed = {
        field: value
        for holder in holders
        for field, value in holder.model_dump(mode="json").items()
        if field not in _NOT_IDENTITY and field not in searched
    }
    return {**fixed, **candidates}


def fingerprint(description: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical description; rows count, not only their number."""
    return hashlib.sha256(canonical(description).encode()).hexdigest()


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What was added, removed or changed between two descriptions, a line each."""
    lines: list[str] = []
    for name in sorted({*stored, *given}):
        if name not in given:
            lines.append(f"- {name}: {canonical(stored[name])}")
        elif name not in stored:
            lines.append(f"+ {name}: {canonical(given[name])}")
        elif canonical(stored[name]) != canonical(given[name]):
            lines += _changes(name, stored[name], given[name])
    return lines


def _changes(name: str, before: Any, after: Any) -> list[str]:
    """Per row where two lists of linked rows differ, else in one line."""
    has_rows = all(isinstance(part, list) and part for part in (before, after)) and all(
        isinstance(row, dict) for row in (*before, *after)
    )
    if not has_rows:
        return [f"~ {name}: {canonical(before)} -> {canonical(after)}"]
    lines = []
    for i in range(max(len(before), len(after))):
        if i >= len(after):
            lines.append(f"- {name}[{i}]: {canonical(before[i])}")
        elif i >= len(before):
            lines.append(f"+ {name}[{i}]: {canonical(after[i])}")
        elif canonical(before[i]) != canonical(after[i]):
            lines.append(f"~ {name}[{i}]: {canonical(before[i])} -> {canonical(after[i])}")
    return lines


def _row(name: str, values: Mapping[str, Any]) -> Any:
    """The value of an independent field, or the whole row of a linked group."""
    return values[name] if set(values) == {name} else dict(values)
