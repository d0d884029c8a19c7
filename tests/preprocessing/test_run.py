"""The whole job: what is written for which table."""

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.categories import find_categories
from sequifier_hpo.preprocessing.encode import EncodedColumn, encode_categories, encode_numbers
from sequifier_hpo.preprocessing.event_table import ROW, EventTable
from sequifier_hpo.preprocessing.number_columns import NumberColumn
from sequifier_hpo.preprocessing.run import PreprocessSummary
from sequifier_hpo.preprocessing.stored_split import describe_split
from sequifier_hpo.stored_tables import scan_windows
from tests.preprocessing.conftest import Project

Rows = Callable[..., dict[str, Any]]
SHOP = """sequenceId,itemPosition,product,price,weekday
4,0,100,1.5,mo
4,2,108,2.5,tu
4,1,100,4.0,mo
-2,7,103,2.0,su
-2,9,108,0.5,tu
"""


def metadata_of(summary: PreprocessSummary) -> DataMetadata:
    return read_metadata(summary.metadata_path)


def items_of(path: str) -> dict[str, list[list[float]]]:
    """Feature column -> windows, oldest item first, of a Parquet or CSV split."""
    table = pl.read_parquet(path) if path.endswith("parquet") else pl.read_csv(path)
    return {
        str(name): [list(row[4:]) for row in part.rows()]
        for (name,), part in table.group_by("inputCol", maintain_order=True)
    }


def test_ids_number_the_sorted_values_from_one(project: Project) -> None:
    summary = project.preprocess(project.write_csv("shop.csv", SHOP))

    metadata = metadata_of(summary)
    assert metadata.id_maps == {
        "product": {"100": 1, "103": 2, "108": 3},
        "weekday": {"mo": 1, "su": 2, "tu": 3},
    }
    assert metadata.n_classes == {"product": 4, "weekday": 4}


def test_integers_are_ordered_by_number_and_zero_is_an_ordinary_value(project: Project) -> None:
    table = {"sequenceId": [0] * 4, "itemPosition": [0, 1, 2, 3], "x": [10, 0, -3, 9]}

    summary = project.preprocess(project.write_parquet("t.parquet", table))

    assert metadata_of(summary).id_maps == {"x": {"-3": 1, "0": 2, "9": 3, "10": 4}}


def test_texts_are_ordered_by_code_point(project: Project) -> None:
    table = {"sequenceId": [0] * 4, "itemPosition": [0, 1, 2, 3], "x": ["é", "Z", "a", "🙂"]}

    summary = project.preprocess(project.write_parquet("t.parquet", table))

    assert metadata_of(summary).id_maps == {"x": {"Z": 1, "a": 2, "é": 3, "🙂": 4}}


def encode_column(values: pl.Series) -> EncodedColumn:
    is_real = values.dtype.is_float()
    numbers = NumberColumn(np.float64 if is_real else np.int64, len(values))
    if is_real:
        numbers.append(values.to_numpy())
        return encode_numbers(values.name, numbers)
    rows = values.to_frame().lazy().with_row_index(ROW)
    table = EventTable(rows, len(values), [values.name], "", "", (), is_csv=True)
    categories = find_categories(table, values.name)
    numbers.append(categories.codes(values))
    return encode_categories(values.name, numbers, categories)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.text(), min_size=1))
def test_every_text_is_encoded_as_the_id_its_map_gives(texts: list[str]) -> None:
    column = encode_column(pl.Series("x", texts, dtype=pl.String))

    assert column.id_map is not None
    assert list(column.id_map) == sorted(set(texts))
    assert column.values.tolist() == [*(column.id_map[text] for text in texts), 0]


@pytest.mark.parametrize(
    "dtype", [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]
)
def test_integers_of_every_width_are_categories(dtype: type[pl.DataType]) -> None:
    largest = pl.select(pl.Series([1]).cast(dtype).upper_bound()).item()

    column = encode_column(pl.Series("x", [largest, 0, largest], dtype=dtype))

    assert column.id_map == {"0": 1, str(largest): 2}
    assert column.values.tolist() == [2, 1, 2, 0]


