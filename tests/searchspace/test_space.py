"""The space: links, labels, distinct runs and the order they are proposed in."""

import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.train import load_train_config, train_yaml
from sequifier_hpo.searchspace import (
    EffectiveSpace,
    Permutation,
    SearchSpace,
    compile_space,
    decode,
    describe_space,
    differences,
    point_of_labels,
)
from tests.conftest import WriteSearch
from tests.search_files import MODEL, NASTY, TRAINING


def space_of(write: WriteSearch, changes: dict[str, Any] | None = None) -> SearchSpace:
    return compile_space(load_search(write(changes)).config)


def all_cells(space: SearchSpace) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(size) for size in space.sizes)))


def test_the_guides_example_pairs_width_and_heads_and_never_crosses_them(
    write_search: WriteSearch,
) -> None:
    space = space_of(write_search)

    pairs = {
        (config.model_spec.dim_model, config.model_spec.n_head)
        for cell in all_cells(space)
        for config, _ in [decode(space, space.point_at(cell), 0, device="cpu")]
    }

    assert pairs == {(64, 4), (128, 8)}


def test_a_linked_group_is_one_parameter_and_single_candidates_are_none(
    write_search: WriteSearch,
) -> None:
    space = space_of(write_search)

    assert [parameter.name for parameter in space.parameters] == [
        "data_schema",
        "model_backbone",
        "num_layers",
    ]
    assert space.num_cells == 8


def test_labels_begin_with_the_index_and_name_the_values(write_search: WriteSearch) -> None:
    space = space_of(write_search)

    assert space.parameters[0].labels == ("0: product", "1: product, price")
    assert space.parameters[1].labels == (
        "0: dim_model=64 n_head=4",
        "1: dim_model=128 n_head=8",
    )


def test_labels_of_candidates_that_look_alike_stay_apart(write_search: WriteSearch) -> None:
    long = [{"name": "AdamW", "betas": [0.9, 0.999], "weight_decay": d} for d in (1e-9, 1e-9)]

    space = space_of(write_search, {f"{TRAINING}.optimizer": long})

    labels = space.parameters[1].labels
    assert len(set(labels)) == len(labels) == 2


def test_a_cell_comes_back_from_its_labels(write_search: WriteSearch) -> None:
    space = space_of(write_search)

    assert [space.cell_of(space.labels_at(cell)) for cell in all_cells(space)] == all_cells(space)


def test_every_decoded_configuration_is_a_valid_file_that_reads_back_equal(
    write_search: WriteSearch, project: Any
) -> None:
    space = space_of(write_search, {f"{MODEL}.attention_type": ["mha", "gqa", "mqa"]})

    for cell in all_cells(space):
        config, _ = decode(space, space.point_at(cell), 3, device="cpu")
        path = project / f"{config.model_name}.yaml"
        path.write_text(train_yaml(config))
        assert load_train_config(path) == config


@pytest.mark.parametrize(
    ("key", "given", "written"),
    [
        ("torch_compile", "none", []),
        ("torch_compile", "auto", ["auto"]),
        ("torch_compile", "inner", ["inner"]),
        ("save_latest_interval_minutes", None, []),
        ("save_latest_interval_minutes", 2.5, ["2.5"]),
    ],
)
def test_a_key_that_sequifier_does_not_know_is_written_only_if_it_says_something(
    write_search: WriteSearch, project: Any, key: str, given: Any, written: list[str]
) -> None:
    space = space_of(write_search, {f"{TRAINING}.{key}": given})

    config, _ = decode(space, space.point_at(all_cells(space)[0]), 0, device="cpu")
    path = project / "run.yaml"
    path.write_text(train_yaml(config))

    assert re.findall(f"{key}: (.*)", path.read_text()) == written
    assert load_train_config(path) == config


@pytest.mark.parametrize(
    ("attention_type", "n_kv_heads", "written", "num_adjustments"),
    [
        ("mha", None, ("mha", None), 0),
        ("mha", 2, ("mha", None), 1),
        ("mqa", None, ("mqa", 1), 1),
        ("mqa", 1, ("mqa", 1), 0),
        ("mqa", 4, ("mqa", 1), 1),
        ("gqa", 2, ("gqa", 2), 0),
        ("gqa", 3, ("mha", None), 2),
        ("gqa", None, ("mha", None), 1),
        ("gqa", 99, ("mha", None), 2),
    ],
)
def test_key_value_heads_are_reconciled_with_the_attention_type(
    write_search: WriteSearch,
    attention_type: str,
    n_kv_heads: int | None,
    written: tuple[str, int | None],
    num_adjustments: int,
) -> None:
    changes = {f"{MODEL}.attention_type": [attention_type], f"{MODEL}.n_kv_heads": [n_kv_heads]}
    space = space_of(write_search, changes)

    config, adjustments = decode(space, space.point_at((0, 0, 0)), 0, device="cpu")

    spec = config.model_spec
    assert (spec.attention_type, spec.n_kv_heads) == written
    assert len(adjustments) == num_adjustments


