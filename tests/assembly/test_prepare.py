"""What is refused before anything is spent on a search, or on a run alone."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.assembly.prepare import PreparedSearch, prepare_search
from sequifier_hpo.config.preprocess import PreprocessConfig
from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.train import train_yaml
from sequifier_hpo.coordinator import devices
from sequifier_hpo.errors import ConfigError, ConfigIssue, InputError
from sequifier_hpo.preprocessing.inputs import data_of_run
from sequifier_hpo.preprocessing.run import preprocess
from sequifier_hpo.searchspace import compile_space, decode
from tests.cli.conftest import Run, run
from tests.conftest import WriteSearch

__all__ = ["run"]

DEVICE = "training_hyperparameter_sampling.device"
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


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which CUDA finds nothing."""
    monkeypatch.setattr(devices, "num_cuda_devices", lambda: 0)


def prepare(file: Path) -> PreparedSearch:
    return prepare_search(
        file,
        overrides={},
        skip_metadata=False,
        storage=None,
        workers=None,
        on_progress=lambda _text: None,
    )


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


@pytest.mark.usefixtures("without_gpu")
def test_a_search_on_a_device_that_is_not_here_ends_before_its_first_run(
    write_data: WriteData, write_search: WriteSearch, run: Run, project: Path
) -> None:
    write_data(0.6, 0.4)
    file = write_search({DEVICE: "cuda"})

    searched = run("hyperparameter-search", "--config-path", str(file))

    line = 1 + file.read_text().splitlines().index("  device: cuda")
    assert searched.code == 2
    assert f"{file}:{line}  {DEVICE}\n    cuda: " in searched.stderr
    assert "left to train" not in searched.stderr
    assert not (project / "models").exists()
    assert not (project / "studies").exists()


@pytest.mark.usefixtures("without_gpu")
def test_a_plan_for_a_device_that_is_not_here_warns(
    write_data: WriteData, write_search: WriteSearch, run: Run
) -> None:
    write_data(0.6, 0.4)
    file = write_search({DEVICE: "cuda"})

    planned = run("plan", "--config-path", str(file))

    assert planned.code == 0
    assert f"warning: {file}:" in planned.stdout
    assert DEVICE in planned.stdout


@pytest.mark.usefixtures("without_gpu")
def test_a_run_alone_on_a_device_that_is_not_here_names_the_line_of_its_file(
    write_search: WriteSearch, run: Run, project: Path
) -> None:
    space = compile_space(load_search(write_search()).config)
    config, _ = decode(space, space.point_at((0,) * len(space.parameters)), 0, device="cuda")
    (project / "train.yaml").write_text(train_yaml(config))

    trained = run("train", "--config-path", "train.yaml")

    assert trained.code == 2
    assert "training_spec.device\n    cuda: " in trained.stderr
    assert "train.yaml:" in trained.stderr


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.slow  # imports torch in a process of its own
def test_doctor_finds_a_device_that_is_not_here(write_search: WriteSearch, run: Run) -> None:
    file = write_search({DEVICE: "cuda"})

    examined = run("doctor", "--config-path", str(file))

    assert examined.code == 3
    assert re.search(rf"PROBLEM  torch: .*trains on cuda, but {file}:\d+: cuda: ", examined.stdout)
