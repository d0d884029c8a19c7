"""What `describe_split` says about a split on disk, and what it refuses."""

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.counted_events import read_places
from sequifier_hpo.preprocessing.shard_job import shard_index
from sequifier_hpo.preprocessing.split_pieces import pieces_of_table
from sequifier_hpo.preprocessing.stored_split import StoredSplit, describe_split
from sequifier_hpo.preprocessing.tensor_shards import make_shard
from tests.preprocessing import splits
from tests.preprocessing.conftest import Project
from tests.preprocessing.splits import windows_of

Rows = Callable[..., dict[str, Any]]


def long_table(columns: list[str], num_windows: int, seq_length: int = 3) -> pl.DataFrame:
    places = [(window, column) for window in range(num_windows) for column in columns]
    ids = {
        "sequenceId": [0] * len(places),
        "subsequenceId": [window for window, _ in places],
        "startItemPosition": [window for window, _ in places],
        "inputCol": [column for _, column in places],
    }
    items = {str(i): [1] * len(places) for i in range(seq_length, -1, -1)}
    return pl.DataFrame(ids | items)


def write_shards(folder: Path, *samples: int, columns: tuple[str, ...] = ("b", "a")) -> Path:
    folder.mkdir()
    shards = [(f"s{i}.pt", number) for i, number in enumerate(samples)]
    (folder / "metadata.json").write_text(shard_index(shards))
    for name, number in shards:
        values = {column: np.arange(20.0) for column in columns}
        torch.save(make_shard(values, np.zeros((5, number), np.int64), 6), folder / name)
    return folder


def refusal(path: Path, read_format: str) -> str:
    with pytest.raises(InputError) as caught:
        describe_split(path, read_format)
    return caught.value.problem


@pytest.mark.parametrize("write_format", ["csv", "parquet"])
def test_a_long_table_is_described_by_its_window_columns_and_number(
    project: Project, counting_rows: Rows, write_format: str
) -> None:
    table = counting_rows(9, 4) | {"day": ["mo"] * 13, "y": [float(i) for i in range(13)]}
    data = project.write_parquet("t.parquet", table)
    summary = project.preprocess(data, write_format=write_format, seq_length=4)

    described = describe_split(Path(summary.split_paths[0]), write_format)

    assert described == StoredSplit(4, ["x", "day", "y"], summary.num_windows[0])


def test_a_shard_folder_is_described_by_its_index_and_first_shard(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "split", 4, 3)

    assert describe_split(folder, "pt") == StoredSplit(6, ["b", "a"], 7)


def test_shards_whose_inputs_and_targets_share_memory_are_described_too(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "split", 4)
    window, numbers = torch.arange(20).reshape(4, 5), torch.arange(4)
    torch.save(({"a": window[:, :-1]}, {"a": window[:, 1:]}, *[numbers] * 3), folder / "s0.pt")

    assert describe_split(folder, "pt") == StoredSplit(4, ["a"], 4)


def test_a_long_table_with_more_columns_than_are_looked_at_first_is_described(
    tmp_path: Path,
) -> None:
    columns = [f"c{i}" for i in range(5000)]
    long_table(columns, 2, seq_length=1).write_parquet(tmp_path / "t.parquet")

    described = describe_split(tmp_path / "t.parquet", "parquet")

    assert described == StoredSplit(1, columns, 2)


def test_a_table_of_a_single_window_is_described(tmp_path: Path) -> None:
    long_table(["a", "b"], 1).write_parquet(tmp_path / "t.parquet")

    assert describe_split(tmp_path / "t.parquet", "parquet") == StoredSplit(3, ["a", "b"], 1)


@pytest.mark.parametrize("read_format", ["csv", "parquet", "pt"])
def test_a_missing_split_is_refused(tmp_path: Path, read_format: str) -> None:
    assert refusal(tmp_path / "x", read_format) == f"the data {tmp_path}/x does not exist"


def test_a_file_is_no_shard_folder_and_a_folder_no_table(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert "is a file, but `read_format: pt` needs a folder" in refusal(tmp_path / "file", "pt")
    assert "is a folder, but `read_format: csv` needs one file" in refusal(tmp_path, "csv")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda t: t.drop("inputCol"), "it has no column `inputCol`"),
        (lambda t: t.drop("2"), "it lacks columns of items: they are called L, L-1, ... 1, 0"),
        (
            lambda t: t.drop("1", "2", "3"),
            "it lacks columns of items: they are called L, L-1, ... 1, 0",
        ),
        (lambda t: t.with_columns(pl.lit("x").alias("1")), "its column `1` holds String"),
        (lambda t: t.head(-1), "5 rows are not a whole number of windows with 2 columns"),
        (
            lambda t: t.with_columns(inputCol=pl.lit("a")),
            "do not all list the same columns in the same order",
        ),
        (
            lambda t: t.sort("inputCol", maintain_order=True),
            "do not all list the same columns in the same order",
        ),
        (lambda t: t.clear(), "holds no windows"),
    ],
)
@pytest.mark.parametrize("read_format", ["csv", "parquet"])
def test_a_table_that_is_no_split_is_refused(
    tmp_path: Path,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    problem: str,
    read_format: str,
) -> None:
    table = change(long_table(["a", "b"], 3))
    path = tmp_path / "t"
    if read_format == "csv":
        table.write_csv(path)
    else:
        table.write_parquet(path)

    assert problem in refusal(path, read_format)


def test_a_table_cut_off_beyond_the_first_rows_is_refused(tmp_path: Path) -> None:
    long_table(["a", "b", "c"], 3000).head(-1).write_parquet(tmp_path / "t")

    problem = refusal(tmp_path / "t", "parquet")

    assert "8999 rows are not a whole number of windows with 3 columns" in problem


