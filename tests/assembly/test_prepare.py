"""What is refused before anything is spent on a search, or on a run alone."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.assembly.prepare import PreparedSearch, prepare_search
from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.config.search import load_search
from sequifier_hpo.errors import ConfigError, ConfigIssue, InputError
from sequifier_hpo.preprocessing.inputs import data_of_run
from sequifier_hpo.preprocessing.run import preprocess
from sequifier_hpo.searchspace import compile_space, decode
from tests.conftest import WriteSearch

WriteData = Callable[..., None]
COPY = "data/mine.parquet"


@pytest.fixture
def write_data(project: Path) -> WriteData:
    """Preprocess a small shop into splits of these ratios."""

    def write(*ratios: float, write_format: str = "parquet") -> None:
        rows = [
            f"{sequence},{item},{100 + item % 9},{item}.5,{item % 7}"
            for sequence in range(3)
            for item in range(30)
        ]
        table = project / "shop.csv"
        table.write_text("\n".join(["sequenceId,itemPosition,product,price,weekday", *rows]) + "\n")
        config: dict[str, Any] = {"split_ratios": list(ratios), "write_format": write_format}
        preprocess(
            PreprocessConfig(project_root=".", data_path=str(table), seq_length=6, **config),
            on_progress=lambda _: None,
        )

    return write


def prepare(file: Path) -> PreparedSearch:
    return prepare_search(file, overrides={}, skip_metadata=False, storage=None, workers=None)


def issue_of(file: Path) -> ConfigIssue:
    with pytest.raises(ConfigError) as caught:
        prepare(file)
    (issue,) = caught.value.issues
    return issue


def test_a_search_is_not_validated_on_the_only_split(
    write_data: WriteData, write_search: WriteSearch
) -> None:
    write_data(1.0)
    file = write_search()

    issue = issue_of(file)

    assert (issue.path, issue.file) == ("metadata_config_path", str(file))
    assert "./data/shop-split0.parquet is also the training split" in issue.problem
    assert "split_ratios" in issue.fix


@pytest.mark.parametrize("write_format", ["parquet", "csv"])
def test_a_search_is_not_validated_on_a_copy_of_the_training_split(
    write_data: WriteData, write_search: WriteSearch, project: Path, write_format: str
) -> None:
    write_data(0.6, 0.4, write_format=write_format)
    shutil.copy(project / f"data/shop-split0.{write_format}", project / COPY)

    issue = issue_of(write_search({"read_format": write_format, "validation_data_path": COPY}))

    assert issue.path == "validation_data_path"
    assert "holds the same windows as ./data/shop-split0" in issue.problem


def test_splits_of_the_same_shape_are_told_apart_by_their_values(
    write_data: WriteData, write_search: WriteSearch
) -> None:
    write_data(0.5, 0.5)

    assert prepare(write_search()).num_runs > 0


def test_a_run_alone_is_not_validated_on_the_training_split(
    write_data: WriteData, write_search: WriteSearch
) -> None:
    write_data(1.0)
    space = compile_space(load_search(write_search()).config)
    config, _ = decode(space, space.point_at((0,) * len(space.parameters)), 0, device="cpu")

    with pytest.raises(InputError, match=r"`validation_data_path`: .* is also the training split"):
        data_of_run(config, lambda _: None)
