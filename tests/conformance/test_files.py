"""Files written here, read by Sequifier 1.0.0.6 itself."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.train import train_yaml
from sequifier_hpo.searchspace import EffectiveSpace, compile_space, decode
from tests.conformance.reference import REFERENCE, ask_reference, needs_reference

pytestmark = [pytest.mark.slow, needs_reference]

LOAD_ALL = """
import json, sys
from sequifier.config.train_config import load_train_config
refused = {}
for path in sys.argv[1:]:
    try:
        load_train_config(path, {}, False)
    except Exception as error:
        refused[path] = repr(error)
print(json.dumps(refused))
"""

NASTY: dict[str, Any] = {
    "hp_search_name": "nasty",
    "search_strategy": "grid",
    "input_columns": [
        ["weather", "month"],
        ["wind", "weather", "temp_max"],
        ["weather", "month", "precipitation", "temp_max", "temp_min", "wind"],
    ],
    "seq_length": [7, 28],
    "model_hyperparameter_sampling": {
        "dim_model": [12, 24, 16],
        "n_head": [6, 4, 2],
        "initial_embedding_dim": [12, 10, 16],
        "joint_embedding_dim": [None, 24, None],
        "dim_feedforward": [16],
        "num_layers": [1],
        "activation_fn": ["swiglu", "relu"],
        "normalization": ["rmsnorm", "layer_norm"],
        "positional_encoding": ["learned", "rope"],
        "attention_type": ["mha", "mqa", "gqa"],
        "norm_first": [True, False],
        "n_kv_heads": [None, 1, 2, 3],
        "rope_theta": [10000.0, 500.0],
    },
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("conformance")
    for arguments in (["init", "."], ["preprocess"]):
        code = (
            f"import sys; sys.argv[1:] = {arguments}; from sequifier_hpo.cli.main import run; run()"
        )
        subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True)
    return root


def write_run_files(project: Path, search_file: Path) -> list[str]:
    """One run file per distinct run of a search."""
    space = compile_space(load_search(search_file).config)
    effective = EffectiveSpace(space, 101)
    paths = []
    for rank in range(effective.num_distinct):
        config, _ = decode(
            space, space.point_at(effective.representative(rank)), rank, device="cpu"
        )
        path = project / "configs" / f"{config.model_name}.yaml"
        path.write_text(train_yaml(config))
        paths.append(str(path.relative_to(project)))
    return paths


def refused_by_the_reference(project: Path, paths: list[str]) -> dict[str, str]:
    refused: dict[str, str] = ask_reference(LOAD_ALL, *paths, folder=project)
    return refused


def test_every_run_file_of_the_demo_grid_loads(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    paths = write_run_files(project, Path("configs/hyperparameter_search_grid.yaml"))

    assert len(paths) == 16
    assert refused_by_the_reference(project, paths) == {}


def test_every_run_file_of_a_nasty_search_loads(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    data = yaml.safe_load(Path("configs/hyperparameter_search_grid.yaml").read_text())
    Path("configs/nasty.yaml").write_text(yaml.safe_dump({**data, **NASTY}, sort_keys=False))

    paths = write_run_files(project, Path("configs/nasty.yaml"))

    assert len(paths) > 1000
    assert refused_by_the_reference(project, paths) == {}


def test_a_run_file_is_trained_by_the_reference(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    path = project / write_run_files(project, Path("configs/hyperparameter_search_grid.yaml"))[0]
    data = yaml.safe_load(path.read_text())
    data |= {"export_onnx": False, "export_pt": True}  # its ONNX exporter needs an older torch
    path.write_text(yaml.safe_dump(data, sort_keys=False))

    trained = subprocess.run(
        [f"{REFERENCE}/bin/sequifier", "train", "--config-path", str(path)],
        cwd=project,
        check=False,
        capture_output=True,
        text=True,
    )

    assert trained.returncode == 0, trained.stderr
    assert list(project.glob(f"models/sequifier-{data['model_name']}-best-*.pt"))
