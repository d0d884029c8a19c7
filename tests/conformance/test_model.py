"""The network here and Sequifier's, with the same seed and with the same weights."""

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sequifier_hpo.config.train import TrainConfig, train_yaml
from sequifier_hpo.training.device import choose_precision, seed_everything
from sequifier_hpo.training.model.transformer import SequenceTransformer
from tests.conformance.reference import ask_reference, needs_reference

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), needs_reference]

COMPARE = """
import json, sys
from pathlib import Path
import numpy, random, torch
from sequifier.config.train_config import load_train_config
from sequifier.train import TransformerModel
torch.set_num_threads(1)
answers = {}
for path in sorted(Path(sys.argv[1]).glob("*.yaml")):
    content = torch.load(path.with_suffix(".pt"), weights_only=True)
    config = load_train_config(str(path), {}, True)
    random.seed(config.seed), numpy.random.seed(config.seed), torch.manual_seed(config.seed)
    model = TransformerModel(config).eval()
    names = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    expected = {name: tuple(tensor.shape) for name, tensor in content["initial"].items()}
    answer = {"same_names": list(names.items()) == list(expected.items())}
    answer["same_start"] = answer["same_names"] and all(
        torch.equal(tensor, content["initial"][name]) for name, tensor in model.state_dict().items()
    )
    model.load_state_dict(content["weights"])
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=content["autocast"])
    with torch.no_grad(), autocast:
        logits = model.forward_train(content["inputs"])
    answer["difference"] = max(
        (logits[target] - ours).abs().max().item() for target, ours in content["logits"].items()
    )
    answers[path.stem] = answer
print(json.dumps(answers))
"""

MIXES: list[dict[str, Any]] = [
    {"input_columns": ["cat1"]},
    {"input_columns": ["cat1", "cat2"], "target_columns": ["cat1", "cat2"]},
    {"input_columns": ["val1"], "target_columns": ["val1"]},
    {"input_columns": ["val1", "val2"], "target_columns": ["cat1", "val2"]},
    {
        "input_columns": ["cat1", "val1", "cat2", "val2"],
        "target_columns": ["cat1", "val1"],
        "feature_embedding_dims": {"cat1": 3, "val1": 1, "cat2": 2, "val2": 2},
    },
]
HEADS: list[dict[str, Any]] = [
    {"attention_type": "mha", "n_head": 2, "n_kv_heads": None},
    {"attention_type": "gqa", "n_head": 4, "n_kv_heads": 2},
    {"attention_type": "mqa", "n_head": 4, "n_kv_heads": 1},
    {"attention_type": "mha", "n_head": 1, "n_kv_heads": None},
]


def architectures() -> Iterator[dict[str, Any]]:
    for activation, normalization, positions, heads, norm_first, joint, mix in product(
        ["swiglu", "gelu", "relu"],
        ["rmsnorm", "layer_norm"],
        ["learned", "rope"],
        HEADS,
        [True, False],
        [None, 16],
        MIXES,
    ):
        yield {
            "activation_fn": activation,
            "normalization": normalization,
            "positional_encoding": positions,
            "norm_first": norm_first,
            "joint_embedding_dim": joint,
            "dim_model": joint or 8,
            "num_layers": 2,
            **heads,
            **mix,
        }


def random_inputs(config: TrainConfig, generator: torch.Generator) -> dict[str, Tensor]:
    shape = (3, config.seq_length)
    ids = {
        column: torch.randint(0, config.n_classes[column], shape, generator=generator)
        for column in config.categorical_columns
    }
    reals = {column: torch.randn(shape, generator=generator) for column in config.real_columns}
    return ids | reals


def with_answer(config: TrainConfig, generator: torch.Generator, path: Path) -> None:
    """Write a config's file, and what the network makes of random weights and inputs beside it."""
    precision = choose_precision(config)
    seed_everything(config.seed)
    model = SequenceTransformer(config).eval()
    model.cast_layers(precision.layer_dtypes)
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():  # so that norms and biases tell too
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
        inputs = random_inputs(config, generator)
        with precision.autocast(torch.device("cpu")):
            logits = model(inputs)
    content = {"initial": initial, "weights": model.state_dict(), "inputs": inputs}
    has_autocast = precision.autocast_dtype is not None
    torch.save({**content, "logits": logits, "autocast": has_autocast}, path.with_suffix(".pt"))
    path.with_suffix(".yaml").write_text(train_yaml(config))


NARROW = [
    ({"embedding": "bfloat16", "linear": "bfloat16", "norm": "float32"}, True),
    ({"embedding": "bfloat16", "linear": "bfloat16", "norm": "bfloat16"}, True),
    ({"linear": "bfloat16", "decoder": "float32"}, True),
    ({"norm": "float32"}, True),
    ({"embedding": "bfloat16", "linear": "bfloat16", "decoder": "float32"}, False),
    ({"embedding": "float64", "linear": "float64", "norm": "float64"}, False),
]


def test_layers_in_other_number_types_start_from_the_same_weights_and_score_nearly_alike(
    make_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    shown = {}
    for i, ((dtypes, autocast), normalization, positions) in enumerate(
        product(NARROW, ["rmsnorm", "layer_norm"], ["learned", "rope"])
    ):
        changes = {
            "layer_type_dtypes": dtypes,
            "layer_autocast": autocast,
            "normalization": normalization,
            "positional_encoding": positions,
        }
        with_answer(make_config(**changes), generator, tmp_path / f"{i:02}")
        shown[f"{i:02}"] = changes

    answers = ask_reference(COMPARE, str(tmp_path), folder=tmp_path)

    assert len(answers) == len(shown) == 24
    for name, answer in answers.items():
        assert answer["same_start"], shown[name]
        assert answer["difference"] <= 0.1, (answer, shown[name])  # bfloat16 has 8 bits


def test_every_architecture_starts_from_the_same_weights_and_scores_alike(
    make_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(0)
    shown = {}
    for i, changes in enumerate(architectures()):
        with_answer(make_config(**changes), generator, tmp_path / f"{i:04}")
        shown[f"{i:04}"] = changes

    answers = ask_reference(COMPARE, str(tmp_path), folder=tmp_path)

    assert len(answers) == len(shown) == 960
    for name, answer in answers.items():
        assert answer["same_names"], shown[name]
        assert answer["same_start"], shown[name]
        assert answer["difference"] <= 1e-5, (answer, shown[name])
