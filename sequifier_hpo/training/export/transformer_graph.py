"""The transformer as an ONNX graph, written node by node from its weights.

Torch's exporter takes seconds a model; the nodes of our one family of architectures are written in
about a millisecond. What can be computed once becomes a constant: scaled embeddings, position
tables with biases, rotary angles, the causal mask. Positions that nobody reads are dropped as
early as possible.

Axes: B batch, T window, P prediction length, D residual stream, E embedding width.
"""

import math

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.export.attention import attention
from sequifier_hpo.training.export.graph_builder import BATCH_AXIS, GraphBuilder
from sequifier_hpo.training.export.network import Network, Weights

EMBEDDING_OUTPUT = "sequence.embedding"


def output_names(config: TrainConfig, *, is_embedding_model: bool) -> list[str]:
    """Names of a model's outputs, in order; each says what its numbers are."""
    if is_embedding_model:
        return [EMBEDDING_OUTPUT]
    kinds = {"categorical": "log_probabilities", "real": "standardised_value"}
    return [f"{t}.{kinds[config.target_column_types[t]]}" for t in config.target_columns]


def build_transformer(
    config: TrainConfig, weights: Weights, *, is_embedding_model: bool, dropout: float = 0.0
) -> onnx.ModelProto:
    """Build the ONNX model of one state.

    Its inputs, by position: one (B, T) tensor per input column, named like it, the categorical
    ones (int64 ids) before the real ones (float32). Its outputs: one (P, B, n) tensor per target
    in `target_columns` order, log-probabilities or the standardised value; of an embedding model
    the one tensor (P, B, D). B is free.

    Args:
        config: The run.
        weights: The state; the shapes in it decide about widths and key/value heads.
        is_embedding_model: Whether the output is the embedding instead of the predictions.
        dropout: Probability of the dropout that stays active in the file; 0 = none.
    """
    graph = GraphBuilder()
    spec = config.model_spec
    net = Network(graph, weights, spec, config.seq_length, dropout)
    x = _embed(net, config)
    for layer in range(spec.num_layers):
        is_last = layer == spec.num_layers - 1
        # In the last block, positions that nobody reads are needed as keys and values only.
        x = _block(net, f"layers.{layer}", x, spec.prediction_length if is_last else net.window)
    if spec.norm_first:
        x = net.norm("final_norm", x)
    outputs = output_names(config, is_embedding_model=is_embedding_model)
    if is_embedding_model:
        graph.node("Transpose", EMBEDDING_OUTPUT, x, perm=(1, 0, 2))
        graph.output(EMBEDDING_OUTPUT, (spec.prediction_length, BATCH_AXIS, spec.dim_model))
    else:
        x = graph.node("Transpose", "heads.input", x, perm=(1, 0, 2))
        for target, output in zip(config.target_columns, outputs, strict=True):
            _head(net, x, config, target, output)
    return graph.model(config.model_name)


def _embed(net: Network, config: TrainConfig) -> str:
    """All input columns -> (B, T, D)."""
    graph, scale = net.graph, np.float32(math.sqrt(net.spec.initial_embedding_dim))
    features, biases = [], []
    for column in config.categorical_columns:
        table = scale * net.weights[f"encoder.{column}.weight"]
        ids = graph.input(column, TensorProto.INT64, (BATCH_AXIS, net.window))
        stored = graph.constant(f"encoder.{column}.table", table)
        features.append(graph.node("Gather", f"encoder.{column}", stored, ids))
        biases.append(np.zeros(table.shape[1], dtype=np.float32))
    for column in config.real_columns:
        # A feature of width 1 has no parameters: it is the value itself.
        weight = net.weights.get(f"encoder.{column}.weight", np.ones((1, 1), dtype=np.float32))
        bias = net.weights.get(f"encoder.{column}.bias", np.zeros(1, dtype=np.float32))
        values = graph.input(column, TensorProto.FLOAT, (BATCH_AXIS, net.window))
        values = graph.node("Unsqueeze", f"encoder.{column}.values", values, graph.integers(2))
        row = graph.constant(f"encoder.{column}.row", scale * weight[:, 0])
        features.append(graph.node("Mul", f"encoder.{column}", values, row))
        biases.append(scale * bias)
    x = features[0]
    if len(features) > 1:
        x = graph.node("Concat", "embedding.features", *features, axis=-1)
    offset = np.concatenate(biases) + _positions(net, config)
    if offset.any():
        offset_name = graph.constant("embedding.offset", offset)
        x = graph.node("Add", "embedding.positioned", x, offset_name)
    x = net.drop(x)  # one node for all columns: dropout is independent per element anyway
    if net.spec.joint_embedding_dim is not None:
        x = net.linear("joint_embedding_layer", x, "joint_embedding_layer")
    return x


