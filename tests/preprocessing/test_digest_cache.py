"""Kept digests: trusted as long as the files are certain to be those that were read."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sequifier_hpo.config.metadata import DataMetadata, read_metadata
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing import digest_cache
from sequifier_hpo.preprocessing.digest import data_digest
from sequifier_hpo.preprocessing.digest_cache import cache_path, kept_values, stamp_split
from sequifier_hpo.preprocessing.run import PreprocessSummary, _keep_digest
from sequifier_hpo.preprocessing.value_digests import SplitValues
from sequifier_hpo.records import DataDigest
from tests.preprocessing.conftest import Project
from tests.preprocessing.splits import write_shards, write_table

Rows = Callable[..., dict[str, Any]]
LONG_AGO_NS = 1_600_000_000 * 10**9


class Split:
    """A split of old files, and how often it was read for its digest."""

    def __init__(self, path: Path, read_format: str, types: dict[str, str]) -> None:
        self.path = path
        self.format = read_format
        self.types = types
        self.num_reads = 0

    @property
    def file(self) -> Path:
        """The file that holds numbers."""
        return next(self.path.glob("*.pt")) if self.format == "pt" else self.path

    def digest(
        self, types: dict[str, str] | None = None, *, metadata: DataMetadata | None = None
    ) -> DataDigest:
        path = self.path
        return data_digest(
            path, path, self.format, metadata, types or self.types, on_progress=self._count
        )

    def _count(self, _line: str) -> None:
        self.num_reads += 1

    def age(self) -> None:
        files = self.path.iterdir() if self.path.is_dir() else [self.path]
        for file in files:
            os.utime(file, ns=(LONG_AGO_NS, LONG_AGO_NS))


@pytest.fixture(params=["csv", "parquet", "pt"])
def split(tmp_path: Path, request: pytest.FixtureRequest) -> Split:
    windows = {"x": np.arange(24.0).reshape(6, 4), "y": np.arange(24.0).reshape(6, 4) / 7}
    types = {"x": "Int64", "y": "Float64"}
    if request.param == "pt":
        split = Split(write_shards(tmp_path / "split", windows), "pt", types)
    else:
        split = Split(write_table(tmp_path / f"a.{request.param}", windows), request.param, types)
    split.age()
    return split


def metadata_of(id_map: dict[str, int]) -> DataMetadata:
    return DataMetadata(
        n_classes={"x": len(id_map) + 1},
        id_maps={"x": id_map},
        split_paths=[],
        column_types={"x": "Int64"},
        selected_columns_statistics={},
    )


def kept(path: Path, read_format: str) -> SplitValues | None:
    return kept_values(path, read_format, stamp_split(path))


def replaced_by_other_numbers(file: Path) -> None:
    """Another file of the same size, with the same time of modification."""
    stat = file.stat()
    content = bytearray(file.read_bytes())
    if file.suffix == ".pt":
        place = content.index(np.float32(2 / 7).tobytes())
        content[place : place + 4] = np.float32(3 / 7).tobytes()
    else:
        text = content.decode().replace(f",{2 / 7}", f",{5 / 7}", 1)
        content = bytearray(text.encode())
    copy = file.with_name("copy")
    copy.write_bytes(content)
    copy.replace(file)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def replaced_by_itself(file: Path) -> None:
    """The same content in another file, with the same time of modification."""
    copy = file.with_name("copy")
    shutil.copy2(file, copy)
    copy.replace(file)


def test_a_split_is_read_once(split: Split) -> None:
    first = split.digest()
    again = split.digest()

    assert again == first
    assert split.num_reads == 1


def test_a_split_whose_files_were_touched_is_read_again(split: Split) -> None:
    first = split.digest()
    os.utime(split.file, ns=(LONG_AGO_NS, LONG_AGO_NS + 1))

    assert split.digest() == first
    assert split.num_reads == 2


@pytest.mark.parametrize("split", ["csv", "pt"], indirect=True)
def test_a_file_of_the_same_size_and_time_of_modification_is_not_taken_for_the_old_one(
    split: Split,
) -> None:
    first = split.digest()
    replaced_by_other_numbers(split.file)

    second = split.digest()

    assert second.training.columns["x"] == first.training.columns["x"]
    assert second.training.columns["y"] != first.training.columns["y"]


def test_what_was_read_within_a_tick_of_the_last_change_is_read_again(split: Split) -> None:
    os.utime(split.file)  # now
    split.digest()

    split.digest()

    assert split.num_reads == 2


def test_within_a_tick_even_a_file_that_looks_unchanged_is_read(split: Split) -> None:
    os.utime(split.file)
    first = split.digest()
    cache = json.loads(cache_path(split.path).read_text())
    for column in cache["values"]["columns"].values():
        column["sha256"] = "00" * 32
    cache_path(split.path).write_text(json.dumps(cache))

    assert split.digest() == first


def test_a_file_dated_in_the_future_is_read_every_time(split: Split) -> None:
    os.utime(split.file, ns=(2 * LONG_AGO_NS, 2 * LONG_AGO_NS))
    split.digest()

    split.digest()

    assert split.num_reads == 2


def test_a_file_system_that_does_not_tell_the_time_is_not_trusted(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_cache, "_clock_ns", lambda _path: 0)
    split.digest()

    split.digest()

    assert split.num_reads == 2


@pytest.mark.parametrize("split", ["pt"], indirect=True)
def test_a_shard_that_was_added_to_the_listing_is_read(split: Split) -> None:
    split.digest()
    (split.path / "more.pt").write_bytes(split.file.read_bytes())
    index = json.loads((split.path / "metadata.json").read_text())
    index["batch_files"].append(index["batch_files"][0] | {"path": "more.pt"})
    index["total_samples"] *= 2
    (split.path / "metadata.json").write_text(json.dumps(index))
    split.age()

    assert split.digest().training.num_windows == index["total_samples"]


def test_columns_asked_for_later_are_added_to_the_kept_ones(split: Split) -> None:
    both = split.digest().training.columns
    cache_path(split.path).unlink()

    only_x = split.digest({"x": "Int64"}).training.columns
    only_y = split.digest({"y": "Float64"}).training.columns
    again = split.digest().training.columns

    assert only_x | only_y == again == both
    assert split.num_reads == 3


def test_a_column_that_is_now_of_another_kind_is_digested_anew(split: Split) -> None:
    as_ids = split.digest({"x": "Int64"}).training.columns["x"]

    as_reals = split.digest({"x": "Float64"}).training.columns["x"]

    assert as_reals != as_ids
    assert split.num_reads == 2


def test_columns_that_the_split_lacks_do_not_make_it_be_read_again(split: Split) -> None:
    split.digest(split.types | {"z": "Float64"})

    split.digest(split.types | {"z": "Float64"})

    assert split.num_reads == 1


def test_a_change_of_the_metadata_is_seen_without_reading_the_split(split: Split) -> None:
    alone = split.digest(metadata=metadata_of({"5": 5}))

    assert split.digest(metadata=metadata_of({"6": 5})) != alone
    assert split.num_reads == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: "[1, 2]",
        lambda text: text.replace('"version": 1', '"version": 2'),
        lambda text: text.replace('"values"', '"others"'),
        lambda text: text.replace('"kind": "', '"kind": "un'),
    ],
)
def test_a_damaged_or_foreign_file_is_ignored_and_replaced(
    split: Split, damage: Callable[[str], str]
) -> None:
    first = split.digest()
    file = cache_path(split.path)
    good = file.read_text()
    file.write_text(damage(good))
    assert file.read_text() != good

    assert split.digest() == first
    assert split.num_reads == 2
    assert kept(split.path, split.format) is not None


def test_kept_digests_do_not_hide_that_the_format_is_wrong(split: Split) -> None:
    split.digest()
    wrong = {"csv": "parquet", "parquet": "csv", "pt": "csv"}[split.format]

    with pytest.raises(InputError, match=str(split.path)):
        data_digest(split.path, split.path, wrong, None, split.types)


def test_a_folder_that_cannot_be_written_to_costs_no_more_than_the_time(
    split: Split,
) -> None:
    first = split.digest()
    cache_path(split.path).unlink()
    cache_path(split.path).mkdir()  # in the way, for root too

    assert split.digest() == first
    assert split.digest() == first
    assert split.num_reads == 3


def preprocessed(project: Project, data: Path, write_format: str) -> PreprocessSummary:
    return project.preprocess(
        data,
        write_format=write_format,
        merge_output=write_format != "pt",
        split_ratios=[0.6, 0.4],
        stride_by_split=[1, 1],
        batches_per_file=1,
    )


@pytest.mark.parametrize(
    "write_format", ["csv", "parquet", pytest.param("pt", marks=pytest.mark.slow)]
)
def test_preprocess_keeps_the_digests_that_reading_finds(
    project: Project,
    counting_rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
    write_format: str,
) -> None:
    table = counting_rows(9, 1, 30) | {"y": [i / 7 for i in range(40)], "day": ["mo", "tu"] * 20}
    monkeypatch.setattr(digest_cache, "_TICK_NS", 0)
    summary = preprocessed(project, project.write_parquet("t.parquet", table), write_format)
    paths = [Path(path) for path in summary.split_paths]
    types = read_metadata(summary.metadata_path).column_types
    lines: list[str] = []
    written = [kept(path, write_format) for path in paths]
    for path in paths:
        cache_path(path).unlink()

    data_digest(paths[0], paths[1], write_format, None, types, on_progress=lines.append)

    assert None not in written
    assert [kept(path, write_format) for path in paths] == written
    assert len(lines) == 2


def test_an_empty_split_is_refused_after_preprocessing_too(
    project: Project, counting_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_cache, "_TICK_NS", 0)
    data = project.write_parquet("t.parquet", counting_rows(5))
    summary = project.preprocess(data, split_ratios=[0.8, 0.1, 0.1], seq_length=2)
    paths = [Path(path) for path in summary.split_paths[:2]]

    with pytest.raises(InputError, match="holds no windows"):
        data_digest(paths[0], paths[1], "parquet", None, {"x": "Int64"})


def test_preprocess_keeps_nothing_of_a_split_that_another_job_has_replaced(
    split: Split,
) -> None:
    split.digest()
    values = kept(split.path, split.format)
    staged = stamp_split(split.path)
    assert values is not None
    replaced_by_itself(split.file)
    cache_path(split.path).unlink()

    _keep_digest(split.path, split.format, values, staged)

    assert not cache_path(split.path).exists()
