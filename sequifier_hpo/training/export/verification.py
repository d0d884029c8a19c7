"""Checks an exported file before it gets its name: is it valid ONNX, and is it the same model?"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import onnx
import onnx.checker
import onnx.shape_inference
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.export.transformer_graph import output_names
from sequifier_hpo.training.model.transformer import SequenceTransformer

TOLERANCE = 1e-5
"""Largest difference from torch, as a share of the output's scale, max(1, largest number in it)."""
_BATCH_SIZES = (1, 3)
_SEED = 0
_WEIGHT_PERTURBATION = 1e-6
_NOISE_FACTOR = 10


class ExportCheckError(RuntimeError):
    """An exported model is not the trained one: a bug of ours, not a mistake of the user."""


class ExportCheck:
    """Compares exported files of one run with torch."""

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        with torch.random.fork_rng(devices=[]):  # initial weights are drawn, only to be replaced
            self._model = SequenceTransformer(config).eval()
        self._inputs = _random_inputs(config)

    def check(
        self, serialized: bytes, state: Mapping[str, Tensor], *, is_embedding_model: bool
    ) -> None:
        """Check the content of one ONNX file without dropout, with several batch sizes.

        An output may differ from torch's by `TOLERANCE`. Where the weights magnify rounding, with
        attention scores in the thousands, say, two correct float32 programs differ by more; then
        the limit is ten times what a relative change of all weights by 1e-6 does to torch's output.

        Args:
            serialized: The content of the file.
            state: The state it was made from, in float32 on the CPU.
            is_embedding_model: Whether it returns embeddings.

        Raises:
            ExportCheckError: If the content is not valid ONNX, is not the same model, or if the
                model's outputs are not finite.
        """
        check_format(serialized)
        program = ReferenceEvaluator(onnx.load_model_from_string(serialized))
        self._model.load_state_dict(dict(state), strict=True)
        with torch.no_grad(), _full_matmul_precision():
            expected = self._outputs(is_embedding_model=is_embedding_model)
            if not all(output.isfinite().all() for output in expected):
                raise ExportCheckError(f"{self._config.model_name} predicts NaN or infinity")
            differences = self._differences(program, expected)
            limits = [TOLERANCE * max(1.0, y.abs().max().item()) for y in expected]
            if any(d > limit for d, limit in zip(differences, limits, strict=True)):
                noise = self._rounding_noise(expected, is_embedding_model=is_embedding_model)
                limits = [max(a, _NOISE_FACTOR * b) for a, b in zip(limits, noise, strict=True)]
        names = output_names(self._config, is_embedding_model=is_embedding_model)
        for name, difference, limit in zip(names, differences, limits, strict=True):
            if difference > limit or difference == math.inf:
                raise ExportCheckError(
                    f"the exported model of {self._config.model_name} differs from the trained one: "
                    f"output {name} by {difference:g}, allowed is {limit:g}"
                )

    def _outputs(self, *, is_embedding_model: bool) -> list[Tensor]:
        if is_embedding_model:
            return [self._model.embedding(self._inputs)]
        predictions = self._model.predict(self._inputs)
        return [predictions[target] for target in self._config.target_columns]

    def _differences(self, program: ReferenceEvaluator, expected: list[Tensor]) -> list[float]:
        """Per output, the largest difference that any batch size shows."""
        largest = [0.0] * len(expected)
        for batch_size in _BATCH_SIZES:
            rows = {column: values[:batch_size] for column, values in self._inputs.items()}
            try:
                outputs = evaluate(program, rows)
            except Exception as error:  # whatever the operators raise: they do not fit together
                problem = f"the exported model cannot be run with a batch of {batch_size}: {error}"
                raise ExportCheckError(problem) from error
            for i, (a, b) in enumerate(zip(outputs, expected, strict=True)):
                largest[i] = max(largest[i], _difference(a, b[:, :batch_size]))
        return largest

    def _rounding_noise(self, expected: list[Tensor], *, is_embedding_model: bool) -> list[float]:
        """How far each output moves when all weights change by a millionth of themselves."""
        generator = torch.Generator().manual_seed(_SEED)
        for weight in self._model.parameters():
            signs = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
            weight.mul_(1 + _WEIGHT_PERTURBATION * signs)
        moved = self._outputs(is_embedding_model=is_embedding_model)
        return [_difference(a, b) for a, b in zip(moved, expected, strict=True)]


def evaluate(program: ReferenceEvaluator, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """The outputs of an ONNX model, in order, from one tensor per input.

    By ONNX's own reference implementation in numpy, so that a file can be checked where no runtime
    is installed.
    """
    with np.errstate(all="ignore"):  # infinities and NaN show in the comparison
        arrays = program.run(None, {name: values.numpy() for name, values in inputs.items()})
    return [torch.from_numpy(np.asarray(array)) for array in arrays]


def check_format(serialized: bytes) -> None:
    """Check that the content of a file is valid ONNX, shapes and types included.

    Raises:
        ExportCheckError: If it is not.
    """
    try:
        onnx.checker.check_model(serialized, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportCheckError(f"the exported model is not valid ONNX: {error}") from error


def _random_inputs(config: TrainConfig) -> dict[str, Tensor]:
    """Rows that a model of this run could meet, the same ones every time."""
    shape = (max(_BATCH_SIZES), config.seq_length)
    generator = torch.Generator().manual_seed(_SEED)
    inputs = {
        column: torch.randint(0, config.n_classes[column], shape, generator=generator)
        for column in config.categorical_columns
    }
    for column in config.real_columns:
        inputs[column] = torch.randn(shape, generator=generator)
    return inputs


def _difference(a: Tensor, b: Tensor) -> float:
    """Largest absolute difference; infinite for unequal shapes or types and for NaN."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return math.inf
    return (a - b).abs().nan_to_num(math.inf, math.inf).max().item()


@contextmanager
def _full_matmul_precision() -> Iterator[None]:
    """No faster, coarser matrix products on the CPU inside this block, as training may use."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