def test_false_is_one_and_true_is_two(project: Project) -> None:
    table = {"sequenceId": [0] * 3, "itemPosition": [0, 1, 2], "x": [True, False, True]}

    summary = project.preprocess(project.write_parquet("t.parquet", table))

    assert metadata_of(summary).id_maps == {"x": {"false": 1, "true": 2}}
    assert items_of(summary.split_paths[0]) == {"x": [[2, 1, 2]]}


def test_a_text_column_may_come_first(project: Project) -> None:
    text = "sequenceId,itemPosition,day,x\n0,0,mo,1\n0,1,tu,2\n0,2,mo,1\n"

    summary = project.preprocess(project.write_csv("t.csv", text))

    assert items_of(summary.split_paths[0]) == {"day": [[1, 2, 1]], "x": [[1, 2, 1]]}


def test_dictionary_encoded_text_is_a_category_like_any_text(project: Project) -> None:
    day = pl.Series(["tu", "mo", "tu"], dtype=pl.Categorical)
    table = {"sequenceId": [0] * 3, "itemPosition": [0, 1, 2], "day": day}

    summary = project.preprocess(project.write_parquet("t.parquet", table))

    assert metadata_of(summary).id_maps == {"day": {"mo": 1, "tu": 2}}


def test_reals_are_standardised_over_all_rows_with_the_sample_deviation(project: Project) -> None:
    summary = project.preprocess(
        project.write_csv("shop.csv", SHOP), split_ratios=[0.5, 0.5], seq_length=1
    )

    prices = [1.5, 2.5, 4.0, 2.0, 0.5]
    mean, std = statistics.mean(prices), statistics.stdev(prices)
    found = metadata_of(summary).selected_columns_statistics["price"]
    assert (found.mean, found.std) == pytest.approx((mean, std), abs=1e-12)
    first_window = items_of(summary.split_paths[0])["price"][0]
    assert first_window == pytest.approx([0.0, (2.0 - mean) / (std + 1e-9)], abs=1e-12)


def test_a_constant_real_column_becomes_zeros(project: Project) -> None:
    table = {"sequenceId": [0] * 3, "itemPosition": [0, 1, 2], "x": [2.5] * 3}

    summary = project.preprocess(project.write_parquet("t.parquet", table))

    assert items_of(summary.split_paths[0]) == {"x": [[0.0, 0.0, 0.0]]}
    assert summary.notes == ("column `x` is constant and becomes all zeros",)


def test_metadata_calls_every_real_column_float64_and_keeps_the_order_of_columns(
    project: Project,
) -> None:
    table = {
        "z": pl.Series([0.5, 1.5, 2.5], dtype=pl.Float32),
        "itemPosition": [0, 1, 2],
        "b": ["u", "v", "w"],
        "sequenceId": [0] * 3,
        "a": [1.0, 2.0, 3.0],
    }

    summary = project.preprocess(project.write_parquet("t.parquet", table))

    types = metadata_of(summary).column_types
    assert list(types.items()) == [("z", "Float64"), ("b", "Int64"), ("a", "Float64")]


def test_metadata_has_the_keys_of_the_format_in_their_order_and_then_its_own(
    project: Project,
) -> None:
    summary = project.preprocess(project.write_csv("shop.v2.csv", SHOP), split_ratios=[0.5, 0.5])

    root = project.root / "project"
    assert summary.metadata_path == root / "configs/metadata_configs/shop.v2.json"
    content = json.loads(summary.metadata_path.read_text())
    assert list(content) == [
        "n_classes",
        "id_maps",
        "split_paths",
        "column_types",
        "selected_columns_statistics",
        "padding",
    ]
    assert content["split_paths"] == [
        f"{root}/data/shop.v2-split0.parquet",
        f"{root}/data/shop.v2-split1.parquet",
    ]


def test_split_paths_of_a_relative_root_begin_with_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = project.write_csv("shop.csv", SHOP)
    monkeypatch.chdir(project.root)

    summary = project.preprocess(data, project_root=".")

    assert summary.split_paths == ("./data/shop-split0.parquet",)


def test_selected_columns_are_kept_in_the_order_they_are_named(project: Project) -> None:
    summary = project.preprocess(
        project.write_csv("shop.csv", SHOP), selected_columns=["weekday", "product"]
    )

    assert list(metadata_of(summary).column_types) == ["weekday", "product"]


