from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # type: ignore[import-untyped]
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.export import export_models
from sequifier_hpo.training.export.graph_builder import GraphBuilder
from sequifier_hpo.training.export.network import Network
from sequifier_hpo.training.export.transformer_graph import build_transformer
from sequifier_hpo.training.model.transformer import SequenceTransformer

BATCH_SIZES = (2, 5, 7)  # others than the exporter itself checks

VARIANTS: dict[str, dict[str, Any]] = {
    "swiglu": {"activation_fn": "swiglu"},
    "gelu": {"activation_fn": "gelu"},
    "relu": {"activation_fn": "relu"},
    "layer_norm": {"normalization": "layer_norm"},
    "rmsnorm_after": {"norm_first": False},
    "layer_norm_after": {"normalization": "layer_norm", "norm_first": False},
    "rope": {"positional_encoding": "rope"},
    "rope_with_small_theta": {"positional_encoding": "rope", "rope_theta": 10.0},
    "multi_query": {"n_head": 4, "attention_type": "mqa", "n_kv_heads": 1},
    "grouped_query": {"n_head": 4, "attention_type": "gqa", "n_kv_heads": 2},
    "grouped_query_with_rope": {
        "n_head": 4,
        "attention_type": "gqa",
        "n_kv_heads": 2,
        "positional_encoding": "rope",
    },
    "joint_layer": {"initial_embedding_dim": 6, "joint_embedding_dim": 8},
    "one_layer": {"num_layers": 1},
    "three_layers": {"num_layers": 3},
    "three_predictions": {"prediction_length": 3},
    "whole_window_predicted": {"prediction_length": 5, "attention_type": "gqa", "n_kv_heads": 1},
    "one_head": {"n_head": 1},
    "wide_real_feature": {"feature_embedding_dims": {"product": 3, "price": 5}},
    "wide_real_feature_with_rope": {
        "feature_embedding_dims": {"product": 3, "price": 5},
        "positional_encoding": "rope",
    },
}