def _positions(net: Network, config: TrainConfig) -> NDArray[np.float32]:
    """The learned position tables of all features side by side, (T, E); zeros (E) under rope."""
    if net.spec.positional_encoding == "rope":
        return np.zeros(net.spec.initial_embedding_dim, dtype=np.float32)
    columns = (*config.categorical_columns, *config.real_columns)
    return np.concatenate([net.weights[f"pos_encoder.{c}.weight"] for c in columns], axis=1)


def _block(net: Network, prefix: str, x: str, num_queries: int) -> str:
    """One block, of which the last positions are wanted: (B, T, D) -> (B, num_queries, D)."""
    graph, norm_first = net.graph, net.spec.norm_first
    context = net.norm(f"{prefix}.norm1", x) if norm_first else x
    queries = net.newest(f"{prefix}.queries", context, num_queries)
    stream = net.newest(f"{prefix}.stream", x, num_queries) if norm_first else queries
    update = net.drop(attention(net, f"{prefix}.attn", queries, context, num_queries))
    x = graph.node("Add", f"{prefix}.attended", stream, update)
    if norm_first:
        normed = net.norm(f"{prefix}.norm2", x)
        update = net.drop(_feed_forward(net, f"{prefix}.ff", normed))
        return graph.node("Add", f"{prefix}.fed", x, update)
    x = net.norm(f"{prefix}.norm1", x)
    update = net.drop(_feed_forward(net, f"{prefix}.ff", x))
    return net.norm(f"{prefix}.norm2", graph.node("Add", f"{prefix}.fed", x, update))


def _feed_forward(net: Network, prefix: str, x: str) -> str:
    """(B, positions, D) -> (B, positions, D).

    Source: Shazeer 2020, arXiv:2002.05202, for swiglu.
    """
    if net.spec.activation_fn == "swiglu":
        both = net.linear(f"{prefix}.inner", x, f"{prefix}.w1", f"{prefix}.w2")
        gate, value = net.graph.halves(f"{prefix}.halves", both, net.spec.dim_feedforward)
        sigmoid = net.graph.node("Sigmoid", f"{prefix}.sigmoid", gate)
        gate = net.graph.node("Mul", f"{prefix}.gate", gate, sigmoid)
        x = net.graph.node("Mul", f"{prefix}.gated", gate, value)
        return net.linear(f"{prefix}.output", net.drop(x), f"{prefix}.w3")
    x = net.linear(f"{prefix}.inner", x, f"{prefix}.linear1")
    x = _gelu(net, prefix, x) if net.spec.activation_fn == "gelu" else _relu(net, prefix, x)
    return net.linear(f"{prefix}.output", net.drop(x), f"{prefix}.linear2")


def _relu(net: Network, prefix: str, x: str) -> str:
    return net.graph.node("Relu", f"{prefix}.relu", x)


def _gelu(net: Network, prefix: str, x: str) -> str:
    """Exact gelu, x / 2 * (1 + erf(x / sqrt(2)))."""
    graph = net.graph  # opset 17 has no Gelu, but runtimes fuse these nodes to one
    scaled = graph.node("Div", f"{prefix}.scaled", x, net.number("sqrt_two", math.sqrt(2)))
    erf = graph.node("Erf", f"{prefix}.erf", scaled)
    share = graph.node("Add", f"{prefix}.share", erf, net.number("one", 1.0))
    product = graph.node("Mul", f"{prefix}.product", x, share)
    return graph.node("Mul", f"{prefix}.gelu", product, net.number("half", 0.5))


def _head(net: Network, x: str, config: TrainConfig, target: str, output: str) -> None:
    """(P, B, D) -> the target's output (P, B, n)."""
    graph = net.graph
    name = f"decoder.{target}"
    num_outputs = len(net.weights[f"{name}.bias"])
    shape = (net.spec.prediction_length, BATCH_AXIS, num_outputs)
    graph.output(output, shape)
    if config.target_column_types[target] == "categorical":
        graph.node("LogSoftmax", output, net.linear(name, x, name), axis=-1)
    else:
        net.linear(output, x, name)
