"""Which runs surely take as much memory as another: all that may play a part is compared."""

from collections.abc import Callable
from typing import Any

import pytest

from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.records import DataDigest, MemoryNeed, SplitDigest
from sequifier_hpo.searchspace import memory_need
from tests.training.conftest import make_config

__all__ = ["make_config"]

Config = Callable[..., TrainConfig]
CPU, GPU = "cpu of a machine, 99 bytes a process", "NVIDIA H200, 150000 bytes"


def data(num_windows: int = 1000, digest: str = "p") -> DataDigest:
    split = SplitDigest(num_windows=num_windows, window_length=9, columns={"product": digest})
    return DataDigest(training=split, validation=split)


def need(config: TrainConfig, device: str = CPU, **of_data: Any) -> MemoryNeed:
    found = memory_need(config, data(**of_data), device)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch_size": 16},
        {"seq_length": 6},
        {"num_layers": 3},
        {"dim_feedforward": 64},
        {"dim_model": 16, "n_head": 4, "initial_embedding_dim": 16},
        {"learning_rate": 0.5, "epochs": 9, "seed": 7, "model_name": "other"},
        {"scheduler": {"name": "StepLR", "step_size": 3, "gamma": 0.5}},
        {"dropout": 0.2},
        {"optimizer": {"name": "AdamW", "weight_decay": 0.3}},
    ],
    ids=str,
)
def test_a_run_that_is_as_large_in_every_respect_takes_as_much(
    make_config: Config, changes: dict[str, Any]
) -> None:
    usual = {"dropout": 0.1, "optimizer": {"name": "AdamW", "weight_decay": 0.01}, **SIZES}

    less, more = (need(make_config(**{**usual, **each})) for each in ({}, changes))

    assert more.is_at_least(less)
    assert less.is_at_least(more) is (more.sizes == less.sizes)


SIZES = {"dim_model": 8, "n_head": 2, "initial_embedding_dim": 8, "batch_size": 8, "num_layers": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 4},
        {"num_layers": 2, "batch_size": 4},
        {"dim_model": 16, "n_head": 2, "initial_embedding_dim": 16},  # other kernels
        {"dropout": 0.0},
        {"accumulation_steps": 2},
        {"optimizer": {"name": "AdamW"}},
        {"optimizer": {"name": "AdamW", "weight_decay": 0.0}},
        {"optimizer": {"name": "AdamW", "weight_decay": 0.01, "amsgrad": True}},
        {"activation_fn": "gelu"},
        {"norm_first": False},
        {"layer_type_dtypes": {"linear": "bfloat16"}},
        {"load_full_data_to_ram": False},
    ],
    ids=str,
)
def test_what_is_smaller_or_merely_different_is_not_compared(
    make_config: Config, changes: dict[str, Any]
) -> None:
    usual = {"dropout": 0.1, "optimizer": {"name": "AdamW", "weight_decay": 0.01}, **SIZES}

    first, other = (need(make_config(**{**usual, **each})) for each in ({}, changes))

    assert not other.is_at_least(first)


def test_other_devices_other_data_and_another_program_are_not_compared(
    make_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config()
    first = need(config)

    assert not need(config, GPU).is_at_least(first)
    assert not need(config, digest="q").is_at_least(first)
    monkeypatch.setattr("sequifier_hpo.searchspace.memory._programs", lambda: {"torch": "3.0"})
    assert not need(config).is_at_least(first)


def test_an_epoch_of_a_single_step_proves_less_to_one_of_several(make_config: Config) -> None:
    """The optimizer has no state yet in the first step."""
    several, single = (need(make_config(batch_size=size), num_windows=16) for size in (8, 16))

    assert not single.is_at_least(several)


def test_on_a_gpu_windows_of_other_lengths_are_not_compared(make_config: Config) -> None:
    short, long = (need(make_config(seq_length=length), GPU) for length in (4, 6))

    assert not long.is_at_least(short)


def test_a_step_that_may_be_compiled_is_compared_with_its_like_only(make_config: Config) -> None:
    small = {**SIZES, "torch_compile": "auto"}
    first = need(make_config(**small), GPU)

    assert need(make_config(**small, learning_rate=0.5), GPU).is_at_least(first)
    assert not need(make_config(**{**small, "batch_size": 16}), GPU).is_at_least(first)
    assert not need(make_config(**small, epochs=99), GPU).is_at_least(first)
    assert memory_need(make_config(**small), data(), CPU) is None