def test_a_long_table_has_the_columns_of_the_format_and_floats_when_one_column_is_real(
    project: Project,
) -> None:
    summary = project.preprocess(project.write_csv("shop.csv", SHOP))

    schema = pl.read_parquet_schema(summary.split_paths[0])
    ids = ["sequenceId", "subsequenceId", "startItemPosition"]
    expected = dict.fromkeys(ids, pl.Int64()) | {"inputCol": pl.String()}
    assert list(schema.items()) == list(
        (expected | dict.fromkeys(["2", "1", "0"], pl.Float64())).items()
    )


def test_a_long_table_of_categories_alone_holds_whole_numbers(project: Project) -> None:
    summary = project.preprocess(project.write_csv("shop.csv", SHOP), selected_columns=["product"])

    assert pl.read_parquet_schema(summary.split_paths[0])["0"] == pl.Int64


def test_rows_are_ordered_by_sequence_then_window_then_column(project: Project) -> None:
    summary = project.preprocess(
        project.write_csv("shop.csv", SHOP), seq_length=1, selected_columns=["weekday", "product"]
    )

    table = pl.read_parquet(summary.split_paths[0])
    assert table.select("sequenceId", "subsequenceId", "startItemPosition", "inputCol").rows() == [
        (-2, 0, 0, "weekday"),
        (-2, 0, 0, "product"),
        (4, 0, 0, "weekday"),
        (4, 0, 0, "product"),
        (4, 1, 1, "weekday"),
        (4, 1, 1, "product"),
    ]
    assert table.select("1", "0").rows() == [(2, 3), (2, 3), (1, 1), (1, 1), (1, 3), (1, 3)]


def test_short_sequences_are_padded_with_id_zero_and_noted(project: Project) -> None:
    summary = project.preprocess(
        project.write_csv("shop.csv", SHOP), seq_length=3, selected_columns=["product"]
    )

    assert items_of(summary.split_paths[0])["product"] == [[0, 0, 2, 3], [0, 1, 1, 3]]
    assert summary.notes == (
        "split 0: padded 2 sequences shorter than the window of 4 items in front",
    )


def test_every_item_lies_in_the_split_its_ratio_gives(
    project: Project, counting_rows: Rows
) -> None:
    data = project.write_parquet("t.parquet", counting_rows(10, 100))

    summary = project.preprocess(data, split_ratios=[0.7, 0.2, 0.1], seq_length=1)

    found = [
        sorted({x - 1 for window in items_of(path)["x"] for x in window})
        for path in summary.split_paths
    ]
    assert found == [
        [*range(7), *range(10, 80)],
        [*range(7, 9), *range(80, 100)],
        [-1, 9, *range(100, 110)],  # sequence 0 has one item here, and one of padding
    ]


@pytest.mark.slow
def test_the_three_formats_hold_the_same_windows(project: Project) -> None:
    data = project.write_csv("shop.csv", SHOP)

    parquet = project.preprocess(data)
    csv = project.preprocess(data, write_format="csv")
    shards = project.preprocess(data, write_format="pt", merge_output=False)

    table = pl.read_parquet(parquet.split_paths[0])
    assert pl.read_csv(csv.split_paths[0]).equals(table)
    path = project.root / "project/data/shop-split0/shop-split0-0-0.pt"
    assert shards.split_paths == (str(path.parent),)
    inputs, targets, sequence_ids, subsequence_ids, start_positions = torch.load(path)
    for column, windows in items_of(parquet.split_paths[0]).items():
        expected = torch.tensor(windows, dtype=inputs[column].dtype)
        assert torch.equal(inputs[column], expected[:, :-1])
        assert torch.equal(targets[column], expected[:, 1:])
    numbers = table.filter(inputCol="price").select(pl.nth(0, 1, 2)).to_numpy().T.tolist()
    assert [sequence_ids.tolist(), subsequence_ids.tolist(), start_positions.tolist()] == numbers


