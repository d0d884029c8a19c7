"""Notes on tables as people have them."""

from pathlib import Path

import polars as pl
import pytest

from sequifier_hpo.config.metadata import read_metadata
from tests.preprocessing.conftest import Project


def csv(header: str, *rows: str) -> str:
    """A table of one sequence, with these cells behind its ids."""
    lines = [f"0,{i},{row}" for i, row in enumerate(rows)]
    return "\n".join([f"sequenceId,itemPosition,{header}", *lines]) + "\n"


def test_spellings_of_one_number_are_noted(project: Project) -> None:
    text = csv("code,plain", "03,1", "3,2", "007,3", "12,10", "03,1")

    summary = project.preprocess(project.write_csv("t.csv", text))

    [note] = summary.notes
    assert note.startswith(
        "column `code` is read as whole numbers, so that `03` and `3` are one category; "
        "2 values with a 0 in front (`03`) share one"
    )


def test_two_spellings_with_zeros_are_noted_in_any_file_of_a_folder(project: Project) -> None:
    project.write_csv("raw/a.csv", csv('"a ""b"""', "03", "4", "5"))
    data = project.write_csv("raw/b.csv", csv('"a ""b"""', "003", "5", "6").replace("\n0,", "\n1,"))

    [note] = project.preprocess(data.parent).notes

    assert 'column `a "b"`' in note
    assert "so that `03` and `3` are one category; 2 values with a 0 in front (`03`, `003`)" in note


def test_sequences_of_one_number_are_noted(project: Project) -> None:
    text = "sequenceId,itemPosition,x\n03,0,1\n03,1,2\n3,2,3\n"

    [note] = project.preprocess(project.write_csv("t.csv", text)).notes

    assert "column `sequenceId`" in note
    assert "`03` and `3` are one sequence" in note


@pytest.mark.parametrize("rows", [["01", "02", "10"], ["0", "3", "0"], ["0.3", "3", "03.5"]])
def test_zeros_that_merge_nothing_are_not_noted(project: Project, rows: list[str]) -> None:
    assert project.preprocess(project.write_csv("t.csv", csv("x", *rows))).notes == ()


def test_only_the_rows_that_are_read_are_looked_at(project: Project) -> None:
    data = project.write_csv("t.csv", csv("x", "3", "4", "5", "03"))

    assert project.preprocess(data, max_rows=3).notes == ()


@pytest.mark.parametrize(
    ("odd", "examples"),
    [
        (["?0.2"], "1 of its 41 values are not written as numbers: `?0.2`;"),
        (["20,7"], "`20,7`;"),
        (["1,007"], "`1,007`;"),
        (
            ["5 °C", "5 °C", "7 °C"],
            "3 of its 43 values are not written as numbers: `5 °C`, `7 °C`;",
        ),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_cells_that_make_a_column_of_numbers_a_category_are_noted(
    project: Project, odd: list[str], examples: str, kind: str
) -> None:
    rows = [*(f"{i / 4}" for i in range(40)), *odd]
    if kind == "csv":
        data = project.write_csv("t.csv", csv("x", *(f'"{row}"' for row in rows)))
    else:
        places = {"sequenceId": [0] * len(rows), "itemPosition": range(len(rows))}
        data = project.write_parquet("t.parquet", {**places, "x": rows})

    [note] = project.preprocess(data).notes

    assert note.startswith("column `x` is a category (")
    assert examples in note
    assert "leave it out with `selected_columns`" in note


def test_numbers_with_a_decimal_comma_are_noted(project: Project) -> None:
    data = project.write_csv("t.csv", csv("x", '"20,7"', '"20,8"', '"21,0"'))

    [note] = project.preprocess(data).notes

    assert "3 of its 3 values are not written as numbers: `20,7`, `20,8`, `21,0`;" in note


@pytest.mark.parametrize(
    "rows", [["85123A", "22423", "71053"], ["1.2.3", "a", "1.2"], ["a", "b", "c"]]
)
def test_names_among_which_are_numbers_are_no_numbers(project: Project, rows: list[str]) -> None:
    assert project.preprocess(project.write_csv("t.csv", csv("x", *rows))).notes == ()


@pytest.mark.parametrize("name", ["", "Unnamed: 0", "__index_level_0__"])
def test_the_index_of_pandas_is_left_out_of_a_csv_with_a_note(project: Project, name: str) -> None:
    text = f"{name},sequenceId,itemPosition,x\n7,0,0,1\n8,0,1,2\n9,1,0,1\n10,1,1,1\n"

    summary = project.preprocess(project.write_csv("t.csv", text))

    assert list(summary.columns) == ["x"]
    [note] = [note for note in summary.notes if note.startswith("left out")]
    shown = f"the column `{name}`" if name else "the first column, which has no name"
    assert note.startswith(f"left out {shown} (4 rows: 7, 8, 9, ...): it looks like the row index")


def test_an_index_of_two_levels_is_left_out_in_all_files_of_a_folder(project: Project) -> None:
    text = ",,sequenceId,itemPosition,x\na,7,{0},0,1\nb,8,{0},1,2\n"
    project.write_csv("raw/a.csv", text.format(0))
    data = project.write_csv(
        "raw/b.csv", text.format(1).replace(",,s", "s").replace("a,7,", "").replace("b,8,", "")
    )

    assert list(project.preprocess(data.parent).columns) == ["x"]


def test_the_index_of_pandas_is_left_out_of_parquet_unless_it_is_selected(project: Project) -> None:
    columns = {
        "sequenceId": [0, 0],
        "itemPosition": [0, 1],
        "x": [1, 2],
        "__index_level_0__": [0, 1],
    }
    data = project.write_parquet("t.parquet", columns)

    summary = project.preprocess(data)
    kept = project.preprocess(data, selected_columns=["__index_level_0__", "x"])

    assert list(summary.columns) == ["x"]
    assert any("`__index_level_0__` (2 rows: 0, 1)" in note for note in summary.notes)
    assert list(kept.columns) == ["__index_level_0__", "x"]
    assert not any("left out" in note for note in kept.notes)


def test_quotes_in_a_header_are_not_doubled(project: Project) -> None:
    text = csv('"price in """,x', "1.5,1", "2.5,2")

    summary = project.preprocess(project.write_csv("t.csv", text))
    chosen = project.preprocess(project.write_csv("t.csv", text), selected_columns=['price in "'])

    assert list(summary.columns) == ['price in "', "x"]
    assert list(read_metadata(chosen.metadata_path).column_types) == ['price in "']
    split = pl.read_parquet(Path(chosen.split_paths[0]))
    assert split["inputCol"].unique().to_list() == ['price in "']
