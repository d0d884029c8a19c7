"""A model file made to answer at every position of its window, and not only at the last ones.

The validation loss of a search is over all positions, of which a model file computes as many as are
of use for a prediction. What it leaves out is put back, in the same nodes with the same weights.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, numpy_helper

_LAST_BLOCK_SHAPES = {
    "attn.q.split": 1,
    "attn.q.grouped": 2,
    "attn.mixed.ungrouped": 2,
    "attn.mixed.joined": 1,
}
"""Reshapes of the last block -> the axis of their shape that counts positions."""


class NotOursError(Exception):
    """A model is not laid out as `transformer_graph` does."""


def answer_everywhere(model: onnx.ModelProto) -> None:
    """Let a model return, per target, the numbers before any softmax at all positions.

    Its outputs become (T, B, n), in the order that they have.

    Args:
        model: A predicting model of ours, of any version; it is changed.

    Raises:
        NotOursError: If it is laid out in another way.
    """
    try:
        _Widening(model).widen()
    except (KeyError, IndexError, ValueError) as error:
        raise NotOursError(f"it lacks {error}") from error


class _Widening:
    """One model at work."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = model.graph
        self._nodes: dict[str, NodeProto] = {node.name: node for node in model.graph.node}
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._window: int = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value
        self._answered: int = model.graph.output[0].type.tensor_type.shape.dim[0].dim_value
        blocks = [int(n.split(".")[1]) for n in self._nodes if n.startswith("layers.")]
        self._last = f"layers.{max(blocks)}"

    def widen(self) -> None:
        """Change the graph."""
        if self._answered != self._window:
            self._look_at_all()
        for output in self._graph.output:
            output.type.tensor_type.shape.dim[0].dim_value = self._window
            node = self._nodes[output.name]
            if node.op_type == "LogSoftmax":
                output.name = node.input[0]

    def _look_at_all(self) -> None:
        start = self._add("every_position.start", np.zeros(1, dtype=np.int64))
        for name in ("queries", "stream"):
            if (node := self._nodes.get(f"{self._last}.{name}")) is not None:
                node.input[1] = start
        for name, axis in _LAST_BLOCK_SHAPES.items():
            if (node := self._nodes.get(f"{self._last}.{name}")) is not None:
                shape = self._value(node.input[1]).copy()
                shape[axis] = shape[axis] // self._answered * self._window
                node.input[1] = self._add(f"every_position.{name}", shape)
        masked = self._nodes[f"{self._last}.attn.masked_scores"]
        group = len(self._value(masked.input[1])) // self._answered
        mask = np.triu(np.full((self._window,) * 2, -np.inf, dtype=np.float32), k=1)
        masked.input[1] = self._add("every_position.mask", np.tile(mask, (group, 1)))
        for name in ("along", "across"):
            if (node := self._nodes.get(f"{self._last}.attn.q.rope.{name}")) is not None:
                # The keys of the same block have the angles of all positions.
                node.input[1] = self._nodes[f"{self._last}.attn.k.rope.{name}"].input[1]

    def _value(self, name: str) -> NDArray[np.generic]:
        return numpy_helper.to_array(self._constants[name])

    def _add(self, name: str, value: NDArray[np.generic]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name
