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
    """The space as plain JSON values: rows of every parameter, and the fixed part."""
    config = space.config
    model, training = (
        config.model_hyperparameter_sampling,
        config.training_hyperparameter_sampling,
    )
    chosen = {f for p in space.parameters for f in p.choices[0].values} | set(space.constants)
    fixed = {
        field: value
        for holder in (config, model, training)
        for field, value in holder.model_dump(mode="json").items()
        if field not in _NOT_IDENTITY and field not in chosen
    }
    return {
        "parameters": {
            parameter.name: [dict(choice.values) for choice in parameter.choices]
            for parameter in space.parameters
        },
        "fixed": {**{field: space.constants[field] for field in sorted(space.constants)}, **fixed},
    }


def fingerprint(description: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical description; rows count, not only their number."""
    return hashlib.sha256(canonical(description).encode()).hexdigest()


def differences(stored: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """What was added, removed or changed between two descriptions, a line each."""
    lines: list[str] = []
    for part in ("parameters", "fixed"):
        before, after = stored.get(part, {}), given.get(part, {})
        for name in [*before, *(name for name in after if name not in before)]:
            if name not in after:
                if name not in given.get("parameters", {}) and name not in given.get("fixed", {}):
                    lines.append(f"- {name}: {canonical(before[name])}")
            elif name not in before:
                lines.append(f"+ {name}: {canonical(after[name])}")
            elif canonical(before[name]) != canonical(after[name]):
                lines.append(f"~ {name}: {canonical(before[name])} -> {canonical(after[name])}")
    return lines
