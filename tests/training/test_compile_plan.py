"""Which runs get a compiled step."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.training.compile_plan import plan_compilation
from sequifier_hpo.training.device import choose_precision

Config = Callable[..., TrainConfig]

# 2 layers, 32 x 32 positions a batch: 3 ms saved per batch, 42 s to build, so 14,000 batches.
SMALL: dict[str, Any] = {
    "torch_compile": "auto",
    "num_layers": 2,
    "batch_size": 32,
    "seq_length": 32,
}


@pytest.mark.parametrize(
    ("epochs", "num_windows", "changes", "compiles"),
    [
        (100, 32 * 200, {}, "compiled"),
        (100, 32 * 100, {}, "usual"),
        (1, 32 * 20_000, {}, "compiled"),
        (100_000, 31, {}, "usual"),  # no full batch at all
        (100, 32 * 200, {"dropout": 0.1}, "usual"),
        (100, 32 * 600, {"dropout": 0.1}, "compiled"),
        (100, 32 * 200, {"batch_size": 8}, "compiled"),
        (100, 32 * 200, {"seq_length": 16}, "usual"),
        (100, 32 * 200, {"torch_compile": "none"}, "usual"),
        (100, 32 * 200, {"torch_compile": "outer"}, "compiled"),
        (100, 32 * 100, {"torch_compile": "inner"}, "usual"),
        (100, 32 * 200, {"device": "mps"}, "usual"),
        (100, 32 * 200, {"device": "cuda:1"}, "usual"),
        (1000, 32 * 200, {"device": "cuda:1"}, "compiled"),
        (100, 32 * 200, {"layer_type_dtypes": {"linear": "bfloat16"}}, "usual"),
        (
            1000,
            32 * 200,
            {"layer_type_dtypes": {"linear": "bfloat16"}, "device": "cuda"},
            "compiled",
        ),
        (100, 32 * 200, {"layer_type_dtypes": {"linear": "float64"}}, "compiled"),
        (100, 32 * 200, {"distributed": True, "world_size": 2}, "usual"),
    ],
)
def test_a_step_is_compiled_where_its_full_batches_repay_the_build(
    make_config: Config, epochs: int, num_windows: int, changes: dict[str, Any], compiles: str
) -> None:
    config = make_config(epochs=epochs, **{**SMALL, **changes})

    plan = plan_compilation(config, num_windows, has_cpp_compiler=True)

    assert plan.compiles is (compiles == "compiled")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"device": "mps"}, "not supported on the device mps"),
        ({"layer_type_dtypes": {"norm": "bfloat16"}}, "bfloat16 on the CPU"),
        ({"layer_type_dtypes": {"norm": "float32"}}, "bfloat16 on the CPU"),
        ({"distributed": True, "world_size": 2}, "several processes"),
        ({}, "there is no C++ compiler"),
        ({"device": "cuda"}, "200 full batches save about 0 s, building takes 42 s"),
        ({"torch_compile": "none"}, ""),
    ],
)
def test_a_run_that_asks_for_it_in_vain_is_told_why(
    make_config: Config, changes: dict[str, Any], reason: str
) -> None:
    config = make_config(epochs=2, **{**SMALL, **changes})

    plan = plan_compilation(config, 3210, has_cpp_compiler=False)

    assert plan.reason.startswith(reason)
    assert not plan.compiles


@pytest.mark.parametrize("layer_autocast", [True, False])
@pytest.mark.parametrize("linear", [None, "float32", "bfloat16", "float64"])
@pytest.mark.parametrize("norm", [None, "float32", "bfloat16"])
def test_a_run_computes_narrow_where_its_layers_or_its_autocast_do(
    make_config: Config,
    layer_autocast: bool,  # noqa: FBT001 - a parameter of the test
    linear: str | None,
    norm: str | None,
) -> None:
    given = {"linear": linear, "norm": norm}
    dtypes = {layer: dtype for layer, dtype in given.items() if dtype is not None}
    config = make_config(layer_type_dtypes=dtypes or None, layer_autocast=layer_autocast)

    is_narrow = choose_precision(config).is_narrow

    has_narrow_autocast = choose_precision(config).autocast_dtype is torch.bfloat16
    assert is_narrow is (has_narrow_autocast or "bfloat16" in dtypes.values())


def test_where_a_run_stands_plays_no_part(make_config: Config) -> None:
    started, continued = (
        make_config(epochs=100, continue_training=resumes, **SMALL) for resumes in (False, True)
    )

    plans = [plan_compilation(c, 6400, has_cpp_compiler=True) for c in (started, continued)]

    assert plans[0] == plans[1]
