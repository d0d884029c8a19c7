import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.model.transformer import SequenceTransformer

Config = Callable[..., TrainConfig]
Floats = NDArray[np.float64]
Weights = dict[str, Floats]

FIRST = """
encoder.cat1.weight (7, 8)
pos_encoder.cat1.weight (5, 8)
layers.0.norm1.weight (8,)
layers.0.norm2.weight (8,)
layers.0.attn.wq.weight (8, 8)
layers.0.attn.wk.weight (8, 8)
layers.0.attn.wv.weight (8, 8)
layers.0.attn.wo.weight (8, 8)
layers.0.ff.w1.weight (12, 8)
layers.0.ff.w1.bias (12,)
layers.0.ff.w2.weight (12, 8)
layers.0.ff.w2.bias (12,)
layers.0.ff.w3.weight (8, 12)
layers.0.ff.w3.bias (8,)
final_norm.weight (8,)
decoder.cat1.weight (7, 8)
decoder.cat1.bias (7,)
"""
SECOND = """
encoder.val2.weight (2, 1)
encoder.val2.bias (2,)
encoder.cat1.weight (7, 3)
encoder.cat2.weight (4, 2)
joint_embedding_layer.weight (16, 8)
joint_embedding_layer.bias (16,)
pos_encoder.val1.weight (5, 1)
pos_encoder.val2.weight (5, 2)
pos_encoder.cat1.weight (5, 3)
pos_encoder.cat2.weight (5, 2)
layers.0.norm1.weight (16,)
layers.0.norm1.bias (16,)
layers.0.norm2.weight (16,)
layers.0.norm2.bias (16,)
layers.0.attn.wq.weight (16, 16)
layers.0.attn.wk.weight (8, 16)
layers.0.attn.wv.weight (8, 16)
layers.0.attn.wo.weight (16, 16)
layers.0.ff.linear1.weight (12, 16)
layers.0.ff.linear1.bias (12,)
layers.0.ff.linear2.weight (16, 12)
layers.0.ff.linear2.bias (16,)
decoder.cat1.weight (7, 16)
decoder.cat1.bias (7,)
decoder.val1.weight (1, 16)
decoder.val1.bias (1,)
"""
THIRD = """
encoder.val1.weight (4, 1)
encoder.val1.bias (4,)
encoder.val2.weight (4, 1)
encoder.val2.bias (4,)
layers.0.norm1.weight (8,)
layers.0.norm1.bias (8,)
layers.0.norm2.weight (8,)
layers.0.norm2.bias (8,)
layers.0.attn.wq.weight (8, 8)
layers.0.attn.wk.weight (2, 8)
layers.0.attn.wv.weight (2, 8)
layers.0.attn.wo.weight (8, 8)
layers.0.attn.rope.inv_freq (1,)
layers.0.ff.linear1.weight (12, 8)
layers.0.ff.linear1.bias (12,)
layers.0.ff.linear2.weight (8, 12)
layers.0.ff.linear2.bias (8,)
final_norm.weight (8,)
final_norm.bias (8,)
decoder.val1.weight (1, 8)
decoder.val1.bias (1,)
"""
MIXED: dict[str, Any] = {
    "input_columns": ["cat1", "val1", "cat2", "val2"],
    "feature_embedding_dims": {"cat1": 3, "val1": 1, "cat2": 2, "val2": 2},
    "target_columns": ["cat1", "val1"],
    "joint_embedding_dim": 16,
    "dim_model": 16,
    "n_head": 4,
    "attention_type": "gqa",
    "n_kv_heads": 2,
    "normalization": "layer_norm",
    "activation_fn": "gelu",
    "norm_first": False,
}
REALS: dict[str, Any] = {
    "input_columns": ["val1", "val2"],
    "target_columns": ["val1"],
    "n_head": 4,
    "attention_type": "mqa",
    "n_kv_heads": 1,
    "positional_encoding": "rope",
    "normalization": "layer_norm",
    "activation_fn": "relu",
}
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "mixed": MIXED,
    "reals": REALS,
    "two layers": {"num_layers": 2, "prediction_length": 3},
    "rope with shared heads": {
        "positional_encoding": "rope",
        "rope_theta": 500.0,
        "n_head": 4,
        "attention_type": "gqa",
        "n_kv_heads": 2,
    },
    "gelu": {"activation_fn": "gelu"},
    "relu": {"activation_fn": "relu", "norm_first": False},
    "swiglu post-norm": {"norm_first": False},
    "layer norm": {"normalization": "layer_norm"},
    "two tables": {"input_columns": ["cat1", "cat2"], "target_columns": ["cat1", "cat2"]},
}


