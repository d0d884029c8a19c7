"""A disk that fills up in the middle of a search."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from tests.end_to_end.conftest import Project
from tests.process.chaos import StoredTrials, read_until, wait_for, write_pair, write_search

pytestmark = pytest.mark.slow

_DISK_BYTES = 8 * 2**20
_LEFT_BYTES = 150_000  # less than the files of two runs


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small disk cannot be had here: that takes the rights of root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_database_on_a_full_disk_costs_nothing_when_there_is_space_again(
    project: Project, small_disk: Path, undisturbed: dict[str, float]
) -> None:
    file = write_search(project, "full-database")
    url = sqlite_url(small_disk / "study.db")
    arguments = ("--config-path", file, "--storage", url, "--workers", "2")
    process = project.start("hyperparameter-search", *arguments)
    trials = StoredTrials(url)
    wait_for(lambda: trials.num("RUNNING") > 0, process)
    ballast = small_disk / "ballast"

    with suppress(OSError):  # more than fits: others write meanwhile
        ballast.write_bytes(b"\0" * _DISK_BYTES)
    read_until("is full; training continues", process)
    ballast.unlink()
    read_until("the storage is back", process)
    _, stderr = process.communicate(timeout=120)

    assert process.returncode == 0, stderr
    assert trials.losses() == undisturbed
    assert len(trials.states()) == len(undisturbed)


def test_a_full_disk_is_named_and_the_search_goes_on_when_there_is_space(
    project: Project, small_disk: Path
) -> None:
    others = shutil.ignore_patterns("hp_search")  # what earlier searches here have left
    for folder in ("configs", "data"):
        shutil.copytree(project.root / folder, small_disk / folder, ignore=others)
    small = Project(small_disk)
    file = write_pair(small, "full")
    url, expected_url = (
        sqlite_url(project.root / f"studies/{name}/study.db") for name in ("full", "not-full")
    )
    assert project.search("--storage", expected_url, file=write_pair(project, "not-full")).code == 0
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (shutil.disk_usage(small_disk).free - _LEFT_BYTES))

    # The database is elsewhere: were it full too, the search would wait for space.
    refused = small.search("--storage", url, file=file)
    left_over = [path.name for path in small_disk.rglob("*.tmp")]
    ballast.unlink()
    resumed = small.search("--storage", url, "--retry-failed", file=file)

    assert refused.code in {3, 4}
    assert "No space left on device" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert left_over == []
    assert resumed.code == 0, resumed.stderr
    assert StoredTrials(url).losses() == StoredTrials(expected_url).losses()
