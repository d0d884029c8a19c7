"""Points: what is chosen, by value."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sequifier_hpo.config.search import load_search
from sequifier_hpo.searchspace import (
    Point,
    SearchSpace,
    compile_space,
    decode,
    values_of,
)
from tests.conftest import WriteSearch
from tests.search_files import MODEL, TRAINING, searches, write


def space_of(write: WriteSearch, changes: dict[str, Any] | None = None) -> SearchSpace:
    return compile_space(load_search(write(changes)).config)


def all_cells(space: SearchSpace) -> list[tuple[int, ...]]:
    return list(itertools.product(*(range(size) for size in space.sizes)))


def test_a_point_holds_values_and_nothing_that_the_metadata_decide(
    write_search: WriteSearch,
) -> None:
    point = space_of(write_search).point_at((1, 0, 1))

    assert point.values["data_schema"] == {"input_columns": ["product", "price"]}
    assert point.values["num_layers"] == 2
    assert point.values["model_backbone"]["dim_model"] == 64
    assert point.values["batch_size"] == 8  # the only candidate


@pytest.mark.usefixtures("project")
@given(data=searches(), picks=st.lists(st.integers(0, 10**9), min_size=20, max_size=20))
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_cell_comes_back_from_its_point_and_the_point_from_its_json(
    data: dict[str, Any], picks: list[int]
) -> None:
    space = compile_space(load_search(write(data)).config)
    cell = tuple(pick % size for pick, size in zip(picks, space.sizes, strict=False))

    point = space.point_at(cell)
    back = space.cell_of_point(point)

    assert Point.from_json(json.loads(json.dumps(point.as_json()))) == point
    assert back is not None
    assert space.point_at(back) == point
    assert values_of(space, point)[0] == values_of(space, space.point_at(back))[0]


EXACT = [1, 1.0, True, "1", None, 0, False, "null", 1e-320, 0.1 + 0.2, [1], [1.0], {"a": 1}]


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(EXACT, 2)))
def test_values_that_python_takes_for_equal_are_different_points(one: Any, other: Any) -> None:
    points = [Point({"optimizer": {"name": "Adam", "x": value}}) for value in (one, other)]

    assert points[0] != points[1]
    assert [Point.from_json(json.loads(json.dumps(p.as_json()))) for p in points] == points


def test_the_order_of_the_keys_of_a_row_is_no_part_of_a_point() -> None:
    assert Point({"a": {"x": 1, "y": 2}}) == Point({"a": {"y": 2, "x": 1}})


def test_a_point_outlives_the_lists_that_it_was_chosen_from(write_search: WriteSearch) -> None:
    point = space_of(write_search).point_at((1, 1, 0))  # num_layers is 1

    grown = space_of(
        write_search,
        {f"{MODEL}.num_layers": [4, 1], f"{TRAINING}.batch_size": [16, 8], "seq_length": [6]},
    )

    # data_schema, batch_size, model_backbone, num_layers
    assert grown.cell_of_point(point) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    "changes",
    [
        {f"{MODEL}.num_layers": [3, 4]},
        {f"{MODEL}.num_layers": [3]},
        {f"{TRAINING}.learning_rate": [0.01]},
        {"input_columns": [["product"], ["weekday"]]},
        {f"{MODEL}.n_head": [8, 4]},
    ],
)
def test_a_point_that_is_no_longer_in_the_space_keeps_its_values(
    write_search: WriteSearch, changes: dict[str, Any]
) -> None:
    before = space_of(write_search)
    point = before.point_at((1, 0, 1))
    values, adjustments = values_of(before, point)

    after = space_of(write_search, changes)

    assert after.cell_of_point(point) is None
    assert values_of(after, point) == (values, adjustments)
    assert decode(after, point, 0, device="cpu") == decode(before, point, 0, device="cpu")