def build(config: TrainConfig, *, seed: int = 5, noise: float = 0.0) -> SequenceTransformer:
    """A model in evaluation mode; with noise on every weight nothing is at its neutral value."""
    torch.manual_seed(seed)
    model = SequenceTransformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=noise)
    return model


def windows(config: TrainConfig, num_rows: int = 3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shape = (num_rows, config.seq_length)
    ids = {
        column: torch.randint(config.n_classes[column], shape, generator=generator)
        for column in ("cat1", "cat2")
    }
    reals = {column: torch.randn(shape, generator=generator) for column in ("val1", "val2")}
    return {**ids, **reals}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, FIRST), (MIXED, SECOND), (REALS, THIRD)],
    ids=["categorical", "mixed with joint layer", "reals with rope"],
)
def test_state_dict_has_the_names_shapes_and_order_of_sequifier(
    make_config: Config, changes: dict[str, Any], expected: str
) -> None:
    model = build(make_config(**changes))

    state = model.state_dict()

    assert [f"{name} {tuple(value.shape)}" for name, value in state.items()] == (
        expected.strip().splitlines()
    )


def test_embedding_tables_follow_the_order_of_n_classes(make_config: Config) -> None:
    config = make_config(input_columns=["cat1", "cat2"], n_classes={"cat2": 4, "cat1": 7})

    names = [name for name in build(config).state_dict() if "encoder." in name]

    assert names == [
        "encoder.cat2.weight",
        "encoder.cat1.weight",
        "pos_encoder.cat2.weight",
        "pos_encoder.cat1.weight",
    ]


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_equal_seeds_give_equal_initial_weights(
    make_config: Config, changes: dict[str, Any]
) -> None:
    config = make_config(**changes)

    first, second = build(config, seed=9).state_dict(), build(config, seed=9).state_dict()

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_initial_weights_are_drawn_in_the_order_of_sequifier(make_config: Config) -> None:
    config = make_config()
    torch.manual_seed(9)
    nn.Embedding(7, 8)
    nn.Embedding(5, 8)
    wq = nn.Linear(8, 8, bias=False).weight
    rest = [nn.Linear(8, 8, bias=False) for _ in range(3)]
    rest += [nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 7)]
    table, head, positions = (torch.empty(shape) for shape in ((7, 8), (7, 8), (5, 8)))
    for tensor in (table, head, positions):
        tensor.normal_(0, 0.02)

    state = build(config, seed=9).state_dict()

    assert torch.equal(state["layers.0.attn.wq.weight"], wq)
    assert torch.equal(state["encoder.cat1.weight"], table)
    assert torch.equal(state["decoder.cat1.weight"], head)
    assert torch.equal(state["pos_encoder.cat1.weight"], positions)
    assert not state["decoder.cat1.bias"].any()


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_future_item_does_not_change_earlier_outputs(
    make_config: Config, changes: dict[str, Any]
) -> None:
    config = make_config(**changes)
    model = build(config, noise=0.3)
    inputs = windows(config)
    changed = {name: value.clone() for name, value in inputs.items()}
    for column in config.input_columns:
        changed[column][:, 3] = 1 - changed[column][:, 3].clamp(max=1)

    before, after = model(inputs), model(changed)

    for target in config.target_columns:
        assert torch.equal(before[target][:3], after[target][:3])
        assert not torch.allclose(before[target][3:], after[target][3:])


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_outputs_equal_an_independent_computation_in_numpy(
    make_config: Config, changes: dict[str, Any]
) -> None:
    config = make_config(**changes)
    model = build(config, noise=0.3)
    inputs = windows(config)

    outputs = model(inputs)

    expected = numpy_forward(config, model.state_dict(), inputs)
    for target in config.target_columns:
        np.testing.assert_allclose(outputs[target].detach().numpy(), expected[target], atol=1e-5)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_the_fused_attention_of_gpus_equals_attention_by_hand(
    make_config: Config, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(**changes)
    model = build(config, noise=0.3)
    by_hand = model(windows(config))

    for layer in model.layers:
        attention: Any = layer.attn
        fused = lambda x, _mask, attention=attention: attention._forward_fused(x)  # noqa: E731
        monkeypatch.setattr(attention, "_forward_by_hand", fused)
    fused = model(windows(config))

    for target in config.target_columns:
        torch.testing.assert_close(fused[target], by_hand[target], atol=1e-5, rtol=1e-5)


def test_predictions_are_log_probabilities_or_values_of_the_last_positions(
    make_config: Config,
) -> None:
    config = make_config(**MIXED | {"prediction_length": 2})
    model = build(config, noise=0.3)
    inputs = windows(config)

    predicted, outputs = model.predict(inputs), model(inputs)

    torch.testing.assert_close(predicted["cat1"], outputs["cat1"][-2:].log_softmax(-1))
    torch.testing.assert_close(predicted["val1"], outputs["val1"][-2:])


def test_a_real_target_need_not_be_an_input(make_config: Config) -> None:
    config = make_config(target_columns=["val1"])

    predicted = build(config).predict(windows(config))

    assert predicted["val1"].shape == (1, 3, 1)


def test_heads_applied_to_the_embedding_give_the_outputs(make_config: Config) -> None:
    config = make_config(prediction_length=5)
    model = build(config, noise=0.3)

    embedding = model.embedding(windows(config))

    assert embedding.shape == (5, 3, 8)
    torch.testing.assert_close(model.decoder["cat1"](embedding), model(windows(config))["cat1"])


def test_rope_tables_are_rebuilt_from_theta_whatever_the_file_says(make_config: Config) -> None:
    config = make_config(positional_encoding="rope")
    model, other = build(config, noise=0.3), build(config)
    state = model.state_dict()
    state["layers.0.attn.rope.inv_freq"] = torch.full((2,), 99.0)

    other.load_state_dict(state)

    assert torch.equal(other(windows(config))["cat1"], model(windows(config))["cat1"])


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_dropout_stands_at_its_five_places_and_nowhere_else(
    make_config: Config,
    activation: str,
    norm_first: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    config = make_config(
        input_columns=["cat1", "val1"],
        feature_embedding_dims={"cat1": 7, "val1": 1},
        joint_embedding_dim=12,
        dim_model=12,
        n_head=2,
        num_layers=3,
        dim_feedforward=20,
        activation_fn=activation,
        norm_first=norm_first,
        dropout=0.5,
    )
    model = SequenceTransformer(config).train()
    B, T, D, F, H = 4, config.seq_length, 12, 20, 2  # with B = 4 all sizes fill whole words
    inputs = {"cat1": torch.ones(B, T, dtype=torch.int64), "val1": torch.ones(B, T)}

    model(inputs)

    embeddings = B * T * (7 + 1)
    probabilities, outputs, inner = B * H * T * T, B * T * D, B * T * F
    assert model.masks.num_taken == embeddings + 3 * (probabilities + 2 * outputs + inner)


def test_dropout_is_active_in_training_only(make_config: Config) -> None:
    config = make_config(dropout=0.5)
    model = build(config, noise=0.3)
    inputs = windows(config)

    quiet = [model(inputs)["cat1"] for _ in range(2)]
    model.train()
    noisy = [model(inputs)["cat1"] for _ in range(2)]

    assert torch.equal(*quiet)
    assert not torch.equal(*noisy)


@pytest.mark.parametrize(
    "dtypes",
    [
        {"linear": torch.bfloat16},
        {"embedding": torch.bfloat16, "norm": torch.bfloat16},
        {"linear": torch.float64, "decoder": torch.float32},
        {"embedding": torch.float64, "linear": torch.bfloat16, "norm": torch.float16},
    ],
    ids=str,
)
@pytest.mark.parametrize("changes", [{}, MIXED, REALS], ids=["plain", "mixed", "reals"])
def test_every_mix_of_number_types_gives_nearly_the_same_float32_outputs(
    make_config: Config, changes: dict[str, Any], dtypes: dict[Any, torch.dtype]
) -> None:
    config = make_config(**changes)
    model = build(config, noise=0.1)
    expected = model(windows(config))

    model.cast_layers(dtypes)

    for target, output in model(windows(config)).items():
        assert output.dtype is torch.float32
        torch.testing.assert_close(output, expected[target], atol=0.15, rtol=0.05)


def test_casting_changes_the_types_of_the_named_kinds_only(make_config: Config) -> None:
    model = build(make_config(positional_encoding="rope"))

    model.cast_layers({"linear": torch.bfloat16, "norm": torch.float64})

    kinds = {name: value.dtype for name, value in model.state_dict().items()}
    assert kinds["layers.0.attn.wq.weight"] is torch.bfloat16
    assert kinds["decoder.cat1.weight"] is torch.bfloat16
    assert kinds["final_norm.weight"] is torch.float64
    assert kinds["encoder.cat1.weight"] is torch.float32
    assert kinds["layers.0.attn.rope.inv_freq"] is torch.float32


def numpy_forward(
    config: TrainConfig, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
) -> dict[str, Floats]:
    """The network in float64, written from its formulas, one window at a time."""
    w: Weights = {name: value.double().numpy() for name, value in state.items()}
    spec = config.model_spec
    rows = [
        _numpy_window(config, w, {c: inputs[c][row].double().numpy() for c in inputs})
        for row in range(len(inputs["cat1"]))
    ]
    if spec.norm_first:
        rows = [_numpy_norm(w, "final_norm", x) for x in rows]
    return {
        target: np.stack(
            [x @ w[f"decoder.{target}.weight"].T + w[f"decoder.{target}.bias"] for x in rows], 1
        )
        for target in config.target_columns
    }


def _numpy_window(config: TrainConfig, w: Weights, window: Weights) -> Floats:
    spec = config.model_spec
    parts = []
    for column in [*config.categorical_columns, *config.real_columns]:
        table, bias = w.get(f"encoder.{column}.weight"), w.get(f"encoder.{column}.bias")
        value = window[column]
        if column in config.categorical_columns:
            assert table is not None
            part = table[value.astype(int)]
        elif table is not None:
            assert bias is not None
            part = value[:, None] * table[:, 0] + bias
        else:
            part = value[:, None]
        part = part * math.sqrt(spec.initial_embedding_dim)
        if spec.positional_encoding == "learned":
            part = part + w[f"pos_encoder.{column}.weight"]
        parts.append(part)
    x = np.concatenate(parts, axis=1)
    if spec.joint_embedding_dim:
        x = x @ w["joint_embedding_layer.weight"].T + w["joint_embedding_layer.bias"]
    for i in range(spec.num_layers):
        layer = f"layers.{i}"
        if spec.norm_first:
            x = x + _numpy_attention(config, w, layer, _numpy_norm(w, f"{layer}.norm1", x))
            x = x + _numpy_feed_forward(config, w, layer, _numpy_norm(w, f"{layer}.norm2", x))
        else:
            x = _numpy_norm(w, f"{layer}.norm1", x + _numpy_attention(config, w, layer, x))
            x = _numpy_norm(w, f"{layer}.norm2", x + _numpy_feed_forward(config, w, layer, x))
    return x


def _numpy_norm(w: Weights, name: str, x: Floats) -> Floats:
    weight, bias = w[f"{name}.weight"], w.get(f"{name}.bias")
    centred, eps = (x, 1e-6) if bias is None else (x - x.mean(-1, keepdims=True), 1e-5)
    y: Floats = weight * centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
    return y if bias is None else y + bias


def _numpy_attention(config: TrainConfig, w: Weights, layer: str, x: Floats) -> Floats:
    spec = config.model_spec
    size = spec.dim_model // spec.n_head
    group = spec.n_head // (spec.n_kv_heads or spec.n_head)
    q, k, v = (x @ w[f"{layer}.attn.{name}.weight"].T for name in ("wq", "wk", "wv"))
    mixed = np.empty_like(q)
    for head in range(spec.n_head):
        own = slice(head * size, (head + 1) * size)
        shared = slice(head // group * size, (head // group + 1) * size)
        query, key = q[:, own], k[:, shared]
        if spec.positional_encoding == "rope":
            query, key = (_numpy_rotate(part, spec.rope_theta) for part in (query, key))
        for t in range(len(x)):
            scores = key[: t + 1] @ query[t] / math.sqrt(size)
            shares = np.exp(scores - scores.max())
            mixed[t, own] = shares / shares.sum() @ v[: t + 1, shared]
    return mixed @ w[f"{layer}.attn.wo.weight"].T


def _numpy_rotate(x: Floats, theta: float) -> Floats:
    half = x.shape[1] // 2
    turned = np.empty_like(x)
    for t in range(len(x)):
        for j in range(half):
            angle = t * theta ** (-2 * j / x.shape[1])
            first, second = x[t, j], x[t, j + half]
            turned[t, j] = first * math.cos(angle) - second * math.sin(angle)
            turned[t, j + half] = second * math.cos(angle) + first * math.sin(angle)
    return turned


def _numpy_feed_forward(config: TrainConfig, w: Weights, layer: str, x: Floats) -> Floats:
    def linear(name: str, y: Floats) -> Floats:
        return y @ w[f"{layer}.ff.{name}.weight"].T + w[f"{layer}.ff.{name}.bias"]

    if config.model_spec.activation_fn == "swiglu":
        gate = linear("w1", x)
        return linear("w3", gate / (1 + np.exp(-gate)) * linear("w2", x))
    inner = linear("linear1", x)
    if config.model_spec.activation_fn == "relu":
        return linear("linear2", np.maximum(inner, 0))
    return linear("linear2", inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))))
