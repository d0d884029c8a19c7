from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.export.transformer_graph import build_transformer
from sequifier_hpo.training.export.verification import (
    TOLERANCE,
    ExportCheck,
    ExportCheckError,
    evaluate,
)
from sequifier_hpo.training.model.transformer import SequenceTransformer


def build(config: Any, state: Any) -> onnx.ModelProto:
    weights = {name: tensor.numpy() for name, tensor in state.items()}
    return build_transformer(config, weights, is_embedding_model=False)


def constants(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    for constant in model.graph.initializer:
        if constant.data_type == onnx.TensorProto.FLOAT and len(constant.dims):
            yield constant


def change(constant: onnx.TensorProto, by: float) -> None:
    """Change one number in every row, so that one that is used is among them."""
    array = np.array(numpy_helper.to_array(constant))
    array[..., 0] += by
    constant.CopyFrom(numpy_helper.from_array(array, constant.name))


def test_a_file_that_computes_what_torch_computes_passes(make_config: Any, make_state: Any) -> None:
    config = make_config()
    state = make_state(config)

    ExportCheck(config).check(
        build(config, state).SerializeToString(), state, is_embedding_model=False
    )


def test_a_small_change_of_any_weight_in_the_file_is_found(
    make_config: Any, make_state: Any
) -> None:
    config = make_config()
    state = make_state(config)
    check = ExportCheck(config)
    names = [c.name for c in constants(build(config, state)) if c.name != "attention.mask.1"]
    assert len(names) > 20

    for name in names:
        model = build(config, state)
        change(next(c for c in constants(model) if c.name == name), by=0.01)
        with pytest.raises(ExportCheckError, match=r"output .* by .*, allowed is \d"):
            check.check(model.SerializeToString(), state, is_embedding_model=False)


def test_a_graph_that_is_right_for_one_batch_size_only_is_found(
    make_config: Any, make_state: Any
) -> None:
    config = make_config(n_classes={}, reals=("x",))
    state = make_state(config)
    model = build(config, state)
    for constant in model.graph.initializer:
        if constant.name.startswith("integers.0_"):  # 0 = "as many rows as came in"
            sizes = numpy_helper.to_array(constant).copy()
            sizes[0] = 3
            constant.CopyFrom(numpy_helper.from_array(sizes, constant.name))

    with pytest.raises(ExportCheckError, match="cannot be run with a batch of 1"):
        ExportCheck(config).check(model.SerializeToString(), state, is_embedding_model=False)


def test_content_that_is_not_valid_onnx_is_found(make_config: Any, make_state: Any) -> None:
    config = make_config()
    state = make_state(config)
    model = build(config, state)
    model.graph.node[3].input[0] = "no.such.tensor"

    with pytest.raises(ExportCheckError, match="not valid ONNX"):
        ExportCheck(config).check(model.SerializeToString(), state, is_embedding_model=False)


def test_a_wrong_declared_shape_is_found(make_config: Any, make_state: Any) -> None:
    config = make_config()
    state = make_state(config)
    model = build(config, state)
    model.graph.output[0].type.tensor_type.shape.dim[2].dim_value += 1

    with pytest.raises(ExportCheckError, match="not valid ONNX"):
        ExportCheck(config).check(model.SerializeToString(), state, is_embedding_model=False)


def test_swapped_outputs_are_found(make_config: Any, make_state: Any) -> None:
    config = make_config(reals=("x", "y"), targets=("x", "y"))
    state = make_state(config)
    model = build(config, state)
    first, second = model.graph.output
    first.name, second.name = second.name, first.name

    with pytest.raises(ExportCheckError, match=r"x\.standardised_value"):
        ExportCheck(config).check(model.SerializeToString(), state, is_embedding_model=False)


@pytest.fixture
def rounding_config(make_config: Any) -> TrainConfig:
    dims = {"product": 3, "price": 5}
    spec = {"norm_first": True, "normalization": "layer_norm", "feature_embedding_dims": dims}
    config: TrainConfig = make_config(spec=spec)
    return config


@pytest.fixture
def rounding_state(rounding_config: TrainConfig, make_state: Any) -> dict[str, Tensor]:
    """Features around 30000, of which layer norm keeps the last few bits."""
    state: dict[str, Tensor] = make_state(rounding_config)
    for column in ("product", "price"):
        state[f"pos_encoder.{column}.weight"] += 30000
    return state


def test_a_file_passes_whose_weights_magnify_the_rounding_of_every_program(
    rounding_config: TrainConfig, rounding_state: dict[str, Tensor], make_inputs: Any
) -> None:
    file = build(rounding_config, rounding_state)
    model = SequenceTransformer(rounding_config).eval()
    model.load_state_dict(rounding_state)
    inputs = make_inputs(rounding_config, 3)
    with torch.no_grad():
        expected = model.predict(inputs)["product"]
    difference = (evaluate(ReferenceEvaluator(file), inputs)[0] - expected).abs().max()
    assert difference > TOLERANCE * expected.abs().max()

    ExportCheck(rounding_config).check(
        file.SerializeToString(), rounding_state, is_embedding_model=False
    )


def test_an_error_above_the_rounding_is_found_even_there(
    rounding_config: TrainConfig, rounding_state: dict[str, Tensor]
) -> None:
    model = build(rounding_config, rounding_state)
    change(next(c for c in constants(model) if c.name == "decoder.product.weight"), by=10.0)

    with pytest.raises(ExportCheckError, match=r"output product\.log_probabilities"):
        ExportCheck(rounding_config).check(
            model.SerializeToString(), rounding_state, is_embedding_model=False
        )


def test_the_check_puts_the_precision_of_matrix_products_back(
    make_config: Any, make_state: Any
) -> None:
    config = make_config()
    state = make_state(config)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")

    try:
        ExportCheck(config).check(
            build(config, state).SerializeToString(), state, is_embedding_model=False
        )
        after = torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(before)

    assert after == "medium"