def test_widths_are_shared_out_per_input_set_and_written_where_needed(
    write_search: WriteSearch,
) -> None:
    space = space_of(write_search)

    only_categorical, _ = decode(space, space.point_at((0, 0, 0)), 0, device="cpu")
    mixed, adjustments = decode(space, space.point_at((1, 0, 0)), 0, device="cpu")

    assert only_categorical.model_spec.feature_embedding_dims is None
    assert mixed.model_spec.feature_embedding_dims == {"product": 63, "price": 1}
    assert [adjustment.field for adjustment in adjustments] == ["feature_embedding_dims"]


def meaning(space: SearchSpace, cell: tuple[int, ...]) -> str:
    """An independent, slow account of what a run is: its whole file, reduced by hand."""
    config, _ = decode(space, space.point_at(cell), 0, device="cpu")
    spec = config.model_spec
    heads = spec.n_kv_heads or spec.n_head
    theta = spec.rope_theta if spec.positional_encoding == "rope" else 0.0
    reduced = spec.model_copy(
        update={"attention_type": "mha", "n_kv_heads": heads, "rope_theta": theta}
    )
    return config.model_copy(update={"model_spec": reduced}).model_dump_json()


@pytest.mark.parametrize(
    "changes",
    [
        NASTY,
        {f"{MODEL}.attention_type": ["mha", "mqa", "gqa"]},
        {f"{MODEL}.attention_type": ["gqa"], f"{MODEL}.n_kv_heads": [None, 1, 2, 4, 3]},
        {f"{MODEL}.positional_encoding": ["learned", "rope"]},
    ],
)
def test_distinct_runs_are_counted_exactly(
    write_search: WriteSearch, changes: dict[str, Any]
) -> None:
    space = space_of(write_search, changes)

    effective = EffectiveSpace(space, seed=1)

    assert effective.num_distinct == len({meaning(space, cell) for cell in all_cells(space)})


def test_ranks_and_their_duplicates_cover_every_cell_once(write_search: WriteSearch) -> None:
    space = space_of(write_search, NASTY)
    effective = EffectiveSpace(space, seed=1)

    covered = []
    for place in range(effective.num_distinct):
        group = [
            effective.representative(place),
            *effective.equals(effective.representative(place)),
        ]
        assert len({meaning(space, cell) for cell in group}) == 1
        covered += group

    assert sorted(covered) == all_cells(space)


def test_another_seed_gives_another_order_of_the_same_runs(write_search: WriteSearch) -> None:
    space = space_of(write_search)
    orders = [
        [EffectiveSpace(space, seed).representative(place) for place in range(8)] for seed in (1, 2)
    ]

    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])


def test_a_product_of_a_billion_cells_costs_nothing(write_search: WriteSearch) -> None:
    changes = {
        f"{MODEL}.dim_feedforward": list(range(1, 1001)),
        f"{MODEL}.num_layers": list(range(1, 1001)),
        f"{TRAINING}.batch_size": list(range(1, 1001)),
    }
    space = space_of(write_search, changes)

    effective = EffectiveSpace(space, seed=1)

    assert effective.num_distinct == space.num_cells == 4 * 10**9
    assert len({effective.representative(place) for place in range(1000)}) == 1000


