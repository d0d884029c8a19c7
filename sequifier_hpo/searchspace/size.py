"""How large a configuration is: parameters, and roughly how much memory training takes."""

from collections.abc import Mapping
from typing import Any

from sequifier_hpo.records import Counted
from sequifier_hpo.searchspace.resolve import embedding_widths, num_kv_heads

_BYTES = 4  # float32
# Copies of every parameter while training: weights, gradients, two moments, best weights so far.
_PARAMETER_COPIES = 5


def num_parameters(
    values: Mapping[str, Any], n_classes: Mapping[str, int], target_types: Mapping[str, str]
) -> int:
    """Number of trained parameters of a cell's resolved values.

    Source: the shapes of Sequifier's state dict, counted in closed form.
    """
    width, inner, depth = values["dim_model"], values["dim_feedforward"], values["num_layers"]
    embedding = values["initial_embedding_dim"]
    widths = embedding_widths(values)
    total = sum(n_classes[column] * widths[column] for column in values["categorical_columns"])
    total += sum(2 * widths[column] for column in values["real_columns"] if widths[column] > 1)
    if values["joint_embedding_dim"] is not None:
        total += width * embedding + width
    if values["positional_encoding"] == "learned":
        total += values["seq_length"] * embedding
    norm = width if values["normalization"] == "rmsnorm" else 2 * width
    kv_width = width // values["n_head"] * num_kv_heads(values)
    attention = 2 * width * width + 2 * width * kv_width
    matrices = 3 if values["activation_fn"] == "swiglu" else 2
    feedforward = matrices * width * inner + (matrices - 1) * inner + width
    total += depth * (2 * norm + attention + feedforward)
    total += norm if values["norm_first"] else 0
    for column, kind in target_types.items():
        num_outputs = n_classes[column] if kind == "categorical" else 1
        total += num_outputs * (width + 1)
    return int(total)


def positions_counted(values: Mapping[str, Any], counted: Counted) -> int:
    """How many positions at the end of each window the validation loss of a cell counts."""
    length = int(values["seq_length"])
    return min(counted.last_positions or length, length)


def training_bytes(
    values: Mapping[str, Any],
    num_trained: int,
    n_classes: Mapping[str, int],
    target_types: Mapping[str, str],
) -> int:
    """Rough memory of a training step in bytes, without torch itself and the data.

    Counts the tensors that the backward pass needs; good to about a factor of two.
    """
    positions = values["batch_size"] * values["seq_length"]
    width, inner = values["dim_model"], values["dim_feedforward"]
    per_layer = 10 * width + (4 if values["activation_fn"] == "swiglu" else 3) * inner
    scores = 3 * values["n_head"] * values["seq_length"]
    outputs = sum(
        n_classes[column] if kind == "categorical" else 1 for column, kind in target_types.items()
    )
    activations = positions * (
        values["num_layers"] * (per_layer + scores)
        + 3 * values["initial_embedding_dim"]
        + 3 * outputs
    )
    return _BYTES * int(_PARAMETER_COPIES * num_trained + activations)
