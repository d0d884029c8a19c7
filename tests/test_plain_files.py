"""Links and pipes that someone else has left under the names of our files."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from sequifier_hpo.atomic import StagedFiles, remove_unfinished, write_atomically
from sequifier_hpo.cli.init import init
from sequifier_hpo.config.metadata import read_metadata
from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.config.run_file import study_of_run_file
from sequifier_hpo.errors import ConfigError, EnvironmentFaultError, SequifierHpoError
from sequifier_hpo.file_lock import file_lock
from sequifier_hpo.log_lines import LogLines
from sequifier_hpo.plain_files import parse_json, read_plain
from sequifier_hpo.preprocessing.raw_files import find_files
from sequifier_hpo.preprocessing.shard_file import read_shard
from sequifier_hpo.preprocessing.staging import StagedOutputs
from sequifier_hpo.preprocessing.stored_split import describe_split
from sequifier_hpo.report.artifacts import keep_artifacts
from sequifier_hpo.study.locks import OwnerLock
from sequifier_hpo.study.storages import Storage
from sequifier_hpo.training.checkpoint import DamagedCheckpointError, read_checkpoint
from sequifier_hpo.training.data.window_file import read_header

Write = Callable[[Path], object]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A file that a link in the project points at."""
    path = tmp_path / "bashrc"
    path.write_text("theirs")
    return path


def append(path: Path) -> None:
    with closing(LogLines(path)) as lines:
        lines.append("ours")


def lock(path: Path) -> None:
    with file_lock(path):
        path.write_text("ours")


def open_storage(path: Path) -> None:
    with closing(Storage(f"sqlite:///{path}")):
        pass


@pytest.mark.parametrize("use", [append, lock, open_storage])
def test_a_link_at_the_file_itself_is_refused_and_not_followed(
    tmp_path: Path, theirs: Path, use: Write
) -> None:
    path = tmp_path / "file"
    path.symlink_to(theirs)

    with pytest.raises((EnvironmentFaultError, OSError), match="is a symbolic link"):
        use(path)

    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("use", [append, lock, open_storage])
def test_a_link_to_nothing_makes_no_file_elsewhere(tmp_path: Path, use: Write) -> None:
    (tmp_path / "file").symlink_to(tmp_path / "elsewhere")

    with pytest.raises((EnvironmentFaultError, OSError), match="is a symbolic link"):
        use(tmp_path / "file")

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("use", [append, lock, open_storage])
def test_nobody_waits_for_a_pipe(tmp_path: Path, use: Write) -> None:
    os.mkfifo(tmp_path / "file")

    with pytest.raises((EnvironmentFaultError, OSError), match="is a named pipe"):
        use(tmp_path / "file")


@pytest.mark.parametrize("ending", ["-journal", "-wal", "-shm", ".lock"])
def test_no_file_beside_a_database_is_a_link(tmp_path: Path, theirs: Path, ending: str) -> None:
    (tmp_path / f"study.db{ending}").symlink_to(theirs)

    with pytest.raises(EnvironmentFaultError, match=rf"study\.db{ending} is a symbolic link"):
        open_storage(tmp_path / "study.db")

    assert theirs.read_text() == "theirs"


def test_who_links_a_study_elsewhere_is_told_how_to_name_it(tmp_path: Path) -> None:
    open_storage(tmp_path / "real.db")
    (tmp_path / "study.db").symlink_to(tmp_path / "real.db")

    with pytest.raises(EnvironmentFaultError) as caught:
        open_storage(tmp_path / "study.db")

    assert caught.value.fix == f"name the file itself: --storage sqlite:///{tmp_path}/real.db"


def test_a_link_under_a_final_name_is_replaced_and_not_followed(
    tmp_path: Path, theirs: Path
) -> None:
    path = tmp_path / "results.csv"
    path.symlink_to(theirs)

    write_atomically(path, "ours")

    assert (path.is_symlink(), path.read_text(), theirs.read_text()) == (False, "ours", "theirs")