@given(size=st.integers(1, 3000), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_a_permutation_visits_every_number_once(size: int, seed: int) -> None:
    permutation = Permutation(size, seed)

    assert sorted(permutation(k) for k in range(size)) == list(range(size))


def test_the_first_elements_of_permutations_are_spread_evenly() -> None:
    deciles = [0] * 10
    for seed in range(5000):
        deciles[Permutation(1000, seed)(0) // 100] += 1

    assert all(400 < count < 600 for count in deciles)


def test_a_permutation_ends_where_it_ends() -> None:
    with pytest.raises(IndexError, match="range"):
        Permutation(3, 0)(3)


def test_the_order_of_a_seed_never_changes() -> None:
    # Studies are resumed by it: another order would repeat runs and leave out others.
    assert [Permutation(10, 101)(k) for k in range(10)] == [7, 0, 5, 8, 1, 6, 9, 4, 2, 3]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({f"{MODEL}.num_layers": [1, 3]}, "num_layers: 3 added; 2 removed"),
        ({f"{MODEL}.num_layers": [1, 2, 3]}, "num_layers: 3 added"),
        ({f"{MODEL}.num_layers": [2, 1]}, "num_layers: in another order"),
        ({f"{MODEL}.dim_feedforward": [32, 64]}, "dim_feedforward: 64 added"),
        ({f"{MODEL}.dim_feedforward": [64]}, "dim_feedforward: 32 becomes 64"),
        ({f"{MODEL}.num_layers": [1]}, "num_layers: 2 removed"),
        (
            {f"{TRAINING}.epochs": [2]},
            "training_schedule: in the row learning_rate=0.001, epochs 1 becomes 2",
        ),
        (
            {f"{MODEL}.n_head": [4, 4]},
            "model_backbone: in the row dim_model=128, n_head 8 becomes 4",
        ),
        ({"seed": 7}, "seed: 101 becomes 7"),
        ({f"{TRAINING}.early_stopping_epochs": 2}, "early_stopping_epochs: null becomes 2"),
        (
            {f"{TRAINING}.layer_type_dtypes": {"linear": "bfloat16"}},
            "layer_type_dtypes: null becomes {linear: bfloat16}",
        ),
    ],
)
def test_a_changed_space_has_a_diff_that_names_the_change(
    write_search: WriteSearch, changes: dict[str, Any], line: str
) -> None:
    before = describe_space(space_of(write_search))

    after = describe_space(space_of(write_search, changes))

    assert differences(before, after) == [line]


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 3},
        {"n_samples": 5, "search_strategy": "sample"},
        {f"{TRAINING}.device": "cpu"},
        {"model_config_write_path": "elsewhere"},
        {"read_format": "pt", "export": "best"},
        {f"{MODEL}.prediction_length": 2},
        {f"{TRAINING}.distributed": True, f"{TRAINING}.world_size": 2},
        {f"{TRAINING}.enforce_determinism": False},
    ],
)
def test_what_does_not_change_results_does_not_change_the_described_space(
    write_search: WriteSearch, changes: dict[str, Any]
) -> None:
    before = describe_space(space_of(write_search))

    after = describe_space(space_of(write_search, changes))

    assert after == before
    assert differences(before, after) == []


def described_by_0_1_0(space: SearchSpace) -> dict[str, Any]:
    """What that version stored of a space, beside what is still compared."""
    return {
        **describe_space(space),
        "read_format": "pt",
        "enforce_determinism": True,
        "distributed": False,
        "world_size": 1,
        "prediction_length": 3,
        "n_classes": {"product": 10, "weekday": 8},
        "data_schema": [
            {
                **parameter.choices[i].values,
                "column_types": {"product": "Int64", "price": "Float64"},
            }
            for parameter in space.parameters[:1]
            for i in range(2)
        ],
    }


def test_a_space_described_by_an_earlier_version_is_compared_in_what_still_counts(
    write_search: WriteSearch,
) -> None:
    stored = described_by_0_1_0(space_of(write_search))

    same = describe_space(space_of(write_search))
    other = describe_space(space_of(write_search, {f"{TRAINING}.epochs": [2]}))

    assert differences(stored, same) == []
    assert [line[:19] for line in differences(stored, other)] == ["training_schedule: "]


def test_a_trial_of_which_labels_are_stored_is_a_point_of_its_space(
    write_search: WriteSearch,
) -> None:
    space = space_of(write_search)
    stored = json.loads(json.dumps(described_by_0_1_0(space)))

    points = [point_of_labels(stored, space.labels_at(cell)) for cell in all_cells(space)]

    assert points == [space.point_at(cell) for cell in all_cells(space)]


def test_a_new_column_in_the_data_does_not_change_the_space(
    write_search: WriteSearch, project: Path
) -> None:
    before = describe_space(space_of(write_search))
    file = project / "configs/metadata_configs/shop.json"
    metadata = json.loads(file.read_text())
    metadata["column_types"]["shop"] = "Int64"
    metadata["n_classes"]["shop"] = 5
    file.write_text(json.dumps(metadata))

    after = describe_space(space_of(write_search))

    assert differences(before, after) == []


def test_other_input_columns_are_told_in_words() -> None:
    def described(*sets: list[str]) -> dict[str, Any]:
        return {"data_schema": [{"input_columns": columns} for columns in sets]}

    before = described(["product", "price"], ["product"])

    assert differences(before, described(["price", "weekday"], ["product"])) == [
        "input_columns: [price, weekday] added; [product, price] removed",
        "columns: weekday is read from now on",
    ]
    assert differences(before, described(["product", "price"])) == [
        "input_columns: [product] removed"
    ]
    assert differences(described(["a"]), described(["a"], ["b", "c"])) == [
        "input_columns: [b, c] added",
        "columns: b and c are read from now on",
    ]
    assert differences(described(["a"], ["b"]), described(["a"])) == [
        "input_columns: [b] removed",
        "columns: b is read no longer",
    ]
