"""The spaces that a study has had, all of them in one, and what their losses count."""

from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from sequifier_hpo.config.search import load_search
from sequifier_hpo.preprocessing.inputs import recounted
from sequifier_hpo.records import Counted, Recount
from sequifier_hpo.searchspace import AllSpaces, DescribedSpace, Point, describe_space, unlike
from sequifier_hpo.study.distributions import distributions
from tests.conftest import WriteSearch
from tests.contract.test_study import plan_of
from tests.search_files import MODEL, TRAINING
from tests.searchspace.test_space import space_of

SAMPLE = {"search_strategy": "sample", "n_samples": 5}


def all_of(write: WriteSearch, *changes: dict[str, Any]) -> AllSpaces:
    return AllSpaces(describe_space(space_of(write, {**SAMPLE, **each})) for each in changes)


@pytest.mark.parametrize(
    ("field", "former", "present", "stored"),
    [
        ("dropout", [0.1], [0.1], None),
        ("dropout", [0.1], [0.2], ("0: 0.1", "1: 0.2")),
        ("dropout", [0.1, 0.2], [0.3, 0.1], ("0: 0.1", "1: 0.2", "2: 0.3")),
        ("dropout", {"low": 0.1, "high": 0.3}, [0.1], FloatDistribution(0.1, 0.3)),
        ("dropout", [0.0], {"low": 0.1, "high": 0.3}, FloatDistribution(0.0, 0.3)),
        (
            "dropout",
            {"low": 0.1, "high": 0.3},
            {"low": 0.2, "high": 0.5},
            FloatDistribution(0.1, 0.5),
        ),
        (
            "dropout",
            {"low": 0.1, "high": 0.3, "step": 0.1},
            {"low": 0.2, "high": 0.5, "step": 0.1},
            FloatDistribution(0.1, 0.5, step=0.1),
        ),
        (
            "dropout",
            {"low": 0.1, "high": 0.3, "step": 0.1},
            {"low": 0.15, "high": 0.55, "step": 0.1},
            FloatDistribution(0.1, 0.55),
        ),
        ("batch_size", [64, 8], {"low": 4, "high": 32, "log": True}, IntDistribution(4, 64, log=True)),
        ("accumulation_steps", [1, 2], [1, 4], ("0: 1", "1: 2", "2: 4")),
    ],
)  # fmt: skip
def test_what_is_stored_is_all_that_there_ever_was(
    write_search: WriteSearch,
    field: str,
    former: Any,
    present: Any,
    stored: BaseDistribution | tuple[str, ...] | None,
) -> None:
    spaces = all_of(write_search, *({f"{TRAINING}.{field}": each} for each in (former, present)))

    found = distributions(spaces).get(field)

    wanted = CategoricalDistribution(stored) if isinstance(stored, tuple) else stored
    assert found == wanted


def test_every_point_of_every_space_has_all_parameters(write_search: WriteSearch) -> None:
    rates = {f"{TRAINING}.learning_rate": [0.1, 0.2], f"{TRAINING}.epochs": [1, 2]}
    adam = {"name": "Adam", "weight_decay": 0.5}
    sgd = {"name": "SGD", "momentum": {"low": 0.0, "high": 0.9}}
    changes: list[dict[str, Any]] = [
        {**rates, f"{TRAINING}.optimizer": [adam]},
        {f"{TRAINING}.learning_rate": {"low": 0.1, "high": 0.3}, f"{TRAINING}.epochs": [1, 2]},
        {**rates, f"{TRAINING}.optimizer": [sgd], f"{MODEL}.n_kv_heads": [None, 2]},
    ]
    all_spaces = all_of(write_search, *changes)
    names = {each.name for each in all_spaces.parameters if len(each.candidates) > 1}

    for each in changes:
        space = space_of(write_search, {**SAMPLE, **each})
        first, last = (tuple(place * (size - 1) for size in space.sizes) for place in (0, 1))
        for cell in (first, last):
            point = Point.from_json(space.point_at(cell).as_json())
            found = all_spaces.stored(point)
            assert names <= found.keys()
            assert DescribedSpace(describe_space(space)).has(point)
            for name, value in found.items():
                assert distributions(all_spaces)[name]._contains(
                    distributions(all_spaces)[name].to_internal_repr(value)
                )


def test_what_a_loss_is_has_to_stay(write_search: WriteSearch) -> None:
    before, more, other = (
        describe_space(space_of(write_search, changes))
        for changes in (
            {},
            {f"{MODEL}.num_layers": [1, 2, 3], "seed": 7},
            {f"{TRAINING}.loss_weights": {"product": 2.0}},
        )
    )

    assert unlike(before, other) == ["loss_weights: null becomes {product: 2}"]
    assert unlike(before, more) == []


def test_a_study_that_does_not_know_its_data_is_not_revised(write_search: WriteSearch) -> None:
    plan = plan_of(write_search).study
    former = describe_space(space_of(write_search, {f"{MODEL}.num_layers": [1]}))

    change = plan.change_of(former, None, ())

    assert change is not None
    assert "--same-data" in change.obstacles[0]


@pytest.mark.parametrize(
    ("lengths", "before", "after"),
    [
        ([6], None, None),
        ([6, 8], None, 6),
        ([8], None, 6),
        ([6, 8], 6, 6),
        ([8], 6, 6),
        ([{"low": 6, "high": 8, "step": 2}], None, 6),
    ],
)
def test_a_revised_study_goes_on_counting_what_its_runs_count(
    write_search: WriteSearch, lengths: list[Any], before: int | None, after: int | None
) -> None:
    config = load_search(write_search({"seq_length": lengths})).config

    found = recounted(config, Counted(last_positions=before), {"seq_length": [6]})

    assert found == Recount(Counted(last_positions=after), formerly=6)
    assert not found.is_over_fewer


@pytest.mark.parametrize("before", [None, 6])
def test_with_runs_that_predict_fewer_positions_a_study_counts_fewer(
    write_search: WriteSearch, before: int | None
) -> None:
    config = load_search(write_search({"seq_length": [8, 5]})).config

    found = recounted(config, Counted(last_positions=before), {"seq_length": [6]})

    assert found == Recount(Counted(last_positions=5), formerly=6)
    assert found.is_over_fewer