def test_no_two_temporary_names_are_alike(tmp_path: Path) -> None:
    names = set()
    for _ in range(2):
        with StagedFiles() as files, files.open(tmp_path / "a"):
            names |= {path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")}

    assert len(names) == 2


def test_what_is_written_before_it_is_published_meets_no_link(tmp_path: Path) -> None:
    with StagedOutputs() as outputs:
        first, second = outputs.stage(tmp_path / "a"), outputs.stage(tmp_path / "a")

        assert first.parent != second.parent
        assert first.parent.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_a_link_is_replaced_and_what_it_points_at_stays(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/a.pt").write_text("theirs")
    (tmp_path / "split0").symlink_to(tmp_path / "theirs")

    with StagedOutputs() as outputs:
        outputs.stage(tmp_path / "split0").mkdir()
        outputs.publish()

    assert not (tmp_path / "split0").is_symlink()
    assert (tmp_path / "theirs/a.pt").read_text() == "theirs"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["split0", "theirs"]


def test_a_link_or_a_foreign_file_is_not_taken_for_something_unfinished(
    tmp_path: Path, theirs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".a~host~1.tmp").symlink_to(theirs)
    (tmp_path / ".b~host~1~r0123.tmp").write_text("of another user")
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    remove_unfinished(tmp_path, lambda _name: True)

    assert len(list(tmp_path.iterdir())) == 3


def test_only_files_named_like_ours_are_taken_for_the_locks_of_the_dead(tmp_path: Path) -> None:
    others = [tmp_path / "precious.lock", tmp_path / f"{'0' * 32}.lock"]
    for path in others:
        path.write_text("")

    OwnerLock.acquire(tmp_path).release()

    assert [path.exists() for path in others] == [True, False]


def test_folders_of_a_study_are_not_links(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "ours").symlink_to(tmp_path / "theirs")

    with pytest.raises(EnvironmentFaultError, match="ours: it is a symbolic link"):
        OwnerLock.acquire(tmp_path / "ours")
    kept = keep_artifacts(
        tmp_path / "ours", "1", tmp_path / "no", title="", losses={1: 0.5}, train_losses={}
    )

    assert kept == []
    assert list((tmp_path / "theirs").iterdir()) == []


def test_init_writes_through_no_link(tmp_path: Path) -> None:
    (tmp_path / "project/configs").mkdir(parents=True)
    (tmp_path / "project/configs/preprocess.yaml").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(EnvironmentFaultError, match=r"preprocess\.yaml: File exists"):
        init(tmp_path / "project")

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deeply"),
        ("1" * 5000, "a whole number of 5,000 digits"),
        ("-" + "1" * 20, "a whole number of 20 digits"),
    ],
)
def test_json_that_nobody_writes_is_refused_with_a_sentence(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_json(text)


def test_numbers_of_64_bits_are_read() -> None:
    assert parse_json(f"[{2**63 - 1}, {-(2**63)}]") == [2**63 - 1, -(2**63)]


def test_a_file_larger_than_anybody_needs_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"12345")

    with pytest.raises(OSError, match="larger than"):
        read_plain(tmp_path / "large", max_bytes=4)


def read_data(path: Path) -> None:
    find_files(
        PreprocessConfig(project_root=".", data_path=str(path), split_ratios=[1.0], seq_length=3)
    )


def read_header_of_windows(path: Path) -> None:
    if read_header(path) is None:
        raise OSError("it is a named pipe, and was not read")


READERS: dict[str, Write] = {
    "metadata": read_metadata,
    "table": read_data,
    "split": lambda path: describe_split(path, "csv"),
    "parquet": lambda path: describe_split(path, "parquet"),
    "shard": read_shard,
    "checkpoint": read_checkpoint,
    "run file": study_of_run_file,
    "window file": read_header_of_windows,
}


@pytest.mark.parametrize("reader", READERS)
def test_no_reader_waits_for_a_pipe(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises((OSError, SequifierHpoError, DamagedCheckpointError), match="a named pipe"):
        READERS[reader](tmp_path / "pipe")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"n_classes": {"a": ' + "1" * 5000 + "}}", "a whole number of 5,000 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"n_classes": {"a": "many"}}', r"n_classes\.a: Input should be a valid integer"),
    ],
)
def test_damaged_metadata_are_named_with_what_to_do(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "m.json").write_text(text)

    with pytest.raises(ConfigError, match=problem) as caught:
        read_metadata(tmp_path / "m.json")

    assert str(tmp_path / "m.json") in str(caught.value)
    assert caught.value.issues[0].fix == "run preprocess again"
