from pathlib import Path

import pytest

from sequifier_hpo.training.export.staging import StagedFiles


def test_no_file_has_its_name_before_the_end_of_the_block(tmp_path: Path) -> None:
    path = tmp_path / "models" / "a.onnx"

    with StagedFiles() as files:
        files.add(path, b"content")
        was_there = path.exists()

    assert not was_there
    assert path.read_bytes() == b"content"


def test_only_final_names_remain_after_the_block(tmp_path: Path) -> None:
    with StagedFiles() as files:
        files.add(tmp_path / "b.pt", b"2")
        files.add(tmp_path / "a.onnx", b"1")

    assert sorted(tmp_path.iterdir()) == files.paths == [tmp_path / "a.onnx", tmp_path / "b.pt"]


def test_a_failing_block_keeps_the_old_file_and_removes_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")

    def fail() -> None:
        with StagedFiles() as files:
            files.add(path, b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_earlier_crash_left_behind_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".a.onnx.tmp").write_bytes(b"half of a much longer file")

    with StagedFiles() as files:
        files.add(tmp_path / "a.onnx", b"whole")

    assert (tmp_path / "a.onnx").read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.onnx"]
