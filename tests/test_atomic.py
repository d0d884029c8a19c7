import os
import socket
from pathlib import Path

import pytest

from sequifier_hpo.atomic import StagedFiles, remove_unfinished, write_atomically
from sequifier_hpo.errors import EnvironmentFaultError

HOST = socket.gethostname()
NOBODY = 2**22 + 1  # above the largest pid of Linux


def unfinished(path: Path, host: str, pid: int, *, hours_old: float = 0.0) -> Path:
    """What a writer that was killed leaves."""
    temporary = path.with_name(f".{path.name}~{host}~{pid}.tmp")
    temporary.write_bytes(b"half")
    began = temporary.stat().st_mtime - 3600 * hours_old
    os.utime(temporary, (began, began))
    return temporary


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


def test_a_write_that_finds_the_disk_full_says_so_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"old")

    def fill_the_disk() -> None:
        with StagedFiles() as files, files.open(path) as file, open("/dev/full", "wb") as full:  # noqa: PTH123
            file.write(b"new")
            full.write(b"new")

    with pytest.raises(EnvironmentFaultError, match=r"a\.onnx: No space left.*\n.*free disk space"):
        fill_the_disk()

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_writing_a_shared_file_removes_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    dead = [
        unfinished(path, HOST, NOBODY),
        unfinished(path, "a.host.of-old", 1, hours_old=2),
    ]
    living = [
        unfinished(path, HOST, os.getppid()),
        unfinished(path, "elsewhere", 1),
        unfinished(tmp_path / "other.csv", HOST, NOBODY),
    ]

    write_atomically(path, "whole")

    assert path.read_text() == "whole"
    assert not any(file.exists() for file in dead)
    assert all(file.exists() for file in living)


def test_whoever_alone_may_write_removes_what_writers_left_on_any_host(tmp_path: Path) -> None:
    own = [unfinished(tmp_path / "run-1.yaml", host, 1) for host in (HOST, "elsewhere.example.org")]
    other = unfinished(tmp_path / "run-11.yaml", HOST, NOBODY)

    remove_unfinished(tmp_path, "run-1.yaml".__eq__)

    assert not any(file.exists() for file in own)
    assert other.exists()


def test_a_folder_that_is_not_there_has_nothing_unfinished(tmp_path: Path) -> None:
    remove_unfinished(tmp_path / "models", lambda _name: True)

    assert list(tmp_path.iterdir()) == []
