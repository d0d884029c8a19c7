"""Where paths lead: `~`, and projects that moved."""

import json
from pathlib import Path

import pytest

from sequifier_hpo.config.locate import find_study
from sequifier_hpo.config.paths import expanded, project_path, split_path
from sequifier_hpo.config.preprocess import load_preprocess_config
from sequifier_hpo.config.search import load_search
from sequifier_hpo.errors import ConfigError
from sequifier_hpo.preprocessing.inputs import check_splits
from tests.conftest import METADATA, WriteSearch


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("data/x.csv", "~/proj", "{home}/proj/data/x.csv"),
        ("~/proj/data/x.csv", "~/proj", "{home}/proj/data/x.csv"),
        ("~/elsewhere/x.csv", ".", "{home}/elsewhere/x.csv"),
        ("~", ".", "{home}"),
        ("./~/x.csv", ".", "./~/x.csv"),
        ("a~b/~", ".", "./a~b/~"),
    ],
)
def test_a_tilde_is_the_home_folder(home: Path, path: str, root: str, expected: str) -> None:
    assert project_path(path, root) == expected.format(home=home)


def test_a_folder_called_tilde_can_still_be_named() -> None:
    assert expanded("./~/proj") == "./~/proj"


def test_every_path_of_a_search_file_may_begin_with_the_home_folder(
    home: Path, project: Path, write_search: WriteSearch
) -> None:
    file = write_search({"project_root": "~", "model_config_write_path": "~/runs"})

    config, source = load_search(file).config, find_study(file, None, None)

    assert config.project_root == str(home)
    assert config.study_folder == source.study_folder == home / "studies/shop"
    assert config.run_folder == source.run_folder == home / "runs"
    assert config.training_data_path == f"{home}/data/shop-split0.parquet"
    assert source.storage_url == f"sqlite:///{home}/studies/shop/study.db"


def test_so_may_the_paths_of_a_preprocessing_file(home: Path, project: Path) -> None:
    (home / "table.csv").touch()
    file = Path("configs/preprocess.yaml")
    text = "project_root: ~/proj\ndata_path: ~/table.csv\nsplit_ratios: [0.5, 0.5]\nseq_length: 3\n"
    file.write_text(text)

    config = load_preprocess_config(file)

    assert (config.project_root, config.data_path) == (f"{home}/proj", f"{home}/table.csv")


@pytest.mark.parametrize(
    ("path", "root", "expected"),
    [
        ("./data/x-split0.parquet", ".", "./data/x-split0.parquet"),
        ("/old/data/x-split0.parquet", "/new", "/new/data/x-split0.parquet"),
        ("/old/data/x-split0", ".", "./data/x-split0"),
        ("./data/x-split0.csv", "/new", "/new/data/x-split0.csv"),
        ("proj/data/x-split0.csv", ".", "./data/x-split0.csv"),
        ("/scratch/windows/mine.parquet", "/new", "/scratch/windows/mine.parquet"),
    ],
)
def test_the_splits_of_metadata_lie_in_the_project_wherever_it_was(
    path: str, root: str, expected: str
) -> None:
    assert split_path(path, root) == expected


def test_a_project_that_moved_never_reads_the_data_of_its_old_place(
    project: Path, write_search: WriteSearch
) -> None:
    old = project / "old/data"
    old.mkdir(parents=True)
    splits = [old / f"shop-split{i}.parquet" for i in range(2)]
    for split in splits:
        split.touch()
    metadata = {**METADATA, "split_paths": list(map(str, splits))}
    (project / "configs/metadata_configs/shop.json").write_text(json.dumps(metadata))
    loaded = load_search(write_search({"project_root": str(project)}))

    with pytest.raises(ConfigError) as caught:
        check_splits(loaded, print)

    assert loaded.config.training_data_path == f"{project}/data/shop-split0.parquet"
    place = f"{project}/configs/metadata_configs/shop.json"
    assert [(issue.file, issue.path) for issue in caught.value.issues] == [
        (place, "split_paths"),
        (place, "split_paths"),
    ]
    assert str(project / "data/shop-split0.parquet") in str(caught.value)


def test_a_path_that_stands_in_the_file_is_reported_there(
    project: Path, write_search: WriteSearch
) -> None:
    file = write_search({"training_data_path": "data/mine.parquet"})

    with pytest.raises(ConfigError) as caught:
        check_splits(load_search(file), print)

    assert (caught.value.issues[0].file, caught.value.issues[0].path) == (
        str(file),
        "training_data_path",
    )
