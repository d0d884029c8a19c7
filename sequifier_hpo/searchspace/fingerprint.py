"""What makes two search files the same study, and how two that differ do so."""

import hashlib
from collections.abc import Mapping
from typing import Any

from sequifier_hpo.searchspace.parameters import SearchSpace
from sequifier_hpo.searchspace.resolve import canonical

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
        parameter.name: [dict(choice.values) for choice in parameter.choices]
        for parameter in (*space.parameters, *space.fixed)
    }
    searched = {field for rows in candidates.values() for field in rows[0]}
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
            lines.append(f"~ {name}: {canonical(stored[name])} -> {canonical(given[name])}")
    return lines
