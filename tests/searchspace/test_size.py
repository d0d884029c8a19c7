"""Sizes are computed in closed form; they must be those of the real model."""

from typing import Any

import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.searchspace import (
    EffectiveSpace,
    adjusted_cells,
    compile_space,
    decode,
    measure,
    same_runs,
)
from sequifier_hpo.searchspace.resolve import resolve
from sequifier_hpo.searchspace.size import num_parameters
from sequifier_hpo.training.model.transformer import SequenceTransformer
from tests.conftest import WriteSearch

MODEL = "model_hyperparameter_sampling"
VARIED = {
    "input_columns": [["product"], ["product", "price"], ["price", "weekday", "product"]],
    f"{MODEL}.dim_model": [12, 24],
    f"{MODEL}.n_head": [2, 6],
    f"{MODEL}.initial_embedding_dim": [12, 10],
    f"{MODEL}.joint_embedding_dim": [None, 24],
    f"{MODEL}.activation_fn": ["swiglu", "gelu"],
    f"{MODEL}.normalization": ["rmsnorm", "layer_norm"],
    f"{MODEL}.positional_encoding": ["learned", "rope"],
    f"{MODEL}.attention_type": ["mha", "gqa"],
    f"{MODEL}.n_kv_heads": [2],
    f"{MODEL}.norm_first": [True, False],
}


@pytest.mark.parametrize(
    "targets", [{"product": "categorical"}, {"product": "categorical", "price": "real"}]
)
def test_the_number_of_parameters_is_that_of_the_model(
    write_search: WriteSearch, targets: dict[str, str]
) -> None:
    changes: dict[str, Any] = {
        **VARIED,
        "target_columns": list(targets),
        "target_column_types": targets,
    }
    space = compile_space(load_search(write_search(changes)).config)
    effective = EffectiveSpace(space, seed=1)

    for rank in range(0, effective.num_distinct, 7):
        cell = effective.representative(rank)
        values, _ = resolve(space.values(cell), space.column_order)
        config, _ = decode(space, space.point_at(cell), 0, device="cpu")
        model = SequenceTransformer(config)

        expected = sum(parameter.numel() for parameter in model.parameters())
        assert num_parameters(values, config.n_classes, targets) == expected


def test_sizes_are_measured_over_a_part_of_the_space_if_it_is_large(
    write_search: WriteSearch,
) -> None:
    space = compile_space(load_search(write_search()).config)
    effective = EffectiveSpace(space, seed=1)

    sizes = measure(space, effective, most=3)

    assert sizes.num_measured == 3
    assert measure(space, effective).num_measured == effective.num_distinct == 8
    assert sizes.parameters.minimum <= sizes.parameters.median <= sizes.parameters.maximum
    assert sizes.memory_bytes.minimum > 4 * sizes.parameters.minimum


def test_adjustments_are_counted_in_cells_of_the_whole_product(write_search: WriteSearch) -> None:
    changes = {f"{MODEL}.attention_type": ["mha", "gqa"], f"{MODEL}.n_kv_heads": [2, 3]}
    space = compile_space(load_search(write_search(changes)).config)

    counts = {entry.adjustment: entry.num_cells for entry in adjusted_cells(space)}

    # 32 cells: half are mha, and half of those have 2 and half have 3 key/value heads.
    assert counts["n_kv_heads: 2 -> null (mha has as many as n_head)"] == 8
    assert counts["attention_type: gqa -> mha (n_kv_heads 3 does not divide n_head = 4)"] == 4


def test_choices_that_mean_the_same_run_are_listed_together(write_search: WriteSearch) -> None:
    changes = {f"{MODEL}.n_kv_heads": [None, 2], f"{MODEL}.dim_model": [64], f"{MODEL}.n_head": [4],
               f"{MODEL}.initial_embedding_dim": [64]}  # fmt: skip
    space = compile_space(load_search(write_search(changes)).config)

    (same,) = same_runs(EffectiveSpace(space, seed=1), limit=10)

    assert [choice["n_kv_heads"] for choice in same.choices] == ["0: null", "1: 2"]
