"""Results appear whole or not at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.preprocessing.staging import StagedOutputs
from tests.full_disk import largest_file
from tests.preprocessing.conftest import Project

Rows = Callable[..., dict[str, Any]]


def fail_after_writing(folder: Path) -> None:
    with StagedOutputs() as outputs:
        outputs.stage(folder / "a.txt").write_text("new")
        outputs.stage(folder / "b").mkdir()
        (outputs.scratch_folder(folder / "c") / "d").write_text("d")
        raise RuntimeError("in between")


def publish_new(folder: Path, *names: str) -> None:
    with StagedOutputs() as outputs:
        for name in names:
            outputs.stage(folder / name).write_text("new")
        outputs.publish()


def test_nothing_is_visible_before_it_is_published(tmp_path: Path) -> None:
    with StagedOutputs() as outputs:
        outputs.stage(tmp_path / "new/a.txt").write_text("a")

        assert not (tmp_path / "new/a.txt").exists()
        outputs.publish()

    assert [path.name for path in tmp_path.rglob("*")] == ["new", "a.txt"]


def test_a_failure_leaves_neither_results_nor_temporary_files(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="in between"):
        fail_after_writing(tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_results_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    with pytest.raises(RuntimeError, match="in between"):
        fail_after_writing(tmp_path)

    assert (tmp_path / "a.txt").read_text() == "old"


def test_published_files_and_folders_replace_those_of_an_earlier_run(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/old.pt").write_text("old")

    with StagedOutputs() as outputs:
        new_folder = outputs.stage(tmp_path / "folder")
        new_folder.mkdir()
        (new_folder / "new.pt").write_text("new")
        outputs.stage(tmp_path / "a.txt").write_text("new")
        outputs.publish()

    assert (tmp_path / "a.txt").read_text() == "new"
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "a.txt",
        "folder",
        "folder/new.pt",
    ]


def test_old_metadata_never_stands_beside_new_data_when_renaming_fails(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text("old")
    (tmp_path / "b").mkdir()  # a folder that a file cannot replace

    with pytest.raises(EnvironmentFaultError, match="cannot write"):
        publish_new(tmp_path, "a", "b", "metadata.json")

    assert (tmp_path / "a").read_text() == "new"
    assert not (tmp_path / "metadata.json").exists()


@pytest.mark.parametrize("write_format", ["csv", "parquet"])
def test_a_full_disk_is_an_environment_fault_and_keeps_the_earlier_results(
    project: Project, counting_rows: Rows, write_format: str
) -> None:
    data = project.write_parquet("t.parquet", counting_rows(3000))
    project.preprocess(data, write_format=write_format)
    before = {
        name: (project.root / "project" / name).read_bytes() for name in project.written_files()
    }

    with largest_file(2000), pytest.raises(EnvironmentFaultError, match="File too large") as caught:
        project.preprocess(data, write_format=write_format, stride_by_split=[1])

    assert "free space" in caught.value.fix
    after = {
        name: (project.root / "project" / name).read_bytes() for name in project.written_files()
    }
    assert after == before


@pytest.mark.slow
def test_a_disk_that_fills_up_in_the_shard_writer_is_an_environment_fault(
    project: Project, counting_rows: Rows
) -> None:
    data = project.write_parquet("t.parquet", counting_rows(3000))

    # Large enough for the arrays that are handed over, too small for the shard.
    with (
        largest_file(110_000),
        pytest.raises(EnvironmentFaultError, match=r"that writes.*File too large"),
    ):
        project.preprocess(
            data, write_format="pt", merge_output=False, seq_length=20, stride_by_split=[2]
        )

    assert project.written_files() == []


def test_a_project_root_that_cannot_be_written_is_an_environment_fault(
    project: Project, counting_rows: Rows
) -> None:
    data = project.write_parquet("t.parquet", counting_rows(5))
    project.write_csv("project/data", "a file where a folder is needed")

    with pytest.raises(EnvironmentFaultError, match="cannot write"):
        project.preprocess(data)
