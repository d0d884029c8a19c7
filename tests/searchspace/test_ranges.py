"""Ranges in a space: what they are called, how runs are counted, what a point and its key are."""

import json
from typing import Any

import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.records import Stored
from sequifier_hpo.searchspace import (
    EffectiveSpace,
    Keyer,
    Point,
    SearchSpace,
    adjusted_cells,
    compile_space,
    decode,
    describe_space,
    differences,
    measure,
)
from tests.conftest import WriteSearch
from tests.contract.conftest import DATA
from tests.search_files import MODEL, TRAINING

RATE = {"low": 1e-4, "high": 1e-2, "log": True}
ONE_OF_EACH: dict[str, Any] = {
    "search_strategy": "sample",
    "n_samples": 5,
    f"{TRAINING}.dropout": [0.0, {"low": 0.1, "high": 0.3}],
    f"{TRAINING}.learning_rate": RATE,
    f"{TRAINING}.epochs": [3, {"low": 5, "high": 7}],
    f"{TRAINING}.batch_size": {"low": 4, "high": 16, "step": 4},
    f"{TRAINING}.optimizer": [
        {"name": "AdamW", "weight_decay": RATE, "betas": [{"low": 0.8, "high": 0.9}, 0.99]},
        {"name": "Adam"},
    ],
}
DRAWN: dict[str, Stored] = {
    "data_schema": "0: product",
    "training_schedule": "1",
    "epochs[1]": 6,
    "learning_rate": 0.0012345678901234567,
    "batch_size": 12,
    "dropout": "1",
    "dropout[1]": 0.1 + 0.2 - 0.05,
    "optimizer": "0",
    "optimizer[0].weight_decay": 1 / 3000,
    "optimizer[0].betas[0]": 0.85,
    "model_backbone": "0",
    "num_layers": "1",
}


def space_of(write: WriteSearch, changes: dict[str, Any]) -> SearchSpace:
    return compile_space(load_search(write(changes)).config)


def sampled(changes: dict[str, Any]) -> dict[str, Any]:
    return {"search_strategy": "sample", "n_samples": 5, **changes}


def test_a_range_is_called_as_in_the_search_file(write_search: WriteSearch) -> None:
    space = space_of(write_search, ONE_OF_EACH)

    assert {part.name for part in space.parts} == {
        "dropout[1]",
        "learning_rate",
        "epochs[1]",
        "batch_size",
        "optimizer[0].weight_decay",
        "optimizer[0].betas[0]",
    }
    labels = {parameter.name: parameter.labels for parameter in space.parameters}
    assert labels["dropout"] == ("0: 0", "1: 0.1 to 0.3")
    assert labels["training_schedule"] == ("0: epochs=3", "1: epochs=(5 to 7)")
    assert labels["optimizer"][0] == (
        "0: AdamW weight_decay=(0.0001 to 0.01, log) betas=[(0.8 to 0.9), 0.99]"
    )


def test_a_point_holds_the_numbers_that_were_drawn_and_survives_json_exactly(
    write_search: WriteSearch,
) -> None:
    space = space_of(write_search, ONE_OF_EACH)

    cell, draws = space.place_of(DRAWN)
    point = space.point_at(cell, draws)
    read = Point.from_json(json.loads(json.dumps(point.as_json())))

    assert point.values["dropout"] == DRAWN["dropout[1]"]
    assert point.values["training_schedule"]["epochs"] == 6
    assert point.values["learning_rate"] == DRAWN["learning_rate"]
    assert point.values["optimizer"] == {
        "name": "AdamW",
        "weight_decay": 1 / 3000,
        "betas": [0.85, 0.99],
    }
    assert read == point
    assert Keyer(space, DATA).key(read) == Keyer(space, DATA).key(point)
    assert space.cell_of_point(read) == cell