def session_of(
    model: onnx.ModelProto | Path, *, keeps_dropout: bool = False
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(
        source,
        options,
        providers=["CPUExecutionProvider"],
        # What `infer_with_dropout` does in Sequifier.
        disabled_optimizers=["EliminateDropout"] if keeps_dropout else None,
    )


def run(session: onnxruntime.InferenceSession, inputs: dict[str, Tensor]) -> list[Tensor]:
    """Feed by position, as `sequifier infer` does."""
    names = [node.name for node in session.get_inputs()]
    arrays = [tensor.numpy() for tensor in inputs.values()]
    feed = dict(zip(names, arrays, strict=True))
    return [torch.from_numpy(np.array(output)) for output in session.run(None, feed)]


def torch_outputs(
    config: TrainConfig, state: dict[str, Tensor], inputs: dict[str, Tensor], *, embedding: bool
) -> list[Tensor]:
    model = SequenceTransformer(config).eval()
    model.load_state_dict(state)
    with torch.no_grad():
        if embedding:
            return [model.embedding(inputs)]
        predictions = model.predict(inputs)
        return [predictions[target] for target in config.target_columns]


def build(
    config: TrainConfig, state: dict[str, Tensor], *, embedding: bool = False, dropout: float = 0.0
) -> onnx.ModelProto:
    weights = {name: tensor.numpy() for name, tensor in state.items()}
    return build_transformer(config, weights, is_embedding_model=embedding, dropout=dropout)


def assert_equal_to_torch(
    config: TrainConfig, state: dict[str, Tensor], make_inputs: Any, *, embedding: bool
) -> None:
    model = build(config, state, embedding=embedding)
    onnx.checker.check_model(model, full_check=True)
    session = session_of(model)
    for batch_size in BATCH_SIZES:
        inputs = make_inputs(config, batch_size)
        expected = torch_outputs(config, state, inputs, embedding=embedding)
        for actual, wanted in zip(run(session, inputs), expected, strict=True):
            limit = 1e-5 * max(1.0, wanted.abs().max().item())
            torch.testing.assert_close(actual, wanted, atol=limit, rtol=0)


@pytest.mark.parametrize("embedding", [False, True], ids=["generative", "embedding"])
@pytest.mark.parametrize("spec", VARIANTS.values(), ids=VARIANTS)
def test_every_architecture_gives_torchs_outputs_in_onnxruntime(
    make_config: Any, make_state: Any, make_inputs: Any, *, spec: dict[str, Any], embedding: bool
) -> None:
    config = make_config(spec=spec)
    state = make_state(config)

    assert_equal_to_torch(config, state, make_inputs, embedding=embedding)


@pytest.mark.parametrize(
    ("n_classes", "reals", "targets"),
    [
        ({"a": 4}, (), ("a",)),
        ({"a": 4, "b": 7}, (), ("b",)),
        ({"a": 4, "b": 7}, ("x", "y"), ("a", "y", "b")),
        ({}, ("x",), ("x",)),
        ({}, ("x", "y", "z"), ("z", "x")),
        ({"a": 1}, ("x",), ("x",)),
    ],
)
@pytest.mark.parametrize("positional_encoding", ["learned", "rope"])
def test_every_mix_of_columns_gives_torchs_outputs_in_onnxruntime(
    make_config: Any,
    make_state: Any,
    make_inputs: Any,
    n_classes: dict[str, int],
    reals: tuple[str, ...],
    targets: tuple[str, ...],
    positional_encoding: str,
) -> None:
    spec = {"positional_encoding": positional_encoding}
    config = make_config(n_classes=n_classes, reals=reals, targets=targets, spec=spec)
    state = make_state(config)

    assert_equal_to_torch(config, state, make_inputs, embedding=False)


@st.composite
def architectures(draw: st.DrawFn) -> dict[str, Any]:
    """Keyword arguments of `make_config`."""
    num_ids = draw(st.integers(0, 2))
    num_reals = draw(st.integers(0 if num_ids else 1, 2))
    n_classes = {f"ids{i}": draw(st.integers(1, 6)) for i in range(num_ids)}
    reals = tuple(f"real{i}" for i in range(num_reals))
    columns = [*n_classes, *reals]
    dims = {column: draw(st.integers(1, 4)) for column in columns}
    # Not narrower than 8: a norm over two nearly equal numbers magnifies rounding a hundredfold.
    n_head, head_size = draw(st.sampled_from([(1, 8), (2, 4), (2, 6), (4, 2), (4, 4)]))
    seq_length = draw(st.integers(1, 6))
    spec = {
        "initial_embedding_dim": sum(dims.values()),
        "feature_embedding_dims": dims,
        "joint_embedding_dim": n_head * head_size,
        "dim_model": n_head * head_size,
        "n_head": n_head,
        "dim_feedforward": draw(st.integers(1, 9)),
        "num_layers": draw(st.integers(1, 3)),
        "prediction_length": draw(st.integers(1, seq_length)),
        "activation_fn": draw(st.sampled_from(["swiglu", "gelu", "relu"])),
        "normalization": draw(st.sampled_from(["rmsnorm", "layer_norm"])),
        "positional_encoding": draw(st.sampled_from(["learned", "rope"])),
        "norm_first": draw(st.booleans()),
    }
    if draw(st.booleans()):
        divisors = [k for k in (1, 2, 4) if n_head % k == 0]
        spec |= {"attention_type": "gqa", "n_kv_heads": draw(st.sampled_from(divisors))}
    if sum(dims.values()) == n_head * head_size and draw(st.booleans()):
        spec["joint_embedding_dim"] = None
    targets = draw(st.lists(st.sampled_from(columns), min_size=1, unique=True))
    return {
        "n_classes": n_classes,
        "reals": reals,
        "targets": tuple(targets),
        "seq_length": seq_length,
        "spec": spec,
    }


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(arguments=architectures(), embedding=st.booleans(), seed=st.integers(0, 1000))
def test_any_valid_config_gives_torchs_outputs_in_onnxruntime(
    make_config: Any,
    make_state: Any,
    make_inputs: Any,
    *,
    arguments: dict[str, Any],
    embedding: bool,
    seed: int,
) -> None:
    config = make_config(**arguments)
    state = make_state(config, seed)

    assert_equal_to_torch(config, state, make_inputs, embedding=embedding)


def test_a_long_rope_window_rounds_its_angles_like_torch(
    make_config: Any, make_state: Any, make_inputs: Any
) -> None:
    config = make_config(
        spec={"positional_encoding": "rope", "n_head": 1, "num_layers": 1}, seq_length=700
    )
    state = make_state(config)

    assert_equal_to_torch(config, state, make_inputs, embedding=True)


def test_inputs_are_categorical_then_real_columns_with_a_free_batch_axis(
    make_config: Any, make_state: Any
) -> None:
    config = make_config(
        n_classes={"b": 3, "a": 4},
        reals=("y", "x"),
        input_columns=["x", "a", "y", "b"],
        spec={"feature_embedding_dims": {"x": 1, "a": 3, "y": 1, "b": 3}},
    )

    session = session_of(build(config, make_state(config)))

    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("b", "tensor(int64)", ["batch", 5]),
        ("a", "tensor(int64)", ["batch", 5]),
        ("y", "tensor(float)", ["batch", 5]),
        ("x", "tensor(float)", ["batch", 5]),
    ]


