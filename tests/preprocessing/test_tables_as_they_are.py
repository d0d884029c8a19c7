"""Tables as people have them: names, times and gaps, described in the preprocessing file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.config.preprocess import load_preprocess_config
from sequifier_hpo.errors import ConfigError, InputError
from sequifier_hpo.preprocessing import run
from sequifier_hpo.preprocessing.run import PreprocessSummary
from tests.preprocessing.conftest import Project

FLIGHTS = """tail,departure,distance,delay,gate
N2,2013-01-02 10:00,200,NA,a
N1,2013-01-01 09:00,100,1.5,b
N2,2013-01-01 07:30,300,2.5,
N1,2013-01-03 06:15,100,,b
N1,2013-01-02 23:59,200,0.5,a
N2,2013-01-04 12:00,300,4.5,c
"""
ROLES: dict[str, Any] = {
    "sequence_column": "tail",
    "order_column": "departure",
    "column_types": {"distance": "real"},
    "missing": {"delay": "mean", "gate": "category"},
}


def metadata_of(summary: PreprocessSummary) -> DataMetadata:
    return read_metadata(summary.metadata_path)


def items_of(summary: PreprocessSummary, column: str, split: int = 0) -> list[tuple[Any, ...]]:
    """The windows of a column, the oldest item first."""
    table = pl.read_parquet(summary.split_paths[split]).filter(pl.col("inputCol") == column)
    return table.select(pl.exclude("^sequenceId|subsequenceId|startItemPosition|inputCol$")).rows()


def problem_of(project: Project, text: str, **keys: Any) -> str:
    with pytest.raises(InputError) as raised:
        project.preprocess(project.write_csv("t.csv", text), **keys)
    return f"{raised.value.problem}\n{raised.value.fix}"


def test_a_table_of_names_and_times_is_ordered_by_them(project: Project) -> None:
    summary = project.preprocess(project.write_csv("f.csv", FLIGHTS), **ROLES)

    assert (summary.num_rows, summary.num_sequences) == (6, 2)
    assert metadata_of(summary).id_maps["gate"] == {"": 1, "a": 2, "b": 3, "c": 4}
    assert items_of(summary, "gate") == [(3, 2, 3), (1, 2, 4)]


def test_the_numbers_of_named_sequences_are_kept(project: Project) -> None:
    summary = project.preprocess(project.write_csv("f.csv", FLIGHTS), **ROLES)

    metadata = metadata_of(summary)
    assert (metadata.sequence_column, metadata.order_column) == ("tail", "departure")
    assert metadata.missing == {"delay": "mean", "gate": "category"}
    assert metadata.sequence_ids_path == "configs/metadata_configs/f-sequences.parquet"
    names = pl.read_parquet(project.root / "project" / metadata.sequence_ids_path)
    assert names.rows(named=True) == [
        {"sequenceId": 1, "sequence": "N1"},
        {"sequenceId": 2, "sequence": "N2"},
    ]


def test_whole_numbers_name_sequences_as_they_are(project: Project) -> None:
    text = "customer,itemPosition,x\n7,1,a\n7,0,b\n9,0,a\n9,1,c\n"

    summary = project.preprocess(project.write_csv("t.csv", text), sequence_column="customer")

    assert metadata_of(summary).sequence_ids_path is None
    assert pl.read_parquet(summary.split_paths[0])["sequenceId"].unique().to_list() == [7, 9]


def test_a_missing_number_becomes_the_mean_of_the_others(project: Project) -> None:
    summary = project.preprocess(project.write_csv("f.csv", FLIGHTS), **ROLES)

    statistics = metadata_of(summary).selected_columns_statistics["delay"]
    present = [1.5, 2.5, 0.5, 4.5]
    assert statistics.mean == float(np.mean(present))
    assert statistics.std == float(np.std(present, ddof=1))
    assert items_of(summary, "delay")[0][-1] == 0.0
    assert "column `delay`: 2 missing values became the mean" in summary.notes


def test_whole_numbers_that_are_quantities_can_be_real(project: Project) -> None:
    summary = project.preprocess(project.write_csv("f.csv", FLIGHTS), **ROLES)

    assert metadata_of(summary).column_types["distance"] == "Float64"
    assert metadata_of(summary).selected_columns_statistics["distance"].mean == 200


def test_rows_with_gaps_can_be_dropped(project: Project) -> None:
    summary = project.preprocess(
        project.write_csv("f.csv", FLIGHTS), **{**ROLES, "missing": "drop"}
    )

    assert summary.num_rows == 3
    assert "dropped 3 rows of 6" in summary.notes
    assert summary.columns["delay"].num_missing == 2


def test_decimal_numbers_that_are_names_can_be_categories(project: Project) -> None:
    text = "sequenceId,itemPosition,code,size\n0,0,1.0,1.5\n0,1,2.0,2.25\n0,2,1.0,1.5\n"

    summary = project.preprocess(
        project.write_csv("t.csv", text),
        column_types={"code": "categorical", "size": "categorical"},
    )

    assert metadata_of(summary).id_maps == {"code": {"1": 1, "2": 2}, "size": {"1.5": 1, "2.25": 2}}


def test_events_of_one_time_keep_the_order_of_their_rows_with_a_note(project: Project) -> None:
    text = "who,day,x\n" + "".join(f"a,2013-01-0{1 + i // 3},{i}\n" for i in (3, 4, 5, 2, 0, 1))

    summary = project.preprocess(
        project.write_csv("t.csv", text), sequence_column="who", order_column="day", seq_length=5
    )

    ids = metadata_of(summary).id_maps["x"]
    assert items_of(summary, "x") == [tuple(ids[str(x)] for x in (2, 0, 1, 3, 4, 5))]
    assert any(note.startswith("4 events of the same sequence and `day`") for note in summary.notes)


@pytest.mark.parametrize(
    "times",
    [
        ["2013-01-01", "2013-01-01 00:01", "2013-01-01T00:02:00", "2013-01-01T01:03:00.5+01:00"],
        ["-2.5", "-1.5", "0.0", "3.25"],
        ["-7", "1", "2", "3"],
    ],
)
def test_times_and_numbers_of_every_form_are_in_order(project: Project, times: list[str]) -> None:
    text = "sequenceId,when,x\n" + "".join(f"0,{times[i]},{i}\n" for i in (2, 0, 3, 1))

    summary = project.preprocess(
        project.write_csv("t.csv", text), order_column="when", seq_length=3
    )

    assert items_of(summary, "x") == [(1, 2, 3, 4)]


def test_splits_by_time_begin_at_one_moment_for_all(project: Project) -> None:
    rows = [("a", day) for day in range(1, 9)] + [("b", day) for day in (1, 7)]
    text = "who,day,x\n" + "".join(f"{who},2013-01-{day:02},{day}\n" for who, day in rows)

    summary = project.preprocess(
        project.write_csv("t.csv", text),
        sequence_column="who",
        order_column="day",
        split_by="time",
        split_ratios=[0.5, 0.5],
        seq_length=1,
        stride_by_split=[1, 1],
    )

    ids = metadata_of(summary).id_maps["x"]
    known = {number: int(day) for day, number in ids.items()}
    days = [{known[i] for window in items_of(summary, "x", s) for i in window if i} for s in (0, 1)]
    assert days == [{1, 2, 3, 4}, {5, 6, 7, 8}]
    assert "split 1 begins at 2013-01-05 00:00:00, and holds 50.0% of the events" in summary.notes


def test_the_summary_says_of_each_column_what_it_became(project: Project) -> None:
    summary = project.preprocess(
        project.write_csv("f.csv", FLIGHTS),
        **ROLES,
        split_ratios=[0.5, 0.5],
        seq_length=1,
        statistics_from="training",
    )

    assert {name: str(column) for name, column in summary.columns.items()} == {
        "distance": "mean 200, deviation 141.421",
        "delay": "mean 2, deviation 0.707107, 2 missing",
        "gate": "2 classes, 1 missing, in later splits 2 unknown values (3 rows)",
    }


def test_many_whole_numbers_get_a_sentence_that_a_type_ends(project: Project) -> None:
    text = "sequenceId,itemPosition,x\n" + "".join(f"0,{i},{i}\n" for i in range(150))
    data = project.write_csv("t.csv", text)

    [note] = project.preprocess(data).notes

    assert "150 categories" in note
    assert "column_types: {x: real}" in note
    assert project.preprocess(data, column_types={"x": "categorical"}).notes == ()


def test_times_among_the_features_get_a_sentence(project: Project) -> None:
    text = "sequenceId,itemPosition,day\n0,0,2013-01-01\n0,1,2013-01-02\n0,2,2013-01-03\n"

    [note] = project.preprocess(project.write_csv("t.csv", text)).notes

    assert "`order_column`" in note


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"order_column": "gate"}, "`gate` is neither a number nor a time like 2013-01-31"),
        (
            {"column_types": {"gate": "real"}},
            "`gate` is not a number in 5 rows, first in data row 1",
        ),
        ({"column_types": {"gates": "real"}}, "no column `gates` (did you mean `gate`?)"),
        ({"missing": "mean"}, "`gate` is categorical, without a mean"),
        ({"missing": "category"}, "`delay` is real, with a mean"),
        ({"missing": {"delay": "mean"}}, "`gate` has no value in 1 row, first in data row 3"),
        ({"missing": None}, "`delay` is not a number in 1 row, first in data row 1"),
    ],
)
def test_what_contradicts_the_table_is_an_error_that_says_where(
    project: Project, keys: dict[str, Any], said: str
) -> None:
    assert said in problem_of(project, FLIGHTS, **{**ROLES, **keys})


def test_an_error_about_gaps_says_what_to_write(project: Project) -> None:
    table = "tail,departure,stops,gate\na,2013-01-01,1,A\na,2013-01-02,,\n,2013-01-03,2,A\n"
    roles = {"sequence_column": "tail", "order_column": "departure"}

    problem = problem_of(project, table, **roles)
    of_mean = problem_of(project, table, **roles, missing="mean")

    assert "`missing: {tail: drop, stops: category, gate: category}`; `drop` leaves" in problem
    assert "quantities become their `mean`, with `column_types: {stops: real}`" in problem
    assert "if it is a quantity, say `column_types: {stops: real}`" in of_mean


def test_rows_are_still_found_after_others_were_dropped(project: Project) -> None:
    keys = {**ROLES, "missing": {"delay": "drop"}}

    assert "`gate` has no value in 1 row, first in data row 3 of" in problem_of(
        project, FLIGHTS, **keys
    )


def test_fields_that_contradict_each_other_are_errors_with_their_place(project: Project) -> None:
    data = project.write_csv("t.csv", FLIGHTS)
    fields = {
        "project_root": str(project.root),
        "data_path": str(data),
        "split_ratios": [1.0],
        "seq_length": 2,
        "selected_columns": ["delay"],
        "order_column": "departure",
        "sequence_column": "departure",
        "column_types": {"gate": "real", "departure": "real"},
        "missing": {"departure": "mean"},
    }
    file = project.root / "preprocess.yaml"
    file.write_text(json.dumps(fields))

    with pytest.raises(ConfigError) as raised:
        load_preprocess_config(file)

    assert {issue.path for issue in raised.value.issues} == {
        "order_column",
        "column_types.gate",
        "column_types.departure",
        "missing.departure",
    }


def test_numbers_that_a_parquet_table_holds_as_text_are_in_the_order_of_numbers(
    project: Project,
) -> None:
    columns = {"sequenceId": ["0"] * 3, "itemPosition": ["10", "9", "8"], "x": ["c", "b", "a"]}

    summary = project.preprocess(project.write_parquet("t.parquet", columns))

    assert items_of(summary, "x") == [(1, 2, 3)]


def test_decimal_numbers_with_gaps_can_be_categories(project: Project) -> None:
    text = "sequenceId,itemPosition,size,level\n0,0,1.50,1.0\n0,1,NA,\n0,2,2.25,3.0\n"

    summary = project.preprocess(
        project.write_csv("t.csv", text),
        column_types={"size": "categorical", "level": "categorical"},
        missing="category",
    )

    sizes, levels = (metadata_of(summary).id_maps[c] for c in ("size", "level"))
    assert sizes == {"": 1, "1.5": 2, "2.25": 3}
    assert levels == {"1": 1, "3": 2, "": 3}


# --- tables that exceed the memory


def written(summary: PreprocessSummary, root: Path) -> dict[str, bytes]:
    content = {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(".digest.json")
    }
    stamps = [json.loads(path.read_text()) for path in sorted(root.rglob(".*.digest.json"))]
    return content | {"digests": json.dumps([stamp["values"] for stamp in stamps]).encode()}


def large_table(project: Project) -> Path:
    rng = np.random.default_rng(5)
    num_rows = 3000
    columns = {
        "who": rng.choice(np.array(["x", "y", "z", "long"]), num_rows, p=[0.1, 0.1, 0.1, 0.7]),
        "when": rng.permutation(num_rows) // 2,
        "code": rng.integers(0, 40, num_rows),
        "name": rng.choice(np.array(["a", "b", "3.5", "", " c"]), num_rows),
        "price": np.where(rng.random(num_rows) < 0.1, np.nan, rng.normal(3, 2, num_rows)),
    }
    pl.DataFrame(columns).fill_nan(None).write_csv(project.root / "t.csv")
    text = (project.root / "t.csv").read_text()
    return project.write_csv("t.csv", text + "\n\n")  # blank lines at the end


@pytest.mark.parametrize(
    ("write_format", "keys"),
    [
        ("parquet", {"statistics_from": "training", "split_by": "time"}),
        ("csv", {"column_types": {"code": "real"}, "max_rows": 2500}),
        pytest.param("pt", {"batches_per_file": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_table_sorted_on_disk_becomes_the_same_to_the_last_byte(
    project: Project, monkeypatch: pytest.MonkeyPatch, write_format: str, keys: dict[str, Any]
) -> None:
    data = large_table(project)
    fields = {
        "sequence_column": "who",
        "order_column": "when",
        "missing": {"price": "mean", "name": "category"},
        "split_ratios": [0.7, 0.2, 0.1],
        "seq_length": 4,
        "stride_by_split": [3, 1, 2],
        "write_format": write_format,
        "merge_output": write_format != "pt",
        **keys,
    }
    in_memory = project.preprocess(data, **fields)
    expected = written(in_memory, project.root / "project")

    monkeypatch.setattr(run, "_MOST_BYTES_IN_MEMORY", 0)
    monkeypatch.setattr("sequifier_hpo.preprocessing.row_order._BUCKET_BYTES", 2**12)
    monkeypatch.setattr("sequifier_hpo.preprocessing.row_order._BATCH_ROWS", 700)
    monkeypatch.setattr("sequifier_hpo.preprocessing.number_columns.PART_NUMBERS", 999)
    monkeypatch.setattr("sequifier_hpo.preprocessing.number_columns._SLAB_ROWS", 100)
    on_disk = project.preprocess(data, **fields)

    assert written(on_disk, project.root / "project") == expected
    assert on_disk.notes == in_memory.notes
    assert {n: str(c) for n, c in on_disk.columns.items()} == {
        n: str(c) for n, c in in_memory.columns.items()
    }


@pytest.mark.parametrize(
    "text",
    [
        "sequenceId,itemPosition,x\n0,0,a\n0,1,\n0,2,b\n",
        "sequenceId,itemPosition,x\n0,0,1\n0,1,NA\n0,2,2\n",
        "sequenceId,itemPosition,x\n0,0,1\n0,1,2\n0,1,2\n1,0,3\n",
        "sequenceId,itemPosition,x\n0,0,1\n1,1,2\n",
        "sequenceId,itemPosition,x\n0,0,1\n0,1,2,5\n",
        "sequenceId,itemPosition,x\n",
    ],
)
def test_a_fault_of_a_table_on_disk_is_told_in_the_same_words(
    project: Project, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    told = problem_of(project, text)

    monkeypatch.setattr(run, "_MOST_BYTES_IN_MEMORY", -1)

    assert problem_of(project, text) == told
    assert project.written_files() == []


def test_files_of_a_folder_have_common_types_on_disk_too(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write_csv("raw/a.csv", "sequenceId,itemPosition,x,y\n0,0,01,1\n0,1,2,+2\n\n")
    data = project.write_csv("raw/b.csv", "sequenceId,itemPosition,x,y\n0,2,b,3.5\n0,3,2, 4\n")
    in_memory = metadata_of(project.preprocess(data.parent, read_format="csv"))

    monkeypatch.setattr(run, "_MOST_BYTES_IN_MEMORY", 0)

    assert metadata_of(project.preprocess(data.parent, read_format="csv")) == in_memory
    assert set(in_memory.id_maps["x"]) == {"01", "2", "b"}
