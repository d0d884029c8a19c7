import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.training import device as device_module
from sequifier_hpo.training.device import (
    choose_precision,
    fast_matrix_products,
    find_device,
    seed_everything,
)

Config = Callable[..., TrainConfig]
CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_missing_gpu_is_the_environments_fault() -> None:
    with pytest.raises(EnvironmentFaultError, match="device cuda:0: torch finds no CUDA device"):
        find_device("cuda:0")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has MPS")
def test_a_missing_mps_is_the_environments_fault() -> None:
    with pytest.raises(EnvironmentFaultError, match="torch finds no MPS device"):
        find_device("mps")


def test_seeding_repeats_all_three_generators() -> None:
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002 - the state that is seeded

    seed_everything(8)
    first = draw()
    seed_everything(8)

    assert draw() == first


@pytest.mark.parametrize(
    ("dtypes", "autocast", "expected"),
    [
        (None, True, None),
        ({"linear": "float32"}, True, None),
        ({"linear": "bfloat16"}, True, torch.bfloat16),
        ({"embedding": "float64"}, True, torch.bfloat16),
        ({"linear": "bfloat16"}, False, None),
    ],
)
def test_autocast_follows_the_type_of_the_linear_layers(
    make_config: Config,
    dtypes: dict[str, str] | None,
    autocast: bool,  # noqa: FBT001 - a parameter of the test
    expected: torch.dtype | None,
) -> None:
    precision = choose_precision(make_config(layer_type_dtypes=dtypes, layer_autocast=autocast))

    assert precision.autocast_dtype is expected


def test_fast_products_are_used_only_where_they_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    with fast_matrix_products(CPU) as is_exact:
        inside = torch.get_float32_matmul_precision()
        error = device_module._product_error()

    assert error < 1e-5 or not is_exact
    assert inside == ("medium" if is_exact else "highest")
    monkeypatch.setattr(device_module, "_product_error", lambda: 1e-3)
    with fast_matrix_products(CPU) as is_exact:
        assert torch.get_float32_matmul_precision() == "highest"
        assert not is_exact


def test_the_setting_for_products_is_put_back() -> None:
    with pytest.raises(KeyError), fast_matrix_products(CPU):
        raise KeyError

    assert torch.get_float32_matmul_precision() == "highest"
