"""The data digest: equal for equal data in any format, and another for anything else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sequifier_hpo.config.metadata import ColumnStatistics, DataMetadata, read_metadata
from sequifier_hpo.digests import digest_differences
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing import split_pieces
from sequifier_hpo.preprocessing.digest import data_digest
from sequifier_hpo.records import DataDigest, SplitDigest
from tests.preprocessing.conftest import Project
from tests.preprocessing.splits import (
    Windows,
    windows_of,
    write_shards,
    write_table,
    write_table_folder,
)

Change = Callable[[Windows], Windows]
Rows = Callable[..., dict[str, Any]]

TYPES = {"product": "Int64", "price": "Float64"}
METADATA = DataMetadata(
    n_classes={"product": 4},
    id_maps={"product": {"a": 1, "b": 2, "c": 3}},
    split_paths=[],
    column_types=TYPES,
    selected_columns_statistics={"price": ColumnStatistics(std=1.5, mean=12.0)},
    padding="startItemPosition",
)
NUMBERS = st.one_of(st.floats(-1e3, 1e3), st.sampled_from([0.0, -0.0, 1e-45, 3.4e38, 1e39]))


def digest(
    path: Path,
    read_format: str = "parquet",
    metadata: DataMetadata | None = METADATA,
    types: dict[str, str] = TYPES,
) -> DataDigest:
    return data_digest(path, path, read_format, metadata, types)


def columns_of(path: Path, *arguments: Any) -> dict[str, str]:
    return digest(path, *arguments).training.columns


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(
    data=st.data(),
    num_windows=st.integers(1, 9),
    length=st.integers(2, 5),
    piece=st.integers(1, 40),
    row_group=st.integers(1, 20),
)
def test_the_digest_depends_neither_on_the_format_nor_on_the_pieces_of_a_file(
    data: st.DataObject,
    tmp_path_factory: pytest.TempPathFactory,
    num_windows: int,
    length: int,
    piece: int,
    row_group: int,
) -> None:
    folder = tmp_path_factory.mktemp("digest")
    shape = (num_windows, length)
    num_values = num_windows * length
    ids = data.draw(st.lists(st.integers(0, 3), min_size=num_values, max_size=num_values))
    reals = data.draw(st.lists(NUMBERS, min_size=num_values, max_size=num_values))
    windows = {
        "product": np.array(ids, np.float64).reshape(shape),
        "price": np.array(reals).reshape(shape),
    }
    size = data.draw(st.integers(0, num_windows))
    plain = digest(write_table(folder / "a.parquet", windows))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split_pieces, "_COLUMN_VALUES", piece)
        patch.setattr(split_pieces, "_TABLE_VALUES", piece)
        options = {"row_group_size": row_group, "compression": "zstd"}
        others = [
            digest(write_table(folder / "b.parquet", windows, **options)),
            digest(write_table(folder / "c.csv", windows), "csv"),
            digest(write_shards(folder / "d", windows, size), "pt"),
            digest(write_shards(folder / "e", windows, size, whole=True), "pt"),
            digest(write_table_folder(folder / "f", windows, size), "parquet"),
        ]

    assert others == [plain] * 5


@settings(deadline=None, max_examples=40)
@given(data=st.data(), read_format=st.sampled_from(["csv", "parquet", "pt"]))
def test_any_other_value_gives_another_digest_of_its_column_alone(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory, read_format: str
) -> None:
    folder = tmp_path_factory.mktemp("digest")
    windows = windows_of()
    column = data.draw(st.sampled_from(list(windows)))
    place = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 3)))
    changed = {name: values.copy() for name, values in windows.items()}
    changed[column][place] += data.draw(st.integers(1, 5))

    def write(name: str, content: Windows) -> Path:
        path = folder / f"{name}.{read_format}"
        return write_shards(path, content) if read_format == "pt" else write_table(path, content)

    before = columns_of(write("a", windows), read_format)
    after = columns_of(write("b", changed), read_format)

    assert {name for name in before if before[name] != after[name]} == {column}


@pytest.mark.parametrize(
    "change",
    [
        lambda w: {name: values[::-1] for name, values in w.items()},
        lambda w: {name: values[:, ::-1] for name, values in w.items()},
        lambda w: {name: values[:-1] for name, values in w.items()},
        lambda w: {name: values[:, 1:] for name, values in w.items()},
        lambda w: {name: values.reshape(8, 3) for name, values in w.items()},
    ],
    ids=["windows", "items", "fewer windows", "shorter windows", "other windows"],
)
def test_another_order_or_shape_gives_another_digest(tmp_path: Path, change: Change) -> None:
    before = columns_of(write_table(tmp_path / "a.parquet", windows_of()))

    after = columns_of(write_table(tmp_path / "b.parquet", change(windows_of())))

    assert all(before[name] != after[name] for name in before)


def test_another_meaning_gives_another_digest_of_its_column_alone(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", windows_of())
    other_ids = METADATA.model_copy(update={"id_maps": {"product": {"a": 1, "c": 2, "b": 3}}})
    statistics = {"price": ColumnStatistics(std=1.5, mean=12.5)}
    other_mean = METADATA.model_copy(update={"selected_columns_statistics": statistics})

    plain, ids, mean = (columns_of(path, "parquet", m) for m in (METADATA, other_ids, other_mean))

    assert ids["product"] != plain["product"]
    assert ids["price"] == plain["price"]
    assert mean["product"] == plain["product"]
    assert mean["price"] != plain["price"]


def test_the_same_numbers_as_ids_and_as_reals_are_other_data(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", {"product": windows_of()["product"]})

    as_ids = columns_of(path, "parquet", None, {"product": "Int64"})
    as_reals = columns_of(path, "parquet", None, {"product": "Float64"})

    assert as_ids["product"] != as_reals["product"]


def test_the_order_of_an_id_map_does_not_matter(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", windows_of())
    reordered = METADATA.model_copy(update={"id_maps": {"product": {"c": 3, "b": 2, "a": 1}}})

    assert digest(path, "parquet", reordered) == digest(path)


def test_a_new_column_leaves_the_digests_of_the_others(tmp_path: Path) -> None:
    windows = windows_of()
    wider = {"new": windows["price"] + 1, **dict(reversed(windows.items()))}
    before = columns_of(write_table(tmp_path / "a.parquet", windows))

    after = columns_of(
        write_table(tmp_path / "b.parquet", wider), "parquet", METADATA, {**TYPES, "new": "Float64"}
    )

    assert set(after) == {*before, "new"}
    assert before.items() <= after.items()


def test_negative_zero_is_zero_and_every_nan_is_the_same(tmp_path: Path) -> None:
    other_nan = np.array([0xFFF8000000000001], np.uint64).view(np.float64)[0]
    one = {"price": np.array([[0.0, np.nan, 1.0]])}
    other = {"price": np.array([[-0.0, other_nan, 1.0]])}

    assert columns_of(write_table(tmp_path / "a.parquet", one)) == columns_of(
        write_table(tmp_path / "b.parquet", other)
    )


def test_whole_numbers_beyond_single_precision_are_told_apart_as_ids(tmp_path: Path) -> None:
    one, other = ({"product": np.full((1, 2), 2.0**24 + i)} for i in (0, 1))

    before = columns_of(write_table(tmp_path / "a.parquet", one))
    after = columns_of(write_table(tmp_path / "b.parquet", other))

    assert before != after


def test_padding_is_digested_where_the_metadata_says_what_tells_it(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.parquet", windows_of())
    silent = METADATA.model_copy(update={"padding": None})

    assert digest(path).training.padding != ""
    assert digest(path, "parquet", silent).training.padding == ""
    assert digest(path, "parquet", None).training.padding == ""


def test_windows_without_padding_have_one_digest_of_it_wherever_they_start(tmp_path: Path) -> None:
    frame = pl.read_parquet(write_table(tmp_path / "a.parquet", windows_of()))

    def padding(name: str, start: pl.Expr) -> str:
        frame.with_columns(startItemPosition=start).write_parquet(tmp_path / name)
        return digest(tmp_path / name).training.padding

    position = pl.col("startItemPosition")
    later = padding("b.parquet", pl.when(position > 0).then(position + 7).otherwise(position))
    more = padding("c.parquet", pl.when(position < 0).then(-3).otherwise(position))

    assert later == digest(tmp_path / "a.parquet").training.padding
    assert more != later


@pytest.mark.parametrize(
    "write_format", ["csv", "parquet", pytest.param("pt", marks=pytest.mark.slow)]
)
def test_a_split_as_preprocess_writes_it_has_the_digest_of_its_parquet_form(
    project: Project, counting_rows: Rows, write_format: str
) -> None:
    table = counting_rows(9, 1, 30) | {"y": [i / 7 for i in range(40)], "day": ["mo", "tu"] * 20}
    data = project.write_parquet("t.parquet", table)

    def found(form: str) -> DataDigest:
        keys = {"write_format": form, "merge_output": form != "pt", "split_ratios": [0.5, 0.5]}
        summary = project.preprocess(data, **keys, batches_per_file=1)
        metadata = read_metadata(summary.metadata_path)
        training, validation = map(Path, summary.split_paths)
        return data_digest(training, validation, form, metadata, metadata.column_types)

    expected = found("parquet")
    assert found(write_format) == expected
    assert list(expected.training.columns) == ["x", "y", "day"]
    assert expected.training != expected.validation


@pytest.mark.parametrize("read_format", ["csv", "parquet"])
def test_a_window_without_a_position_counts_as_one_without_padding(
    tmp_path: Path, read_format: str
) -> None:
    frame = pl.read_parquet(write_table(tmp_path / "a.parquet", windows_of()))

    def padding(name: str, **changes: pl.Expr) -> str:
        path = tmp_path / f"{name}.{read_format}"
        changed = frame.with_columns(**changes)
        changed.write_csv(path) if read_format == "csv" else changed.write_parquet(path)
        return digest(path, read_format).training.padding

    position = pl.col("startItemPosition")
    absent = padding("absent", startItemPosition=pl.when(position < 0).then(position))
    none = padding("none")

    assert absent == none


@pytest.mark.parametrize("read_format", ["csv", "parquet"])
def test_windows_that_list_other_columns_further_on_are_refused(
    tmp_path: Path, read_format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = windows_of(3000)
    path = write_table(tmp_path / "a.parquet", windows)
    frame = pl.read_parquet(path)
    names = frame["inputCol"].to_list()
    names[-2:] = reversed(names[-2:])
    frame = frame.with_columns(inputCol=pl.Series(names))
    path = tmp_path / f"b.{read_format}"
    frame.write_csv(path) if read_format == "csv" else frame.write_parquet(path)
    monkeypatch.setattr(split_pieces, "_TABLE_VALUES", 64)

    with pytest.raises(InputError, match="do not all list the same columns in the same order"):
        digest(path, read_format)


def test_a_table_with_a_text_among_its_numbers_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", windows_of(3000))
    path.write_text(path.read_text().rstrip("\n") + "x\n")

    with pytest.raises(InputError, match="cannot be read"):
        digest(path, "csv")


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda i, t: (i | {"price": i["price"][:, 1:]}, t), "not all of shape"),
        (lambda i, t: ({"price": i["price"]}, t), "'product'"),
        (lambda i, t: (i, {"price": t["price"]}), "'product'"),
        (lambda i, t: (i | {"price": i["price"].to(torch.complex64)}, t), "Complex"),
    ],
)
def test_a_later_shard_that_is_not_like_the_first_is_refused(
    tmp_path: Path, damage: Callable[..., Any], problem: str
) -> None:
    folder = write_shards(tmp_path / "a", windows_of(), 3)
    inputs, targets, *numbers = torch.load(folder / "s1.pt")
    torch.save((*damage(inputs, targets), *numbers), folder / "s1.pt")

    with pytest.raises(InputError, match=problem) as caught:
        digest(folder, "pt")

    assert str(folder / "s1.pt") in caught.value.problem


def test_a_shard_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "a", windows_of(), 3)
    content = (folder / "s1.pt").read_bytes()
    (folder / "s1.pt").write_bytes(content[: len(content) // 2])

    with pytest.raises(InputError, match=r"s1\.pt is not a split as preprocess writes it"):
        digest(folder, "pt")


def test_a_missing_split_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none does not exist"):
        digest(tmp_path / "none")


@pytest.mark.parametrize("read_format", ["parquet", "pt"])
def test_a_split_that_is_written_to_while_it_is_read_is_refused(
    tmp_path: Path, read_format: str
) -> None:
    if read_format == "pt":
        path = write_shards(tmp_path / "a", windows_of(), 3)
    else:
        path = write_table(tmp_path / "a.parquet", windows_of())
    file = path / "s1.pt" if read_format == "pt" else path

    def replace(_line: str) -> None:
        copy = tmp_path / "copy"
        copy.write_bytes(file.read_bytes())
        copy.replace(file)

    with pytest.raises(InputError, match="changed while it was being read"):
        data_digest(path, path, read_format, METADATA, TYPES, on_progress=replace)


def split_of(columns: dict[str, str], **changes: Any) -> SplitDigest:
    values: dict[str, Any] = {"num_windows": 1200, "window_length": 16, "padding": "p"}
    return SplitDigest(**(values | {"columns": columns} | changes))


STORED = DataDigest(
    training=split_of({"a": "1", "b": "2"}), validation=split_of({"a": "3", "b": "4"})
)


@pytest.mark.parametrize(
    ("present", "lines"),
    [
        (split_of({"a": "1", "b": "2", "c": "9"}), []),
        (split_of({"a": "1"}), ["the training split no longer holds `b`"]),
        (
            split_of({"a": "5", "b": "6"}),
            ["in the training split, `a` and `b` changed: values, ids or scaling"],
        ),
        (
            split_of({"a": "5", "b": "6"}, num_windows=1),
            ["the training split holds 1 window; it held 1,200"],
        ),
        (
            split_of({"a": "5", "b": "6"}, num_windows=1300, window_length=32),
            [
                "the training split holds 1,300 windows; it held 1,200",
                "the windows of the training split hold 33 items; they held 17",
            ],
        ),
        (
            split_of({"a": "1", "b": "2"}, padding="q"),
            ["different items of the training split are padding"],
        ),
        (
            split_of({"a": "1", "b": "2"}, padding=""),
            ["the training split no longer records which of its items are padding"],
        ),
    ],
)  # fmt: skip
def test_what_differs_is_said_in_words(present: SplitDigest, lines: list[str]) -> None:
    now = DataDigest(training=present, validation=STORED.validation)

    assert digest_differences(STORED, now, ["a", "b"]) == lines


def test_differences_of_the_validation_split_and_of_new_columns_are_named() -> None:
    stored = DataDigest(training=STORED.training, validation=split_of({"a": "3"}, padding=""))

    assert digest_differences(stored, STORED, ["b", "a", "b"]) == [
        "the validation split did not hold `b`",
        "the validation split now records which of its items are padding",
    ]


def test_columns_that_do_not_matter_make_no_difference() -> None:
    now = DataDigest(training=split_of({"a": "1"}), validation=split_of({"a": "3", "b": "7"}))

    assert digest_differences(STORED, now, ["a"]) == []


def test_a_digest_survives_json(tmp_path: Path) -> None:
    found = digest(write_table(tmp_path / "a.parquet", windows_of()))

    assert DataDigest.model_validate_json(json.dumps(found.model_dump())) == found
