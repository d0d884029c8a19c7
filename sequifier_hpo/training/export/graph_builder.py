"""Collects the nodes and constants of one ONNX graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 17
"""The first operator set with LayerNormalization; every onnxruntime since 1.12 runs it."""
IR_VERSION = 8
"""File format version that belongs to opset 17."""
BATCH_AXIS = "batch"
"""Name of the axis that may have any length."""


class GraphBuilder:
    """An ONNX graph under construction; tensors are spoken of by name.

    Inputs carry the names of columns. Every other name must hold a dot, which the name of a column
    never does, so that a column cannot clash with an inner tensor.
    """

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        """Declare an input; a text in `shape` names an axis of any length."""
        self._inputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def output(self, name: str, shape: Sequence[int | str]) -> None:
        """Declare a tensor as a float32 output; a text in `shape` names an axis of any length."""
        self._outputs.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))

    def constant(self, name: str, value: NDArray[Any]) -> str:
        """Store an array under a name of its own."""
        assert name not in self._constants, name
        # Raw bytes: as lists of Python numbers, weights would take a hundred times longer.
        self._constants[name] = numpy_helper.from_array(np.asarray(value, order="C"), name)
        return name

    def integers(self, *values: int) -> str:
        """A one-axis int64 constant, stored once for all that use the same numbers."""
        name = "integers." + "_".join(map(str, values))
        if name in self._constants:
            return name
        return self.constant(name, np.array(values, dtype=np.int64))

    def shared(self, name: str, value: NDArray[Any]) -> str:
        """Store an array that several layers use; the first one stored under the name is kept."""
        return name if name in self._constants else self.constant(name, value)

    def node(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output, which carries the node's name."""
        self._nodes.append(helper.make_node(operator, inputs, (name,), name=name, **attributes))
        return name

    def halves(self, name: str, x: str, width: int) -> tuple[str, str]:
        """Split the last axis, of length 2 * `width`, in the middle."""
        outputs = (f"{name}.0", f"{name}.1")
        inputs = (x, self.integers(width, width))
        self._nodes.append(helper.make_node("Split", inputs, outputs, name=name, axis=-1))
        return outputs

    def model(self, graph_name: str) -> onnx.ModelProto:
        """The finished model."""
        graph = helper.make_graph(
            self._nodes,
            graph_name,
            self._inputs,
            self._outputs,
            initializer=list(self._constants.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