def test_what_is_stored_has_the_numbers_of_the_chosen_candidates_only(
    write_search: WriteSearch,
) -> None:
    space = space_of(write_search, ONE_OF_EACH)
    other = {**DRAWN, "optimizer": "1", "dropout": "0", "training_schedule": "0"}

    all_used = space.labels_at(*space.place_of(DRAWN))
    few_used = space.labels_at(*space.place_of(other))

    assert all_used.keys() == DRAWN.keys()
    assert DRAWN.keys() - few_used.keys() == {
        "epochs[1]",
        "dropout[1]",
        "optimizer[0].weight_decay",
        "optimizer[0].betas[0]",
    }
    assert few_used["learning_rate"] == DRAWN["learning_rate"]


def test_a_run_file_has_the_numbers(write_search: WriteSearch) -> None:
    space = space_of(write_search, ONE_OF_EACH)

    config, _ = decode(space, space.point_at(*space.place_of(DRAWN)), 0, device="cpu")

    spec = config.training_spec
    assert (spec.epochs, spec.learning_rate) == (6, DRAWN["learning_rate"])
    assert spec.dropout == DRAWN["dropout[1]"]
    assert spec.optimizer["betas"] == [0.85, 0.99]


def test_the_number_is_part_of_the_key(write_search: WriteSearch) -> None:
    space = space_of(write_search, ONE_OF_EACH)
    keyer = Keyer(space, DATA)

    def key(**changes: Stored) -> str:
        return keyer.key(space.point_at(*space.place_of({**DRAWN, **changes})))

    assert key(learning_rate=0.002) != key()
    assert key(dropout="0") != key()
    assert key(dropout="0", **{"dropout[1]": 0.2}) == key(dropout="0"), "it is not used there"


@pytest.mark.parametrize(
    ("changes", "num_distinct"),
    [
        ({f"{TRAINING}.dropout": {"low": 0.0, "high": 0.3, "step": 0.1}}, 32),
        ({f"{TRAINING}.dropout": {"low": 0.0, "high": 0.3, "num": 2}}, 16),
        ({f"{TRAINING}.dropout": [0.0, {"low": 0.1, "high": 0.3, "num": 3}]}, 32),
        ({f"{TRAINING}.epochs": {"low": 1, "high": 3}}, 24),
        (
            {
                f"{TRAINING}.epochs": [1, {"low": 2, "high": 4}],
                f"{TRAINING}.learning_rate": {"low": 0.1, "high": 0.4, "step": 0.1},
            },
            8 * 4 * 4,
        ),
        (
            {
                f"{MODEL}.positional_encoding": ["learned", "rope"],
                f"{MODEL}.rope_theta": {"low": 100.0, "high": 300.0, "step": 100},
            },
            8 * (1 + 3),
        ),
        ({f"{MODEL}.rope_theta": {"low": 100.0, "high": 300.0}}, 8),
    ],
)
def test_runs_are_counted_where_they_can_be(
    write_search: WriteSearch, changes: dict[str, Any], num_distinct: int
) -> None:
    space = space_of(write_search, sampled(changes))
    effective = EffectiveSpace(space, seed=1)
    keyer = Keyer(space, DATA)

    cells = [effective.representative(place) for place in range(effective.num_distinct)]

    assert effective.num_distinct == num_distinct
    assert not effective.is_continuous
    assert len({keyer.key(space.point_at(cell)) for cell in cells}) == num_distinct
    assert effective.at_most(10**6) == num_distinct


@pytest.mark.parametrize(
    "changes",
    [
        {f"{TRAINING}.dropout": {"low": 0.0, "high": 0.3}},
        {f"{TRAINING}.dropout": [0.0, {"low": 0.1, "high": 0.3}]},
        {f"{MODEL}.dim_feedforward": {"low": 1, "high": 5000}},
        {
            f"{MODEL}.positional_encoding": ["learned", "rope"],
            f"{MODEL}.rope_theta": {"low": 100.0, "high": 300.0},
        },
    ],
)
def test_a_space_of_numbers_without_gaps_or_of_very_many_is_continuous(
    write_search: WriteSearch, changes: dict[str, Any]
) -> None:
    space = space_of(write_search, sampled(changes))

    assert space.is_continuous
    assert EffectiveSpace(space, seed=1).is_continuous
    assert EffectiveSpace(space, seed=1).at_most(10**6) == 10**6


