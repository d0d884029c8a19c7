"""The files of a project belong to one study; a study's runs may lie in several projects."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Project
from tests.end_to_end.shop import (
    FILE,
    contents,
    preprocess,
    results,
    search,
    shown,
    write_search,
)
from tests.postgres_server import PostgresServer, temporary_server

pytestmark = pytest.mark.slow

STORAGE = ("--storage", "sqlite:///../shared.db")
Make = Callable[[str], Project]


def project_with_data(folder: Path, seed: int) -> Project:
    folder.mkdir()
    project = Project(folder)
    preprocess(project, seed=seed)
    write_search(project)
    return project


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three projects beside each other, one of them searched into a storage beside them.

    `first` and `equal` have the same data, `other` has its own. Not to be changed.
    """
    folder = tmp_path_factory.mktemp("shared")
    first = project_with_data(folder / "first", seed=1)
    shutil.copytree(first.root, folder / "equal")
    project_with_data(folder / "other", seed=2)
    done = search(first, *STORAGE)
    assert done.code == 0, done.stderr
    return folder


@pytest.fixture
def make(shared: Path, tmp_path: Path) -> Make:
    """Copy all of them, and give one of them."""

    def copied(name: str) -> Project:
        if not (tmp_path / "projects").exists():
            shutil.copytree(shared, tmp_path / "projects")
        return Project(tmp_path / "projects" / name)

    return copied


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of our own."""
    with temporary_server() as server:
        yield server


def test_a_project_with_other_data_does_not_take_the_runs_of_another_for_its_own(
    make: Make,
) -> None:
    other = make("other")
    before = contents(other)

    refused = search(other, *STORAGE)

    assert refused.code == 2
    assert "the data of the study `shop` have changed" in refused.stderr
    assert "for runs 0-1" in refused.stderr
    assert "another hp_search_name" in refused.stderr
    assert contents(other) == before
    assert not (other.root / "studies").exists()


def test_on_postgres_a_project_with_other_data_is_refused_too(
    make: Make, postgres: PostgresServer
) -> None:
    url = postgres.new_database("shops")
    first, other = make("equal"), make("other")
    assert search(first, "--storage", url).code == 0
    before = contents(other)

    refused = search(other, "--storage", url)

    assert refused.code == 2
    assert "in the training split, `product` and `amount` changed" in refused.stderr
    assert contents(other) == before


def test_a_project_with_equal_data_joins_and_says_where_the_files_of_the_others_are(
    make: Make, shared: Path
) -> None:
    equal = make("equal")
    elsewhere = f"on {socket.gethostname()} below {shared / 'first'}"

    joined = search(equal, *STORAGE)
    best = equal.run("best", "--config-path", FILE, *STORAGE)
    written = equal.run("best", "--config-path", FILE, *STORAGE, "--write", "best.yaml")

    assert "the study is complete: 2 of 2 runs complete" in joined.stderr
    name = shown(equal, "best", *STORAGE)["model_name"]
    for text in (joined.stdout, best.stdout, (equal.root / "studies/shop/report.html").read_text()):
        assert f"configs/hp_search/{name}.yaml, {elsewhere}" in text
        assert "sequifier-hpo train --config-path configs/hp_search" not in text
    assert shown(equal, "best", *STORAGE)["train_config"] is None
    assert written.code == 2
    assert f"was trained {elsewhere}" in written.stderr
    assert not (equal.root / "best.yaml").exists()


def test_the_file_of_another_study_is_not_shown_for_that_of_a_run(make: Make) -> None:
    equal = make("equal")
    own = shown(make("first"), "best", *STORAGE)["train_config"]
    text = (make("first").root / own).read_text()
    (equal.root / own).parent.mkdir()
    (equal.root / own).write_text(re.sub("# study: .*", "# study: another", text))

    best = shown(equal, "best", *STORAGE)

    assert best["train_config"] is None


def test_a_project_that_was_moved_still_has_its_files(make: Make) -> None:
    first = make("first")

    best = shown(first, "best", *STORAGE)

    assert best["folder"] != str(first.root)
    assert best["train_config"] == f"configs/hp_search/{best['model_name']}.yaml"


def test_a_second_storage_takes_nothing_from_the_study_of_the_first(make: Make) -> None:
    first = make("first")
    write_search(first, training_hyperparameter_sampling={"learning_rate": [0.5]})
    before = contents(first)

    refused = search(first, "--storage", "sqlite:///../another.db")

    assert refused.code == 2
    assert list(first.root.parent.glob("another.db*")) == []
    assert "belong to another study of that name, in sqlite:///../shared.db" in refused.stderr
    assert "--storage sqlite:///../shared.db" in refused.stderr
    assert contents(first) == before
    best = shown(first, "best", *STORAGE)
    assert "learning_rate: 0.01" in (first.root / best["train_config"]).read_text()


def test_a_study_begun_again_after_its_database_was_deleted_overwrites_nothing(make: Make) -> None:
    first = make("first")
    (first.root.parent / "shared.db").unlink()
    within_an_epoch = first.root / "checkpoints/.shop-run-1-interrupted.pt"
    within_an_epoch.write_bytes(b"half")
    namesake = first.root / "models/sequifier-shop-running-run-0-last-1.onnx"
    namesake.write_bytes(b"of another search")
    write_search(first, training_hyperparameter_sampling={"learning_rate": [0.5]})
    before = contents(first)

    refused = search(first, *STORAGE)
    untouched = contents(first)
    advice = refused.stderr.strip().splitlines()[-1].strip()
    assert advice.startswith("rm -r configs/hp_search/shop-run-[0-9]* ")
    subprocess.run(advice, shell=True, cwd=first.root, check=True)  # noqa: S602 - as a user does
    left = contents(first)
    done = search(first, *STORAGE)

    assert refused.code == 2
    assert "an earlier study of that name" in refused.stderr
    assert untouched == before
    assert [path for path in left if "shop-run-" in path.name] == []
    assert namesake.exists()
    assert done.code == 0, done.stderr
    assert {row["model_name"] for row in results(first)} == {"shop-run-0", "shop-run-1"}
    marker = json.loads((first.root / "studies/shop/study.json").read_text())
    assert (
        f"# study: {marker['study_id']}"
        in (first.root / "configs/hp_search/shop-run-1.yaml").read_text()
    )
