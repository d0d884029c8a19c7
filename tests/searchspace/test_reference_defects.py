"""Defects of Sequifier 1.0.0.6's search that are not inherited; see docs/differences.md."""

import re
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.searchspace import EffectiveSpace, SearchSpace, compile_space, decode
from tests.conftest import WriteSearch

MODEL = "model_hyperparameter_sampling"
TRAINING = "training_hyperparameter_sampling"


def space_of(write: WriteSearch, changes: dict[str, Any]) -> SearchSpace:
    return compile_space(load_search(write(changes)).config)


def first_run(write: WriteSearch, changes: dict[str, Any]) -> TrainConfig:
    space = space_of(write, changes)
    cell = EffectiveSpace(space, 101).representative(0)
    return decode(space, space.point_at(cell), 0, device="cpu")[0]


def test_the_linked_joint_embedding_is_not_counted_as_a_factor(write_search: WriteSearch) -> None:
    space = space_of(write_search, {f"{MODEL}.joint_embedding_dim": [None, 128]})

    assert space.num_cells == 8


def test_a_grid_keeps_the_export_flags_of_the_file(write_search: WriteSearch) -> None:
    flags = {"export_generative_model": False, "export_embedding_model": True}

    config = first_run(write_search, flags)

    assert (config.export_generative_model, config.export_embedding_model) == (False, True)


def test_a_name_with_a_dot_is_a_name_like_any_other(write_search: WriteSearch) -> None:
    assert first_run(write_search, {"hp_search_name": "v1.2"}).model_name == "v1.2-run-0"


def test_the_seed_is_in_the_run_file_and_comes_from_the_search_file(
    write_search: WriteSearch,
) -> None:
    assert first_run(write_search, {"seed": 7}).seed == 7


def test_optimizer_and_scheduler_can_be_left_out(write_search: WriteSearch) -> None:
    spec = first_run(write_search, {}).training_spec

    assert spec.optimizer == {"name": "Adam"}
    assert spec.scheduler == {"name": "StepLR", "step_size": 1, "gamma": 0.99}


def test_a_grid_needs_no_n_samples_and_input_columns_may_be_null(
    write_search: WriteSearch,
) -> None:
    config = first_run(write_search, {"input_columns": None})

    assert config.input_columns == ["product", "price", "weekday"]


def test_determinism_can_be_chosen(write_search: WriteSearch) -> None:
    chosen = first_run(write_search, {f"{TRAINING}.enforce_determinism": False})

    assert not chosen.training_spec.enforce_determinism


def test_mixed_attention_types_and_heads_give_valid_runs_only(write_search: WriteSearch) -> None:
    changes = {
        f"{MODEL}.attention_type": ["mha", "mqa", "gqa"],
        f"{MODEL}.n_kv_heads": [None, 2, 3],
    }
    space = space_of(write_search, changes)
    effective = EffectiveSpace(space, 1)

    for rank in range(effective.num_distinct):
        decode(space, space.point_at(effective.representative(rank)), rank, device="cpu")


def test_every_defect_on_the_page_names_a_test_that_exists() -> None:
    root = Path(__file__).parents[2]
    page = (root / "docs" / "differences.md").read_text()
    tests = {
        name
        for path in (root / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }

    named = re.findall(r"`(test_\w+)`", page)

    assert len(named) >= 25
    assert [name for name in named if name not in tests] == []


@pytest.mark.parametrize("strategy", ["grid", "sample"])
def test_nothing_of_the_product_is_written_out(write_search: WriteSearch, strategy: str) -> None:
    changes = {
        "search_strategy": strategy,
        "n_samples": 10,
        f"{MODEL}.dim_feedforward": list(range(1, 2_001)),
        f"{TRAINING}.batch_size": list(range(1, 2_001)),
    }

    space = space_of(write_search, changes)

    assert EffectiveSpace(space, 1).num_distinct == 8 * 2000**2