def test_outputs_follow_target_columns_and_are_sequence_first(
    make_config: Any, make_state: Any
) -> None:
    config = make_config(
        n_classes={"b": 3, "a": 4}, targets=("price", "a", "b"), spec={"prediction_length": 2}
    )

    session = session_of(build(config, make_state(config)))

    assert [(o.name, o.type, o.shape) for o in session.get_outputs()] == [
        ("price.standardised_value", "tensor(float)", [2, "batch", 1]),
        ("a.log_probabilities", "tensor(float)", [2, "batch", 4]),
        ("b.log_probabilities", "tensor(float)", [2, "batch", 3]),
    ]


def test_an_embedding_model_has_one_output_of_the_models_width(
    make_config: Any, make_state: Any
) -> None:
    config = make_config(spec={"prediction_length": 2})

    session = session_of(build(config, make_state(config), embedding=True))

    assert [(o.name, o.shape) for o in session.get_outputs()] == [
        ("sequence.embedding", [2, "batch", 8])
    ]


def test_categorical_outputs_are_log_probabilities_that_sum_to_one(
    make_config: Any, make_state: Any, make_inputs: Any
) -> None:
    config = make_config(targets=("product",), spec={"prediction_length": 2})
    session = session_of(build(config, make_state(config)))

    (output,) = run(session, make_inputs(config, 6))

    torch.testing.assert_close(output.exp().sum(-1), torch.ones(2, 6))


@pytest.mark.parametrize(
    "column",
    ["input", "features", "offset", "sequence", "embedding", "heads", "a b", "a/b", "0", "größe"],
)
def test_a_column_of_any_name_can_be_input_and_target(
    make_config: Any, make_state: Any, make_inputs: Any, column: str
) -> None:
    config = make_config(n_classes={column: 4, "decoder": 3})
    state = make_state(config)

    assert_equal_to_torch(config, state, make_inputs, embedding=False)


def test_dropout_nodes_stand_at_the_places_of_the_model(make_config: Any, make_state: Any) -> None:
    config = make_config(training={"dropout": 0.5})

    model = build(config, make_state(config), dropout=0.5)

    dropped = [node.input[0] for node in model.graph.node if node.op_type == "Dropout"]
    per_layer = ["attn.shares", "attn.output", "ff.gated", "ff.output"]
    assert dropped == [
        "embedding.positioned",
        *(f"layers.{layer}.{place}" for layer in (0, 1) for place in per_layer),
    ]


def test_a_model_without_dropout_has_no_dropout_nodes(make_config: Any, make_state: Any) -> None:
    config = make_config(training={"dropout": 0.5})

    model = build(config, make_state(config))

    assert "Dropout" not in {node.op_type for node in model.graph.node}


def test_exported_dropout_is_active_in_onnxruntime(
    make_config: Any, make_state: Any, make_inputs: Any, tmp_path: Path
) -> None:
    config = make_config(tmp_path, training={"dropout": 0.3}, export_with_dropout=True)
    state = make_state(config)
    (_, last) = export_models(
        config,
        best_state=make_state(config, 1),
        last_state=state,
        last_epoch=3,
        best_epoch=2,
        best_validation_loss=1.0,
    )
    session = session_of(tmp_path / last, keeps_dropout=True)
    inputs = make_inputs(config, 4)

    first, second = run(session, inputs), run(session, inputs)

    assert not torch.equal(first[0], second[0])


def test_exported_dropout_keeps_its_share_of_the_values_and_scales_them_up(
    make_config: Any,
) -> None:
    graph = GraphBuilder()
    net = Network(graph, {}, make_config().model_spec, window=1000, dropout=0.2)
    output = net.drop(graph.input("x", onnx.TensorProto.FLOAT, ("batch", 1000)))
    graph.output(output, ("batch", 1000))
    session = session_of(graph.model("dropout"), keeps_dropout=True)

    (dropped,) = run(session, {"x": torch.full((20, 1000), 4.0)})

    assert set(dropped.flatten().tolist()) == {0.0, 5.0}
    assert (dropped == 0).float().mean() == pytest.approx(0.2, abs=0.02)


def test_certain_dropout_removes_all_influence_of_the_inputs(
    make_config: Any, make_state: Any, make_inputs: Any
) -> None:
    config = make_config(training={"dropout": 1.0})
    session = session_of(build(config, make_state(config), dropout=1.0), keeps_dropout=True)

    output = run(session, make_inputs(config, 2))[0]

    assert torch.equal(output[:, 0], output[:, 1])
