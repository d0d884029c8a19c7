"""A small project with a table that a test may change: a shop's sales, 12 sequences of 20."""

import csv
import json
import random
from pathlib import Path
from typing import Any

import yaml

from tests.end_to_end.conftest import Finished, Project

FILE = "configs/search.yaml"
METADATA = "configs/metadata_configs/shop.json"
_PREPROCESS = "configs/preprocess.yaml"
_SEARCH: dict[str, Any] = {
    "project_root": ".",
    "metadata_config_path": METADATA,
    "hp_search_name": "shop",
    "model_config_write_path": "configs/hp_search",
    "search_strategy": "sample",
    "n_samples": 2,
    "input_columns": [["product"], ["product", "amount"]],
    "target_columns": ["product"],
    "target_column_types": {"product": "categorical"},
    "seq_length": [5],
    "model_hyperparameter_sampling": {
        "dim_model": [8],
        "n_head": [2],
        "initial_embedding_dim": [8],
        "dim_feedforward": [8],
        "num_layers": [1],
        "activation_fn": ["swiglu"],
        "normalization": ["rmsnorm"],
        "positional_encoding": ["rope"],
        "attention_type": ["mha"],
        "n_kv_heads": [None],
    },
    "training_hyperparameter_sampling": {
        "device": "cpu",
        "learning_rate": [0.01],
        "epochs": [1],
        "batch_size": [16, 32],
        "dropout": [0.0],
        "accumulation_steps": [1],
        "continue_training": True,
    },
}


def write_search(project: Project, **changes: Any) -> None:
    """Write the search file; changes of a section are merged into it."""
    data = {**_SEARCH, **changes}
    for section in ("model_hyperparameter_sampling", "training_hyperparameter_sampling"):
        data[section] = {**_SEARCH[section], **changes.get(section, {})}
    text = yaml.safe_dump(data, sort_keys=False)
    (project.root / FILE).write_text(text)


def preprocess(project: Project, *, seed: int, has_more: bool = False, **changes: Any) -> None:
    """Write the table, or another one with another seed, and preprocess it.

    Args:
        project: Where.
        seed: Of the table's values.
        has_more: Whether the table has one more column.
        changes: Of the preprocessing file.
    """
    numbers = random.Random(seed)
    rows: list[list[Any]] = [
        [sequence, item, numbers.choice(["tea", "cake", "milk"]), round(numbers.gauss(5, 2), 3)]
        for sequence in range(12)
        for item in range(20)
    ]
    preprocess_table(
        project,
        ["product", "amount", *(["weekday"] if has_more else [])],
        [[*row, row[1] % 7] if has_more else row for row in rows],
        **changes,
    )


def preprocess_table(
    project: Project, columns: list[str], rows: list[list[Any]], **changes: Any
) -> None:
    """Write a table, whose rows begin with the ids of a sequence and an item, and preprocess it."""
    config = {
        "project_root": ".",
        "data_path": "data/shop.csv",
        "read_format": "csv",
        "write_format": "parquet",
        "split_ratios": [0.6, 0.2, 0.2],
        "seq_length": 6,
        "stride_by_split": [1, 1, 1],
        **changes,
    }
    for folder in ("configs", "data"):
        (project.root / folder).mkdir(exist_ok=True)
    with (project.root / str(config["data_path"])).open("w", newline="") as file:
        csv.writer(file).writerows([["sequenceId", "itemPosition", *columns], *rows])
    (project.root / _PREPROCESS).write_text(yaml.safe_dump(config))
    done = project.run("preprocess", "--config-path", _PREPROCESS)
    assert done.code == 0, done.stderr


def search(project: Project, *arguments: str) -> Finished:
    """Run the search, or go on with it."""
    return project.search(*arguments, file=FILE)


def shown(project: Project, command: str, *arguments: str) -> dict[str, Any]:
    """What a command says of the study to a program."""
    done = project.run(command, "--config-path", FILE, "--json", *arguments)
    assert done.code == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def results(project: Project, name: str = "shop") -> list[dict[str, str]]:
    """The leaderboard file."""
    with (project.root / f"studies/{name}/results.csv").open() as file:
        return list(csv.DictReader(file))


def losses(project: Project) -> dict[tuple[str, str], str]:
    """(input columns, batch size) -> validation loss of the runs that are ranked."""
    return {
        (row["data_schema"], row["batch_size"]): row["validation_loss"]
        for row in results(project)
        if row["rank"]
    }


def contents(project: Project) -> dict[Path, bytes]:
    """Every file of a project but locks, and what is remembered of files that were read."""
    return {
        path.relative_to(project.root): path.read_bytes()
        for path in project.root.rglob("*")
        if path.is_file()
        and path.parent.name != "coordinators"
        and not path.name.endswith((".lock", ".digest.json"))
    }