def test_a_parquet_split_of_several_files_is_read_like_one_of_a_single_file(
    project: Project, counting_rows: Rows
) -> None:
    table = counting_rows(9, 1, 30, 5) | {"y": [i / 7 for i in range(45)]}
    data = project.write_parquet("t.parquet", table)
    whole = project.preprocess(data)

    parts = project.preprocess(data, merge_output=False, batches_per_file=2)

    folder = Path(parts.split_paths[0])
    assert folder.name == "t-split0"
    assert sorted(file.name for file in folder.iterdir()) == [
        "metadata.json",
        "t-split0-0-0.parquet",
        "t-split0-0-1.parquet",
    ]
    described = describe_split(folder, "parquet")
    assert described == describe_split(Path(whole.split_paths[0]), "parquet")
    tables = [scan_windows(Path(s.split_paths[0]), "parquet")[0].collect() for s in (parts, whole)]
    assert tables[0].equals(tables[1])


@pytest.mark.slow
def test_a_shard_folder_replaces_that_of_an_earlier_run(
    project: Project, counting_rows: Rows
) -> None:
    data = project.write_parquet("t.parquet", counting_rows(6, 6))
    project.write_csv("project/data/t-split0/t-split0-0-1.pt", "old")

    project.preprocess(data, write_format="pt", merge_output=False)

    assert project.written_files() == [
        "configs/metadata_configs/t.json",
        "data/.t-split0.digest.json",
        "data/t-split0/metadata.json",
        "data/t-split0/t-split0-0-0.pt",
    ]


def test_a_shard_folder_with_foreign_files_is_not_replaced(
    project: Project, counting_rows: Rows
) -> None:
    data = project.write_parquet("t.parquet", counting_rows(6))
    notes = project.write_csv("project/data/t-split0/notes.txt", "mine")

    with pytest.raises(InputError, match=r"holds files that are not shards: notes\.txt"):
        project.preprocess(data, write_format="pt", merge_output=False)

    assert notes.read_text() == "mine"


def test_the_order_of_the_raw_rows_does_not_matter(project: Project) -> None:
    header, *rows = SHOP.splitlines(keepends=True)

    one = project.preprocess(
        project.write_csv("one/shop.csv", SHOP), project_root=f"{project.root}/1"
    )
    two = project.preprocess(
        project.write_csv("two/shop.csv", header + "".join(reversed(rows))),
        project_root=f"{project.root}/2",
    )

    assert Path(one.split_paths[0]).read_bytes() == Path(two.split_paths[0]).read_bytes()


def test_a_folder_is_one_table_and_a_sequence_may_go_on_in_the_next_file(project: Project) -> None:
    header, *rows = SHOP.splitlines(keepends=True)
    whole = project.preprocess(project.write_csv("whole.csv", SHOP))
    project.write_csv("parts/b.csv", header + rows[0] + rows[3])
    project.write_csv("parts/deep/a.csv", header + rows[1] + rows[2] + rows[4])

    parts = project.preprocess(project.root / "parts")

    assert items_of(parts.split_paths[0]) == items_of(whole.split_paths[0])
    assert parts.metadata_path.name == "parts.json"


def test_a_csv_column_has_one_type_over_all_files_of_a_folder(project: Project) -> None:
    header = "sequenceId,itemPosition,number,code\n"
    project.write_csv("parts/1.csv", header + "0,0,1,01\n0,1,2,1\n")
    project.write_csv("parts/2.csv", header + "0,2,2.5,a1\n")

    metadata = metadata_of(project.preprocess(project.root / "parts"))

    assert metadata.column_types == {"number": "Float64", "code": "Int64"}
    assert metadata.id_maps == {"code": {"01": 1, "1": 2, "a1": 3}}


def test_a_csv_column_whose_decimal_point_comes_late_is_real(project: Project) -> None:
    rows = "".join(f"0,{i},1\n" for i in range(10_500))
    text = f"sequenceId,itemPosition,x\n{rows}1,0,1.5\n"

    metadata = metadata_of(project.preprocess(project.write_csv("t.csv", text)))

    assert metadata.column_types == {"x": "Float64"}


def test_numbers_with_spaces_and_plus_signs_in_a_csv_are_numbers(project: Project) -> None:
    text = "sequenceId,itemPosition,a,b\n0,0, 1,+2\n0,1, 3,+2.5\n"

    metadata = metadata_of(project.preprocess(project.write_csv("t.csv", text)))

    assert metadata.column_types == {"a": "Int64", "b": "Float64"}
    assert metadata.id_maps == {"a": {"1": 1, "3": 2}}