@pytest.mark.parametrize("read_format", ["csv", "parquet"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, read_format: str) -> None:
    (tmp_path / "t").write_bytes(b"\xff\xfe")

    assert str(tmp_path / "t") in refusal(tmp_path / "t", read_format)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"total_samples": 4, "batch_files": [{"path": "s0.pt"}]}']
)
def test_a_broken_index_is_refused(tmp_path: Path, content: str) -> None:
    folder = write_shards(tmp_path / "split", 4)
    (folder / "metadata.json").write_text(content)

    assert "it is not an index of shards" in refusal(folder, "pt")


def test_a_shard_folder_without_index_is_refused(tmp_path: Path) -> None:
    assert "has no metadata.json" in refusal(tmp_path, "pt")


def test_a_missing_shard_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "split", 4, 3)
    (folder / "s1.pt").unlink()

    assert f"{folder}/s1.pt is listed in" in refusal(folder, "pt")


def test_an_index_whose_samples_do_not_sum_to_the_total_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "split", 4)
    index = json.loads((folder / "metadata.json").read_text()) | {"total_samples": 5}
    (folder / "metadata.json").write_text(json.dumps(index))

    assert "do not sum to the total of 5" in refusal(folder, "pt")


def test_a_shard_folder_without_windows_is_refused(tmp_path: Path) -> None:
    assert "holds no windows" in refusal(write_shards(tmp_path / "split"), "pt")


def test_a_shard_with_other_rows_than_its_index_says_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "split", 4)
    (folder / "metadata.json").write_text(shard_index([("s0.pt", 5)]))

    assert "do not have one shape for all columns and 5 rows" in refusal(folder, "pt")


def test_a_shard_whose_columns_differ_in_length_is_refused(tmp_path: Path) -> None:
    folder = write_shards(tmp_path / "split", 4)
    numbers = torch.arange(4)
    columns = {"a": torch.ones(4, 6), "b": torch.ones(4, 5)}
    torch.save((columns, columns, numbers, numbers, numbers), folder / "s0.pt")

    assert "do not have one shape" in refusal(folder, "pt")


@pytest.mark.parametrize("content", [{"a": 1}, [1, 2], None, ({"a": 1}, {"a": 2}, 3, 4, 5)])
def test_a_torch_file_that_is_no_shard_is_refused(tmp_path: Path, content: Any) -> None:
    folder = write_shards(tmp_path / "split", 4)
    torch.save(content, folder / "s0.pt")

    assert "not a split as preprocess writes it" in refusal(folder, "pt")


@pytest.mark.parametrize("content", [b"", b"hello", pickle.dumps((1, 2))])
def test_a_file_that_is_not_of_torch_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = write_shards(tmp_path / "split", 4)
    (folder / "s0.pt").write_bytes(content)

    assert "it is not a torch file" in refusal(folder, "pt")


class _Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("proof"),)


def test_a_shard_that_would_run_code_is_refused_without_running_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = write_shards(tmp_path / "split", 4)
    with zipfile.ZipFile(folder / "s0.pt", "w") as archive:
        archive.writestr("s0/data.pkl", pickle.dumps(_Malicious()))

    assert "a shard cannot contain" in refusal(folder, "pt")
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("read_format", ["csv", "parquet"])
def test_columns_are_found_by_name_and_any_others_left_out(
    tmp_path: Path, read_format: str
) -> None:
    table = long_table(["a", "b"], 3).select(
        "0", "1", pl.lit("u7").alias("userId"), pl.nth(0, 1, 2, 3)
    )
    path = tmp_path / f"t.{read_format}"
    table.write_csv(path) if read_format == "csv" else table.write_parquet(path)

    described = describe_split(path, read_format)

    assert described == StoredSplit(1, ["a", "b"], 3)
    [piece] = pieces_of_table(path, read_format, described)
    assert piece.columns["b"]().tolist() == [[1, 1]] * 3
    assert read_places(path, read_format, described)[1].tolist() == [0, 1, 2]


def test_shards_of_whole_windows_are_described_like_those_of_inputs_and_targets(
    tmp_path: Path,
) -> None:
    windows = windows_of(6, 4)
    halves = splits.write_shards(tmp_path / "halves", windows, 4)
    whole = splits.write_shards(tmp_path / "whole", windows, 4, whole=True)

    described = describe_split(whole, "pt")

    assert described == describe_split(halves, "pt")
    places = [read_places(folder, "pt", described) for folder in (halves, whole)]
    np.testing.assert_array_equal(places[0], places[1])


@pytest.mark.parametrize("content", [({"a": 1}, 2, 3, 4), ([1], 2, 3, 4), (1, 2, 3, 4)])
def test_four_parts_that_are_no_windows_are_refused(tmp_path: Path, content: Any) -> None:
    folder = write_shards(tmp_path / "split", 4)
    torch.save(content, folder / "s0.pt")

    assert "not a split as preprocess writes it" in refusal(folder, "pt")


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (lambda folder: (folder / "t1.parquet").unlink(), "t1.parquet is listed in"),
        (lambda folder: (folder / "metadata.json").unlink(), "has no metadata.json"),
        (lambda folder: (folder / "t1.parquet").write_bytes(b"PAR1"), "cannot be read as parquet"),
        (
            lambda folder: (folder / "t1.parquet").write_bytes(
                (folder / "t0.parquet").read_bytes()
            ),
            "it holds 8 windows, not 6 as its index says",
        ),
    ],
)
def test_a_damaged_folder_of_tables_is_refused(
    tmp_path: Path, break_it: Callable[[Path], Any], problem: str
) -> None:
    folder = splits.write_table_folder(tmp_path / "split", windows_of(6, 4), 4)
    break_it(folder)

    assert problem in refusal(folder, "parquet")
