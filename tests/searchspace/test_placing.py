"""A configuration of another space has a place where every one of its values has one."""

from typing import Any

import pytest

from sequifier_hpo.config.search import load_search
from sequifier_hpo.searchspace import (
    Point,
    SearchSpace,
    compile_space,
    configuration,
    describe_space,
    place,
)
from tests.conftest import WriteSearch

MODEL, TRAINING = "model_hyperparameter_sampling", "training_hyperparameter_sampling"


@pytest.fixture
def space_of(write_search: WriteSearch) -> Any:
    """The space of the usual search file with changes, which stay."""

    def compiled(changes: dict[str, Any]) -> SearchSpace:
        sample = {"search_strategy": "sample", "n_samples": 5}
        return compile_space(load_search(write_search({**sample, **changes})).config)

    return compiled


def placed(there: SearchSpace, here: SearchSpace, point: Point) -> Point | str:
    return place(here, configuration(describe_space(there), point, here.description))


def first(space: SearchSpace, **draws: float) -> Point:
    return space.point_at((0,) * len(space.parameters), draws)


def test_a_point_of_the_same_space_is_its_own_place(space_of: Any) -> None:
    space = space_of({})

    for cell in [(0, 0, 0), (1, 0, 1), (1, 1, 1)]:
        point = space.point_at(cell)
        assert placed(space, space, point) == point


def test_what_was_fixed_may_be_chosen_and_the_reverse(space_of: Any) -> None:
    there = space_of({f"{TRAINING}.batch_size": [8], f"{MODEL}.num_layers": [1, 2]})
    point = first(there)
    here = space_of({f"{TRAINING}.batch_size": [4, 8], f"{MODEL}.num_layers": [1]})

    found = placed(there, here, point)

    assert isinstance(found, Point)
    assert here.places_in(found) is not None
    assert found.values["batch_size"] == 8
    assert found.values["num_layers"] == 1


def test_a_candidate_may_lie_in_a_range_and_a_number_of_a_range_be_a_candidate(
    space_of: Any,
) -> None:
    listed = space_of({f"{TRAINING}.dropout": [0.1, 0.5]})
    ranged = space_of({f"{TRAINING}.dropout": {"low": 0.0, "high": 0.3}})
    inside, outside = first(listed), Point({**first(listed).values, "dropout": 0.5})

    assert placed(listed, ranged, inside) == inside
    assert placed(listed, ranged, outside) == "dropout is outside 0 to 0.3"
    drawn = first(ranged, **{"dropout": 0.25, "dropout[0]": 0.25})
    assert placed(ranged, listed, drawn) == "dropout 0.25 is not a candidate"


def test_fields_may_be_linked_otherwise(space_of: Any) -> None:
    rate = {"low": 1e-4, "high": 1e-1, "log": True}
    rows = space_of({f"{TRAINING}.learning_rate": [0.001, 0.01], f"{TRAINING}.epochs": [1, 3]})
    point = rows.point_at((0, 1, 0, 0))
    beside = space_of({f"{TRAINING}.learning_rate": rate, f"{TRAINING}.epochs": [1, 3]})

    found = placed(rows, beside, point)

    assert isinstance(found, Point)
    assert found.values["learning_rate"] == 0.01
    assert "learning_rate" not in found.values["training_schedule"]
    assert beside.places_in(found) is not None
    assert placed(beside, rows, found) == point
    crossed = Point({**found.values, "learning_rate": 0.001})
    why = placed(beside, rows, crossed)
    assert isinstance(why, str)
    assert why.startswith("learning_rate 0.001, epochs 3")
    assert why.endswith("are not one row")


def test_a_range_in_an_argument_takes_the_numbers_in_it(space_of: Any) -> None:
    def adam(decay: Any) -> dict[str, Any]:
        return {f"{TRAINING}.optimizer": [{"name": "AdamW", "weight_decay": decay}]}

    there = space_of(adam(0.01))
    point = first(there)

    assert placed(there, space_of(adam({"low": 0.0, "high": 0.1})), point) == point
    assert placed(there, space_of(adam(0.1)), point) == (
        "optimizer AdamW weight_decay=0.01 is not a candidate"
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({f"{MODEL}.num_layers": [2]}, "num_layers 1 is not a candidate"),
        ({"input_columns": [["price"]]}, "input_columns [product] is not a candidate"),
        (
            {f"{TRAINING}.class_weights": {"product": [1.0] * 10}},
            "class_weights is null there and {product: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]} here",
        ),
        (
            {f"{TRAINING}.criterion": {"product": "MultiMarginLoss"}},
            "criterion is {product: CrossEntropyLoss} there and {product: MultiMarginLoss} here",
        ),
        (
            {f"{TRAINING}.scheduler_step_on": "batch"},
            "scheduler_step_on is epoch there and batch here",
        ),
    ],
)
def test_what_has_no_place_says_why(space_of: Any, changes: dict[str, Any], why: str) -> None:
    there = space_of({})
    point = first(there)

    assert placed(there, space_of(changes), point) == why


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 7},
        {f"{TRAINING}.early_stopping_epochs": 3},
        {f"{TRAINING}.criterion": {"product": "CrossEntropyLoss"}},
        {f"{TRAINING}.loss_weights": {"product": 1.0}},
        {f"{TRAINING}.device": "cpu"},
    ],
)
def test_what_means_the_same_or_shapes_no_result_is_no_obstacle(
    space_of: Any, changes: dict[str, Any]
) -> None:
    there = space_of({})
    point = first(there)

    assert placed(there, space_of(changes), point) == point


def test_a_study_that_is_older_than_a_field_has_its_only_candidate(space_of: Any) -> None:
    space = space_of({})
    older = {k: v for k, v in first(space).values.items() if k != "dropout"}

    assert isinstance(placed(space, space, Point(older)), Point)
    varied = space_of({f"{TRAINING}.dropout": [0.0, 0.1]})
    assert placed(space, varied, Point(older)) == "it has no dropout"
