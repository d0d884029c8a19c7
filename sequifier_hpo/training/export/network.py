"""The pieces that all parts of the exported network are made of: linear layers, norms, dropout."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sequifier_hpo.config.train import ModelSpec
from sequifier_hpo.training.export.graph_builder import GraphBuilder

Weights = Mapping[str, NDArray[np.float32]]
"""A model's state dict as float32 arrays."""

_RMS_NORM_EPSILON = 1e-6
_LAYER_NORM_EPSILON = 1e-5


@dataclass(frozen=True)
class Network:
    """What is needed to write a part of the network into a graph.

    Methods append nodes and return the name of the tensor they make.
    """

    graph: GraphBuilder
    weights: Weights
    spec: ModelSpec
    window: int
    """Number of positions T."""
    dropout: float
    """Probability of dropout in the exported model; 0 = no dropout nodes."""

    def matmul(self, name: str, x: str, weight: NDArray[np.float32]) -> str:
        """Multiply the last axis with a weight in torch's layout, (outputs, inputs)."""
        return self.graph.node("MatMul", name, x, self.graph.constant(f"{name}.weight", weight.T))

    def linear(self, name: str, x: str, *layers: str) -> str:
        """Linear layer with bias; several layers are stacked along the output axis."""
        weight = np.concatenate([self.weights[f"{layer}.weight"] for layer in layers])
        bias = np.concatenate([self.weights[f"{layer}.bias"] for layer in layers])
        stored = self.graph.constant(f"{name}.weight", weight.T)
        product = self.graph.node("MatMul", f"{name}.matmul", x, stored)
        return self.graph.node("Add", name, product, self.graph.constant(f"{name}.bias", bias))

    def norm(self, name: str, x: str) -> str:
        """RMS norm or layer norm over the last axis, with the weights of that name."""
        weight = self.graph.constant(f"{name}.weight", self.weights[f"{name}.weight"])
        if self.spec.normalization == "layer_norm":
            bias = self.graph.constant(f"{name}.bias", self.weights[f"{name}.bias"])
            return self.graph.node(
                "LayerNormalization", name, x, weight, bias, axis=-1, epsilon=_LAYER_NORM_EPSILON
            )
        # Spelled as onnxruntime expects it, so that it fuses the six nodes into one kernel.
        squares = self.graph.node("Pow", f"{name}.squares", x, self.number("two", 2.0))
        mean = self.graph.node("ReduceMean", f"{name}.mean", squares, axes=[-1])
        epsilon = self.number("rms_norm_epsilon", _RMS_NORM_EPSILON)
        shifted = self.graph.node("Add", f"{name}.shifted", mean, epsilon)
        scale = self.graph.node("Sqrt", f"{name}.scale", shifted)
        normed = self.graph.node("Div", f"{name}.normed", x, scale)
        return self.graph.node("Mul", name, normed, weight)

    def drop(self, x: str) -> str:
        """Dropout that stays active at inference; nothing in a network without dropout.

        onnxruntime removes even active dropout, unless its pass EliminateDropout is disabled, which
        Sequifier's `infer_with_dropout` does.
        """
        if self.dropout == 0:
            return x
        name = f"{x}.dropped"
        if self.dropout == 1:  # ONNX demands a ratio below 1; torch returns zeros
            return self.graph.node("Mul", name, x, self.number("zero", 0.0))
        ratio = self.number("dropout_ratio", self.dropout)
        is_active = self.graph.shared("numbers.dropout_is_active", np.ones((), dtype=np.bool_))
        return self.graph.node("Dropout", name, x, ratio, is_active)

    def newest(self, name: str, x: str, num_positions: int) -> str:
        """The last positions: (B, T, D) -> (B, num_positions, D)."""
        if num_positions == self.window:
            return x
        start = self.graph.integers(self.window - num_positions)
        end, axis = self.graph.integers(self.window), self.graph.integers(1)
        return self.graph.node("Slice", name, x, start, end, axis)

    def number(self, name: str, value: float) -> str:
        """A float32 constant without axes, stored once."""
        return self.graph.shared(f"numbers.{name}", np.array(value, dtype=np.float32))
