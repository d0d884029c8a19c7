"""Runs an exported graph again, so that a file can be checked where no ONNX runtime is installed.

Only the operators that our own graphs are made of. `onnx.reference` knows all of ONNX, but takes
four times as long for a small model, and half a second for the erfs of a large one.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import Tensor
from torch.nn import functional


class Program:
    """A model made ready to be run, as often as wanted."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """Read the graph.

        Args:
            model: A model whose operators are all in this module, without active dropout.
        """
        self._constants = {
            constant.name: torch.from_numpy(np.array(numpy_helper.to_array(constant)))
            for constant in model.graph.initializer
        }
        self._steps = [
            (
                partial(
                    _OPERATORS[node.op_type],
                    **{a.name: helper.get_attribute_value(a) for a in node.attribute},
                ),
                tuple(node.input),
                tuple(node.output),
            )
            for node in model.graph.node
        ]
        self._outputs = [output.name for output in model.graph.output]

    def run(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Compute the outputs, in order, from one tensor per input of the model."""
        tensors = {**self._constants, **inputs}
        for operator, sources, targets in self._steps:
            result = operator(*[tensors[name] for name in sources])
            if isinstance(result, Tensor):
                tensors[targets[0]] = result
            else:
                tensors.update(zip(targets, result, strict=True))
        return [tensors[name] for name in self._outputs]


def _concat(*parts: Tensor, axis: int) -> Tensor:
    return torch.cat(parts, dim=axis)


def _gather(table: Tensor, ids: Tensor) -> Tensor:
    return table[ids]


def _layer_normalization(
    x: Tensor, weight: Tensor, bias: Tensor, *, axis: int, epsilon: float
) -> Tensor:
    assert axis == -1
    return functional.layer_norm(x, weight.shape, weight, bias, epsilon)


def _log_softmax(x: Tensor, *, axis: int) -> Tensor:
    return torch.log_softmax(x, dim=axis)


def _reduce_mean(x: Tensor, *, axes: Sequence[int]) -> Tensor:
    return x.mean(dim=tuple(axes), keepdim=True)


def _reshape(x: Tensor, shape: Tensor) -> Tensor:
    # A 0 in the shape copies that axis of the input.
    return x.reshape([size or x.shape[axis] for axis, size in enumerate(shape.tolist())])


def _slice(x: Tensor, starts: Tensor, ends: Tensor, axes: Tensor) -> Tensor:
    for start, end, axis in zip(starts.tolist(), ends.tolist(), axes.tolist(), strict=True):
        x = x.narrow(axis, start, end - start)
    return x


def _softmax(x: Tensor, *, axis: int) -> Tensor:
    return torch.softmax(x, dim=axis)


def _split(x: Tensor, sizes: Tensor, *, axis: int) -> Sequence[Tensor]:
    return torch.split(x, sizes.tolist(), dim=axis)


def _transpose(x: Tensor, *, perm: Sequence[int]) -> Tensor:
    return x.permute(*perm)


def _unsqueeze(x: Tensor, axes: Tensor) -> Tensor:
    return x.unsqueeze(int(axes))


_OPERATORS: dict[str, Callable[..., Tensor | Sequence[Tensor]]] = {
    "Add": torch.add,
    "Concat": _concat,
    "Div": torch.div,
    "Erf": torch.erf,
    "Gather": _gather,
    "LayerNormalization": _layer_normalization,
    "LogSoftmax": _log_softmax,
    "MatMul": torch.matmul,
    "Mul": torch.mul,
    "Pow": torch.pow,
    "ReduceMean": _reduce_mean,
    "Relu": torch.relu,
    "Reshape": _reshape,
    "Sigmoid": torch.sigmoid,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _split,
    "Sqrt": torch.sqrt,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
