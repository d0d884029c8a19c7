"""Ids that the user gives."""

import json
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.config.metadata import read_metadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.stored_tables import scan_windows
from tests.preprocessing.conftest import Project

TABLE = {
    "sequenceId": [0] * 3,
    "itemPosition": [0, 1, 2],
    "x": [7, 8, 9],
    "day": ["mo", "tu", "mo"],
}


def give(project: Project, column: str, ids: Any) -> Path:
    path = project.root / "project" / "configs" / "id_maps" / f"{column}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(ids if isinstance(ids, str) else json.dumps(ids))
    return path


def ids_of(path: str, column: str) -> list[float]:
    table, items = scan_windows(Path(path), "parquet")
    rows = table.collect()
    return list(rows.filter(rows["inputCol"] == column).select(items).row(0))


def test_values_get_the_ids_of_the_file(project: Project) -> None:
    data = project.write_parquet("t.parquet", TABLE)
    path = give(project, "x", {"8": 2, "7": 5, "9": 3})

    summary = project.preprocess(data)

    assert ids_of(summary.split_paths[0], "x") == [5, 2, 3]
    assert ids_of(summary.split_paths[0], "day") == [1, 2, 1]
    metadata = read_metadata(summary.metadata_path)
    assert metadata.id_maps["x"] == {"8": 2, "7": 5, "9": 3}
    assert metadata.n_classes == {"x": 6, "day": 3}
    assert summary.notes == (f"column `x` has the ids of {path}",)


@pytest.mark.parametrize(("ids", "unknown"), [({"7": 2}, 1), ({"7": 1}, 0)])
def test_values_without_an_id_are_unknown_and_noted(
    project: Project, ids: dict[str, int], unknown: int
) -> None:
    data = project.write_parquet("t.parquet", TABLE)
    give(project, "x", ids)

    summary = project.preprocess(data)

    assert ids_of(summary.split_paths[0], "x") == [ids["7"], unknown, unknown]
    [note] = summary.notes
    assert note.endswith(f"; 2 values in 2 rows are not there and get id {unknown}: `8`, `9`")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "it is not JSON"),
        ("[1]", "dictionary"),
        ("{}", "it is empty"),
        ({"7": 0}, "7: Input should be greater than or equal to 1"),
        ({"7": "two"}, "7: Input should be a valid integer"),
    ],
)
def test_what_is_no_map_is_refused(project: Project, content: Any, problem: str) -> None:
    path = give(project, "x", content)

    with pytest.raises(InputError) as caught:
        project.preprocess(project.write_parquet("t.parquet", TABLE))

    assert caught.value.problem.startswith(f"{path} is not a map of ids: ")
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    ("column", "problem"),
    [("y", "a column of decimal numbers"), ("z", "not among the columns that are read: `x`,")],
)
def test_a_map_that_no_column_can_use_is_refused(
    project: Project, column: str, problem: str
) -> None:
    data = project.write_parquet("t.parquet", TABLE | {"y": [0.5, 1.5, 2.5]})
    give(project, column, {"7": 2})

    with pytest.raises(InputError, match=problem):
        project.preprocess(data)