def test_twins_keep_their_twin_beside_a_range(write_search: WriteSearch) -> None:
    changes = {f"{MODEL}.n_kv_heads": {"low": 1, "high": 4}, f"{TRAINING}.learning_rate": RATE}
    space = space_of(write_search, sampled(changes))
    effective = EffectiveSpace(space, seed=1)

    assert effective.num_distinct == 8, "mha has as many key/value heads as n_head"
    assert {entry.num_cells for entry in adjusted_cells(space)} == {None}


def test_sizes_are_measured_at_both_ends_of_a_range(write_search: WriteSearch) -> None:
    changes = {f"{MODEL}.dim_feedforward": {"low": 1, "high": 5000}}
    space = space_of(write_search, sampled(changes))
    ends = [space_of(write_search, {f"{MODEL}.dim_feedforward": [width]}) for width in (1, 5000)]

    found = measure(space, EffectiveSpace(space, seed=1), most=40)

    low, high = (measure(end, EffectiveSpace(end, seed=1)).parameters for end in ends)
    assert found.num_measured == 16
    assert (found.parameters.minimum, found.parameters.maximum) == (low.minimum, high.maximum)


def test_a_changed_range_is_a_changed_space(write_search: WriteSearch) -> None:
    def described(**changes: Any) -> dict[str, Any]:
        dropout = {"low": 0.1, "high": 0.3, **changes}
        space = space_of(write_search, {**ONE_OF_EACH, f"{TRAINING}.dropout": [0.0, dropout]})
        return json.loads(json.dumps(describe_space(space)))  # type: ignore[no-any-return] # a mapping

    assert differences(described(), described()) == []
    assert differences(described(), described(log=False)) == [], "that is the default"
    assert differences(described(), described(high=0.4)) == [
        "dropout: 0.1 to 0.3 becomes 0.1 to 0.4 (wider)"
    ]
    assert differences(described(), described(low=0.2)) == [
        "dropout: 0.1 to 0.3 becomes 0.2 to 0.3 (narrower)"
    ]
    assert differences(described(), described(low=0.2, high=0.4)) == [
        "dropout: 0.1 to 0.3 becomes 0.2 to 0.4"
    ]
    assert differences(described(), {**described(), "dropout": [{"low": 0.0, "high": 0.3}]}) == [
        "dropout: 0.1 to 0.3 becomes 0 to 0.3 (wider); 0 becomes 0 to 0.3"
    ]
    assert differences(
        {**described(), "dropout": [0.0, 0.2, 0.5]},
        {**described(), "dropout": [{"low": 0.0, "high": 0.3}]},
    ) == ["dropout: 0 and 0.2 become 0 to 0.3; 0.5 removed"]
    assert differences(described(), described(log=True)) == [
        "dropout: 0.1 to 0.3 becomes 0.1 to 0.3, log"
    ]


def test_a_whole_field_or_one_entry_of_it_is_the_same_space(write_search: WriteSearch) -> None:
    whole = space_of(write_search, sampled({f"{TRAINING}.dropout": {"low": 0.0, "high": 0.3}}))
    entry = space_of(write_search, sampled({f"{TRAINING}.dropout": [{"low": 0.0, "high": 0.3}]}))

    assert describe_space(whole) == describe_space(entry)
    assert [p.name for p in whole.parts] == [p.name for p in entry.parts] == ["dropout"]


def test_fields_that_are_ranges_vary(write_search: WriteSearch) -> None:
    space = space_of(write_search, ONE_OF_EACH)

    assert {"dropout", "learning_rate", "epochs", "batch_size"} <= space.varying_fields
    assert "optimizer.weight_decay" in space.varying_fields
    assert "scheduler" not in space.varying_fields
