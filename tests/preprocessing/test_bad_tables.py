"""Tables that cannot be windowed: the error names file, column, number of rows and first row."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from sequifier_hpo.errors import InputError
from tests.preprocessing.conftest import Project

Rows = Callable[..., dict[str, Any]]
GOOD = "sequenceId,itemPosition,x\n0,0,1\n0,1,2\n"


def problem_of(project: Project, data: Path, **keys: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        project.preprocess(data, **keys)
    assert project.written_files() == []
    return caught.value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "0,0,1,7\n0,1,,7\n0,2,3,7\n0,3,,7\n",
            "`x` has no value in 2 rows, first in data row 2 of",
        ),
        ("0,0,1,7\n,1,2,7\n", "`sequenceId` has no value in 1 row, first in data row 2 of"),
        ("0,0,1,7\n\n0,1,2,7\n", "`itemPosition` has no value in 1 row, first in data row 2 of"),
        (
            "0.5,0,1,7\n1.0,1,2,7\n",
            "`sequenceId` is not a whole number in 1 row, first in data row 1",
        ),
        ("1.0,0,1,7\n1.0,1,2,7\n", "`sequenceId` is stored as Float64, not as a whole number in 2"),
        (
            "0,0,1,7\n0,1st,2,7\n",
            "`itemPosition` is not a whole number in 1 row, first in data row 2",
        ),
        ("0,0,1.5,7\n0,1,nan,7\n", "`x` is not a finite number in 1 row, first in data row 2 of"),
        ("0,0,NAN,7\n0,1,NaN,7\n", "`x` is not a finite number in 2 rows, first in data row 1 of"),
        ("0,0,1.5,7\n0,1,-inf,7\n", "`x` is not a finite number in 1 row, first in data row 2 of"),
        ("0,0,1.5,7\n0,1,N/A,7\n", "`x` is not a number in 1 row, first in data row 2 of"),
        ('0,0,1.5,7\n0,1,"",7\n', "`x` is not a number in 1 row, first in data row 2 of"),
        (
            f"0,0,1,7\n0,1,{10**20},7\n",
            "`x` is beyond 64 bits in 1 row, first in data row 2 of",
        ),
        (
            f"0,0,1,7\n{10**20},1,1,7\n",
            "`sequenceId` is beyond 64 bits in 1 row, first in data row 2",
        ),
    ],
)
def test_values_that_cannot_be_used_are_counted_and_located(
    project: Project, text: str, fault: str
) -> None:
    data = project.write_csv("t.csv", "sequenceId,itemPosition,x,y\n" + text)

    error = problem_of(project, data)

    assert error.problem.startswith(f"{data} cannot be preprocessed:\n")
    assert fault in error.problem
    assert error.fix


def test_the_columns_that_are_there_are_named_when_an_id_is_missing(project: Project) -> None:
    error = problem_of(project, project.write_csv("t.csv", "customer,step,x\n0,0,1\n0,1,2\n"))

    assert "the columns found are: `customer`, `step`, `x`" in error.problem
    assert "`sequence_column`" in error.fix


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_a_table_without_commas_is_known_by_its_separator(project: Project, separator: str) -> None:
    text = "sequenceId,itemPosition,x\n0,0,1\n0,1,2\n".replace(",", separator)

    error = problem_of(project, project.write_csv("t.csv", text))

    assert error.fix == f"separate the columns with commas, not with {separator!r}"


def test_a_null_in_parquet_is_an_error_like_an_empty_cell(project: Project) -> None:
    table = {"sequenceId": [0, 0], "itemPosition": [0, 1], "x": [None, "a"], "y": [None, None]}

    error = problem_of(project, project.write_parquet("t.parquet", table))

    assert "`x` has no value in 1 row, first in data row 1" in error.problem
    assert "`y` has no value in 2 rows, first in data row 1" in error.problem


def test_not_a_number_in_parquet_is_an_error(project: Project) -> None:
    table = {"sequenceId": [0, 0], "itemPosition": [0, 1], "x": [1.0, float("nan")]}

    error = problem_of(project, project.write_parquet("t.parquet", table))

    assert "`x` is not a finite number in 1 row, first in data row 2" in error.problem
    assert error.problem.endswith("(nan)")


@pytest.mark.parametrize(
    ("values", "name"),
    [([date(2020, 1, 1)] * 2, "Date"), ([[1], [2]], r"List(Int64)"), ([b"a", b"b"], "Binary")],
)
def test_a_column_that_is_no_category_and_no_number_is_an_error_saying_how_to_leave_it_out(
    project: Project, values: list[Any], name: str
) -> None:
    table = {"sequenceId": [0, 0], "itemPosition": [0, 1], "x": [1, 2], "y": values}

    error = problem_of(project, project.write_parquet("t.parquet", table))

    assert f"`y`: {name} is neither a category nor a number" in error.problem
    assert "selected_columns: [x]" in error.problem


def test_a_column_that_is_not_selected_may_hold_anything(project: Project) -> None:
    table = {"sequenceId": [0, 0], "itemPosition": [0, 1], "x": [1, 2], "y": [None, date(1, 1, 1)]}

    summary = project.preprocess(project.write_parquet("t.parquet", table), selected_columns=["x"])

    assert list(summary.columns) == ["x"]


def test_all_faults_of_a_table_are_reported_at_once(project: Project) -> None:
    text = "sequenceId,itemPosition,x,y\n0,0,,1.5\n0,b,2,nan\n"

    error = problem_of(project, project.write_csv("t.csv", text))

    assert [line.split("`")[1] for line in error.problem.splitlines()[1:]] == [
        "itemPosition",
        "x",
        "y",
    ]


def test_rows_are_located_in_their_own_file_of_a_folder(project: Project) -> None:
    project.write_csv("parts/a.csv", GOOD)
    data = project.write_csv("parts/b.csv", "sequenceId,itemPosition,x\n1,0,1\n1,1,\n")

    error = problem_of(project, project.root / "parts")

    assert f"`x` has no value in 1 row, first in data row 2 of {data}" in error.problem


def test_two_items_in_one_place_are_an_error_naming_the_repetition(project: Project) -> None:
    text = "sequenceId,itemPosition,x\n7,3,1\n7,4,2\n8,3,1\n7,3,5\n8,3,1\n"

    error = problem_of(project, project.write_csv("t.csv", text))

    assert "2 rows repeat a sequenceId and itemPosition" in error.problem
    assert f"data row 4 of {project.root}/t.csv (sequenceId 7, itemPosition 3)" in error.problem


def test_sequences_of_one_item_each_are_an_error(project: Project, counting_rows: Rows) -> None:
    data = project.write_parquet("t.parquet", counting_rows(1, 1, 1))

    assert "none of the 3 sequences has two items" in problem_of(project, data).problem


def test_an_empty_training_split_is_an_error(project: Project, counting_rows: Rows) -> None:
    data = project.write_parquet("t.parquet", counting_rows(3, 2))

    error = problem_of(project, data, split_ratios=[0.3, 0.7])

    assert "the training split is empty: 0.3 of the longest sequence (3 items)" in error.problem


@pytest.mark.parametrize(
    ("header", "fault"),
    [
        ("sequenceID,itemPosition,x", "`sequenceId` is missing (did you mean `sequenceID`?)"),
        ("sequenceId,position,x", "the column `itemPosition` is missing"),
        ("sequenceId,itemPosition", "there is no feature column besides"),
        ("sequenceId,itemPosition,inputCol", "the name `inputCol` is reserved"),
        ("sequenceId,itemPosition,subsequenceId", "the name `subsequenceId` is reserved"),
        ("sequenceId,itemPosition,startItemPosition", "`startItemPosition` is reserved"),
        ("sequenceId,itemPosition,", "a column has no name"),
        ("sequenceId,itemPosition,x,x", "the column name `x` occurs twice"),
    ],
)
def test_a_header_that_cannot_be_used_is_an_error(
    project: Project, header: str, fault: str
) -> None:
    row = ",".join("0" * len(header.split(",")))

    error = problem_of(project, project.write_csv("t.csv", f"{header}\n{row}\n"))

    assert fault in error.problem


def test_an_unknown_selected_column_is_an_error_with_the_nearest_name(project: Project) -> None:
    data = project.write_csv("t.csv", "sequenceId,itemPosition,price,day\n0,0,1,1\n0,1,1,1\n")

    error = problem_of(project, data, selected_columns=["prize", "day"])

    assert "no column `prize` to select (did you mean `price`?)" in error.problem


@pytest.mark.parametrize("text", ["sequenceId,itemPosition,x\n", "sequenceId,itemPosition,x\n\n\n"])
def test_a_table_without_rows_is_an_error(project: Project, text: str) -> None:
    assert "holds no rows" in problem_of(project, project.write_csv("t.csv", text)).problem


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a,b\n1,2,3\n",
        b"\xff\xfe\x00",
        GOOD.encode() + b"0,2,\xff\n",
        GOOD.encode() + b"1,2,3,4\n",
    ],
)
def test_a_file_that_is_no_csv_table_is_an_error(project: Project, content: bytes) -> None:
    data = project.write_csv("t.csv", "")
    data.write_bytes(content)

    assert str(data) in problem_of(project, data).problem


@pytest.mark.parametrize("content", [b"", b"sequenceId,itemPosition,x\n", b"PAR1 but no more PAR1"])
def test_a_file_that_is_no_parquet_table_is_an_error(project: Project, content: bytes) -> None:
    data = project.root / "t.parquet"
    data.write_bytes(content)

    error = problem_of(project, data)

    assert error.problem.startswith(f"{data} cannot be read as a Parquet table: ")


def test_a_data_path_that_does_not_exist_is_an_error(project: Project) -> None:
    error = problem_of(project, project.root / "nowhere.csv")

    assert error.problem == f"{project.root}/nowhere.csv does not exist"


def test_a_folder_without_files_of_the_format_is_an_error(project: Project) -> None:
    project.write_csv("parts/a.txt", GOOD)
    project.write_csv("parts/.hidden/a.csv", GOOD)

    error = problem_of(project, project.root / "parts")

    assert "holds no file whose name ends in csv" in error.problem


def test_files_of_a_folder_with_different_columns_are_an_error_naming_them(
    project: Project,
) -> None:
    project.write_csv("parts/a.csv", GOOD)
    project.write_csv("parts/b.csv", GOOD.replace("x", "y"))

    error = problem_of(project, project.root / "parts")

    assert f"{project.root}/parts/b.csv lacks `x`" in error.problem
    assert f"{project.root}/parts/b.csv also has `y`" in error.problem


def test_parquet_files_of_a_folder_with_different_types_are_an_error(
    project: Project, counting_rows: Rows
) -> None:
    rows = counting_rows(2)
    project.write_parquet("parts/a.parquet", rows)
    project.write_parquet("parts/b.parquet", rows | {"sequenceId": [1, 1], "x": ["u", "v"]})

    error = problem_of(project, project.root / "parts", read_format="parquet")

    assert "the type of column `x` is Int64 in" in error.problem
    assert error.problem.endswith("b.parquet")


def test_parquet_files_may_store_integers_in_different_widths(
    project: Project, counting_rows: Rows
) -> None:
    rows = counting_rows(2)
    project.write_parquet("parts/a.parquet", rows)
    narrow = pl.Series([8, 9], dtype=pl.UInt8)
    project.write_parquet("parts/b.parquet", rows | {"sequenceId": [1, 1], "x": narrow})

    summary = project.preprocess(project.root / "parts", read_format="parquet")

    assert summary.num_rows == 4


def test_an_output_inside_the_input_folder_is_an_error_before_it_is_read(
    project: Project,
) -> None:
    project.write_csv("data/raw.csv", GOOD)
    old = project.write_csv("data/data-split0.csv", "old")

    with pytest.raises(InputError, match=r"data-split0\.csv is an output of preprocess"):
        project.preprocess(
            project.root / "data", project_root=str(project.root), write_format="csv"
        )

    assert old.read_text() == "old"


def test_numbers_too_large_for_a_deviation_are_an_error(project: Project) -> None:
    table = {"sequenceId": [0, 0], "itemPosition": [0, 1], "x": [1e300, -1e300]}

    error = problem_of(project, project.write_parquet("t.parquet", table))

    assert "column `x` are too large to be standardised" in error.problem


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_table_in_utf_16_is_said_to_be_one(project: Project, encoding: str) -> None:
    data = project.root / "t.csv"
    data.write_bytes(GOOD.encode(encoding))

    error = problem_of(project, data)

    assert error.problem == f"{data} is encoded in UTF-16"
    assert "save it in UTF-8" in error.fix