def test_blank_lines_at_the_end_of_a_csv_are_no_rows(project: Project) -> None:
    summary = project.preprocess(project.write_csv("shop.csv", SHOP + "\n\n"))

    assert summary.num_rows == 5


@pytest.mark.parametrize(("max_rows", "num_rows"), [(3, 3), (4, 4), (0, 5), (None, 5), (99, 5)])
def test_max_rows_takes_the_first_rows_of_the_files(
    project: Project, max_rows: int | None, num_rows: int
) -> None:
    header, *rows = SHOP.splitlines(keepends=True)
    project.write_csv("parts/a.csv", header + "".join(rows[:3]))
    project.write_csv("parts/b.csv", header + "".join(rows[3:]))

    summary = project.preprocess(project.root / "parts", max_rows=max_rows)

    assert summary.num_rows == num_rows


def test_the_summary_counts_what_was_read_and_written(project: Project) -> None:
    summary = project.preprocess(
        project.write_csv("shop.csv", SHOP), split_ratios=[0.5, 0.5], seq_length=1
    )

    assert (summary.num_rows, summary.num_sequences) == (5, 2)
    assert summary.num_windows == (2, 2)
    kinds = {name: column.kind for name, column in summary.columns.items()}
    assert kinds == {"product": "categorical", "price": "real", "weekday": "categorical"}
    assert project.progress[0] == f"reading {project.root}/shop.csv"


def test_a_split_that_no_sequence_reaches_is_written_empty_and_noted(
    project: Project, counting_rows: Rows
) -> None:
    data = project.write_parquet("t.parquet", counting_rows(5, 5))

    summary = project.preprocess(data, split_ratios=[0.8, 0.1, 0.1], seq_length=2)

    assert summary.num_windows == (4, 0, 2)
    assert "split 1 is empty: no sequence is long enough to reach it" in summary.notes
    empty = pl.read_parquet(summary.split_paths[1])
    assert empty.schema == pl.read_parquet_schema(summary.split_paths[0])
    assert empty.height == 0


def test_sequences_too_short_for_a_split_are_noted(project: Project, counting_rows: Rows) -> None:
    data = project.write_parquet("t.parquet", counting_rows(1, 9))

    summary = project.preprocess(data, split_ratios=[0.5, 0.5])

    assert "split 0: 1 of 2 sequences are too short to have an item in it" in summary.notes


def test_a_stride_beyond_the_window_is_noted(project: Project, counting_rows: Rows) -> None:
    data = project.write_parquet("t.parquet", counting_rows(9))

    summary = project.preprocess(data, stride_by_split=[3])

    assert summary.notes == (
        "split 0: the stride 3 is larger than seq_length 2, so some items may never be predicted",
    )


def test_a_category_that_nearly_every_row_has_to_itself_is_noted(
    project: Project, counting_rows: Rows
) -> None:
    data = project.write_parquet("t.parquet", counting_rows(1500))

    (note,) = project.preprocess(data).notes

    assert note.startswith("column `x` has 1,500 categories in 1,500 rows")
    assert "column_types: {x: real}" in note


def test_a_text_that_nearly_every_row_has_to_itself_is_advised_to_be_left_out(
    project: Project,
) -> None:
    rows = [f"0,{i},at {i}" for i in range(1500)]
    data = project.write_csv("t.csv", "\n".join(["sequenceId,itemPosition,when", *rows]))

    (note,) = project.preprocess(data).notes

    assert "leave it out with `selected_columns`" in note


def test_a_column_name_that_cannot_be_trained_on_is_noted(project: Project) -> None:
    text = "sequenceId,itemPosition,a.b\n0,0,1\n0,1,2\n0,2,1\n"

    (note,) = project.preprocess(project.write_csv("t.csv", text)).notes

    assert note.startswith("the column name `a.b` contains a dot")


def test_several_chunks_and_row_groups_make_one_table(
    project: Project, counting_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sequifier_hpo.preprocessing.long_table._CHUNK_NUMBERS", 64)
    data = project.write_parquet("t.parquet", counting_rows(300, 200))

    parquet = project.preprocess(data, stride_by_split=[1])
    csv = project.preprocess(data, stride_by_split=[1], write_format="csv")

    starts = [*range(298), *range(300, 498)]
    expected = [[start + 1, start + 2, start + 3] for start in starts]
    assert items_of(parquet.split_paths[0])["x"] == expected
    assert items_of(csv.split_paths[0])["x"] == expected


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=30))
def test_standardised_values_come_back_as_the_raw_ones(raw: list[float]) -> None:
    column = encode_column(pl.Series("x", raw))

    assert column.statistics is not None
    mean, std = column.statistics.mean, column.statistics.std
    back = column.values[:-1] * (std + 1e-9) + mean
    assert np.allclose(back, raw, rtol=1e-9, atol=1e-9 * (abs(mean) + std + 1))


