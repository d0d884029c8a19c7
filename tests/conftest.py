"""Fixtures that all tests share: a small project, and search files in it."""

import copy
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import yaml
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.fork_server import ForkServer, forked_processes

# Before torch is imported: tests run in parallel, and threads that wait for each other's processors
# make small models many times slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What whoever runs the tests wants to be told of their own searches.
os.environ.pop("SEQUIFIER_HPO_NOTIFY", None)
os.environ["XDG_CONFIG_HOME"] = "/nowhere"

_LONGEST = (
    "process/test_deaths.py",
    "test_benchmarks.py",
    "training/test_compiled.py",
    "process/test_chaos.py",
    "cli/test_tutorial.py",
    "process/test_storage_faults.py",
    "end_to_end/test_search.py",
    "contract/test_warm_start.py",
    "process/test_revisions.py",
    "end_to_end/test_foreign_files.py",
    "cli/test_own_table.py",
)
"""Half of all processor time, the longest first."""

METADATA: dict[str, Any] = {
    "n_classes": {"product": 10, "weekday": 8},
    "id_maps": {
        "product": {str(100 + i): i + 1 for i in range(9)},
        "weekday": {str(i): i + 1 for i in range(7)},
    },
    "split_paths": [f"./data/shop-split{i}.parquet" for i in range(3)],
    "column_types": {"product": "Int64", "price": "Float64", "weekday": "Int64"},
    "selected_columns_statistics": {"price": {"std": 1.446, "mean": 12.52}},
}

SEARCH: dict[str, Any] = {
    "project_root": ".",
    "metadata_config_path": "configs/metadata_configs/shop.json",
    "hp_search_name": "shop",
    "model_config_write_path": "configs/hp_search",
    "search_strategy": "grid",
    "input_columns": [["product"], ["product", "price"]],
    "target_columns": ["product"],
    "target_column_types": {"product": "categorical"},
    "seq_length": [6],
    "model_hyperparameter_sampling": {
        "dim_model": [64, 128],
        "n_head": [4, 8],
        "initial_embedding_dim": [64, 128],
        "dim_feedforward": [32],
        "num_layers": [1, 2],
        "activation_fn": ["swiglu"],
        "normalization": ["rmsnorm"],
        "positional_encoding": ["learned"],
        "attention_type": ["mha"],
        "n_kv_heads": [None],
    },
    "training_hyperparameter_sampling": {
        "learning_rate": [0.001],
        "epochs": [1],
        "batch_size": [8],
        "accumulation_steps": [1],
    },
}

WriteSearch = Callable[..., Path]


def pytest_configure() -> None:
    """Signals reach the programs under test, also under nohup and `&`, and no example is timed."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # A deadline per example would make a test of how busy the machine is.
    hypothesis.settings.register_profile("any machine", deadline=None)
    hypothesis.settings.load_profile("any machine")


def pytest_xdist_auto_num_workers() -> int:
    """One more than processors: about a third of the time is spent waiting for other processes."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else 2


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In parallel, begin with the longest files: else one processor ends alone."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        place = {Path(__file__).parent / file: place for place, file in enumerate(_LONGEST)}
        last = len(place)
        items.sort(key=lambda item: (place.get(item.path, last), item.path not in slow))


@pytest.fixture(scope="session", autouse=True)
def _migrations() -> Iterator[None]:
    """Optuna's migrations are read once, not whenever a storage is opened: that takes 0.05 s."""
    read = ScriptDirectory.from_config
    scripts: dict[str | None, ScriptDirectory] = {}

    def from_config(config: Config) -> ScriptDirectory:
        location = config.get_main_option("script_location")
        if location not in scripts:
            scripts[location] = read(config)
        return scripts[location]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> Iterator[ForkServer]:
    """The package's own processes are forked from one that has imported torch."""
    with forked_processes() as server:
        yield server


@pytest.fixture
def real_starts(_fork_server: ForkServer) -> Iterator[None]:
    """The package's own processes start as they do for a user."""
    _fork_server.is_off = True
    yield
    _fork_server.is_off = False


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project root with metadata, as the working directory."""
    folder = tmp_path / "configs" / "metadata_configs"
    folder.mkdir(parents=True)
    (folder / "shop.json").write_text(json.dumps(METADATA))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def search_data() -> dict[str, Any]:
    """The content of a valid search file: a grid of 2 input sets, 2 backbones and 2 depths."""
    return copy.deepcopy(SEARCH)


@pytest.fixture
def write_search(project: Path, search_data: dict[str, Any]) -> WriteSearch:
    """Write the valid search file with changes given as dotted paths; None removes a key."""

    def write(changes: dict[str, Any] | None = None, *, remove: tuple[str, ...] = ()) -> Path:
        for path, value in (changes or {}).items():
            *parents, key = path.split(".")
            holder = search_data
            for parent in parents:
                holder = holder[parent]
            holder[key] = value
        for path in remove:
            *parents, key = path.split(".")
            holder = search_data
            for parent in parents:
                holder = holder[parent]
            del holder[key]
        file = project / "configs" / "search.yaml"
        file.write_text(yaml.safe_dump(search_data, sort_keys=False))
        return file.relative_to(project)

    return write