@pytest.mark.slow
def test_preprocessing_shards_never_loads_torch_itself(project: Project) -> None:
    data = project.write_csv("shop.csv", SHOP)
    program = (
        "import sys\n"
        "from sequifier_hpo.config.preprocess import PreprocessConfig\n"
        "from sequifier_hpo.preprocessing.run import preprocess; from sequifier_hpo.preprocessing.stored_split import describe_split\n"
        "from pathlib import Path\n"
        f"config = PreprocessConfig(project_root='.', data_path={str(data)!r},\n"
        "    split_ratios=[1.0], seq_length=2, write_format='pt')\n"
        "summary = preprocess(config, on_progress=print)\n"
        "describe_split(Path(summary.split_paths[0]), 'pt')\n"
        "assert 'torch' not in sys.modules\n"
    )

    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (finished.returncode, finished.stderr) == (0, "")


LEAKING = """sequenceId,itemPosition,page,seconds
0,0,home,8.0
0,1,cart,10.0
0,2,home,1.0
0,3,gift,2.0
1,0,cart,12.0
1,1,home,6.0
1,2,gift,3.0
1,3,refund,4.0
"""


@pytest.mark.parametrize("changes", [{}, {"statistics_from": "all"}])
def test_by_default_all_rows_are_learned_from_as_in_sequifier(
    project: Project, changes: dict[str, str]
) -> None:
    summary = project.preprocess(
        project.write_csv("t.csv", LEAKING), split_ratios=[0.5, 0.5], seq_length=1, **changes
    )

    metadata = metadata_of(summary)
    assert metadata.id_maps == {"page": {"cart": 1, "gift": 2, "home": 3, "refund": 4}}
    assert metadata.selected_columns_statistics["seconds"].mean == 46 / 8
    assert not any("unknown" in note for note in summary.notes)


def test_training_rows_alone_can_be_learned_from(project: Project) -> None:
    summary = project.preprocess(
        project.write_csv("t.csv", LEAKING),
        split_ratios=[0.5, 0.5],
        seq_length=1,
        statistics_from="training",
    )

    metadata = metadata_of(summary)
    assert metadata.id_maps == {"page": {"cart": 1, "home": 2}}
    assert metadata.n_classes == {"page": 3}
    learned = metadata.selected_columns_statistics["seconds"]
    assert learned.mean == 9
    assert learned.std == pytest.approx(math.sqrt(20 / 3))
    training, validation = (items_of(path)["page"] for path in summary.split_paths)
    assert (training, validation) == ([[2, 1], [1, 2]], [[2, 0], [0, 0]])
    assert (
        "column `page`: 2 unknown values in 3 rows (`gift`, `refund`) after the training split: "
        "they get id 0, which no model learns to predict" in summary.notes
    )


def test_a_column_that_is_constant_only_in_the_training_rows_is_noted(project: Project) -> None:
    table = {"sequenceId": [0] * 4, "itemPosition": [0, 1, 2, 3], "x": [2.5, 2.5, 2.5, 3.0]}

    summary = project.preprocess(
        project.write_parquet("t.parquet", table),
        split_ratios=[0.5, 0.5],
        seq_length=1,
        statistics_from="training",
    )

    assert any("constant in the training split and varies later" in n for n in summary.notes)


def test_numbers_that_are_too_large_for_the_training_rows_are_refused(project: Project) -> None:
    table = {"sequenceId": [0] * 4, "itemPosition": [0, 1, 2, 3], "x": [2.5, 2.5, 2.5, 1e308]}
    data = project.write_parquet("t.parquet", table)
    config = {"split_ratios": [0.5, 0.5], "seq_length": 1, "statistics_from": "training"}

    with pytest.raises(InputError, match="too large to be standardised"):
        project.preprocess(data, **config)
