"""The same data and the same grid, written down for each of the programs that `run.py` times.

The grid is {state | state, flag} x window {16, 32} x batch {32, 64}: 8 trials of 3 epochs.
"""

import csv
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

NAME = "throughput"
SEQUIFIER_1, SEQUIFIER_3 = "1.0.0.6", "3.1.1.0"
NUM_EVENTS = 200
COLUMNS = [["state"], ["state", "flag"]]
LONGEST_WINDOW, LEARNING_RATE = 32, 0.001
OPTIMIZER = {"name": "AdamW", "weight_decay": 0.01}
SCHEDULER = {"name": "StepLR", "step_size": 1, "gamma": 0.9}

Config = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is trained."""

    num_sequences: int = 100
    num_column_sets: int = 2
    windows: tuple[int, ...] = (16, LONGEST_WINDOW)
    batch_sizes: tuple[int, ...] = (32, 64)
    num_epochs: int = 3

    @property
    def num_settings(self) -> int:
        """Settings of the grid, each with all its learning rates."""
        return self.num_column_sets * len(self.windows) * len(self.batch_sizes)

    @property
    def num_validation_rows(self) -> int:
        """Three of each sequence's last 40 events: windows of 33, a stride of 4."""
        return 3 * self.num_sequences


FULL = Size()
SMALLEST = Size(num_sequences=12, num_column_sets=1, windows=(16,), batch_sizes=(32,), num_epochs=1)


def make_table(path: Path, num_sequences: int) -> None:
    """Events with something to learn: a cycle of states that `flag` speeds up, and some noise."""
    rng = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sequenceId", "itemPosition", "state", "flag", "level"])
        for sequence in range(num_sequences):
            state = rng.randrange(12)
            for position in range(NUM_EVENTS):
                flag = rng.randrange(3)
                writer.writerow(
                    [sequence, position, f"s{state:02}", f"f{flag}", f"{rng.gauss(state, 1):.4f}"]
                )
                step = 1 + flag if rng.random() < 0.85 else rng.randrange(12)
                state = (state + step) % 12


def prepare(project: Path, program: Path, config: Config, size: Size) -> None:
    """Preprocess the table in a fresh project, once for all searches in copies of it."""
    shutil.rmtree(project, ignore_errors=True)
    for folder in ("configs", "data"):
        (project / folder).mkdir(parents=True)
    make_table(project / "data" / "events.csv", size.num_sequences)
    write(project / "configs" / "preprocess.yaml", config)
    subprocess.run(
        [program, "preprocess", "--config-path", "configs/preprocess.yaml"], cwd=project, check=True
    )


def write(path: Path, config: Config) -> None:
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


PREPROCESS_1: Config = {
    "project_root": ".",
    "data_path": "data/events.csv",
    "read_format": "csv",
    "write_format": "parquet",
    "split_ratios": [0.8, 0.2],
    "seq_length": 32,
    "stride_by_split": [4, 4],
}
# The same rows: 3.1.1.0 counts the target's event as a part of the window.
PREPROCESS_3: Config = {
    "project_root": ".",
    "preprocessing_data_path": "data/events.csv",
    "read_format": "csv",
    "write_format": "parquet",
    "split_ratios": [0.8, 0.2],
    "window_length": 33,
    "max_target_offset": 1,
    "window_stride": 4,
}


def search_1(size: Size, *, export: str, learning_rates: int = 1) -> dict[str, Config]:
    """Search file of Sequifier 1 and of this program, with this many learning rates."""
    rates = [round(LEARNING_RATE * 1.2**i, 6) for i in range(learning_rates)]
    column_sets = COLUMNS[: size.num_column_sets]
    types = {"state": "Int64", "flag": "Int64", "level": "Float64"}
    search = {
        "project_root": ".",
        "metadata_config_path": "configs/metadata_configs/events.json",
        "hp_search_name": NAME,
        "model_config_write_path": "configs/hp_search",
        "search_strategy": "grid",
        "n_samples": None,
        "override_input": True,
        "training_data_path": "data/events-split0.parquet",
        "validation_data_path": "data/events-split1.parquet",
        "read_format": "parquet",
        "input_columns": column_sets,
        "column_types": [types] * len(column_sets),
        "target_columns": ["state"],
        "target_column_types": {"state": "categorical"},
        "seq_length": list(size.windows),
        "inference_batch_size": 10,
        "export_generative_model": True,
        "export_embedding_model": False,
        "export_onnx": export == "onnx",
        "export_pt": export == "pt",
        "model_hyperparameter_sampling": {
            "dim_model": [32],
            "n_head": [4],
            "initial_embedding_dim": [32],
            "joint_embedding_dim": [None],
            "feature_embedding_dims": None,
            "dim_feedforward": [64],
            "num_layers": [2],
            "activation_fn": ["swiglu"],
            "normalization": ["rmsnorm"],
            "positional_encoding": ["rope"],
            "attention_type": ["mha"],
            "norm_first": [True],
            "n_kv_heads": [None],
            "rope_theta": [10000.0],
            "prediction_length": 1,
        },
        "training_hyperparameter_sampling": {
            "device": "cpu",
            "learning_rate": rates,
            "epochs": [size.num_epochs] * learning_rates,
            "scheduler": [SCHEDULER] * learning_rates,
            "batch_size": list(size.batch_sizes),
            "accumulation_steps": [1],
            "dropout": [0.0],
            "optimizer": [OPTIMIZER],
            "criterion": {"state": "CrossEntropyLoss"},
            "save_interval_epochs": 1,
            "continue_training": False,
            "log_interval": 100,
        },
    }
    return {"search.yaml": search}


def search_3(size: Size, *, export: str, torch_compile: str | None) -> dict[str, Config]:
    """Search file and base train file of Sequifier 3.

    What is left out has its default: `torch_compile` too if None. Three fields differ from their
    defaults so that the work is the same: every trial runs to its end (`prune_trials`), gradients
    are clipped where the others always clip (`gradient_clip`), and loss is logged as often.
    """
    train: Config = {
        "project_root": ".",
        "model_name": NAME,
        "device": "cpu",
        "global_training": {
            "training_objective": "causal",
            "context_length": LONGEST_WINDOW,
            "inference_batch_size": 10,
            "batch_size": size.batch_sizes[0],
            "learning_rate": LEARNING_RATE,
            "optimizer": OPTIMIZER,
            "scheduler": SCHEDULER,
            "gradient_clip": 0.5,
            "log_interval": 100,
        },
        "model": {
            "backbone": {
                "architecture": {
                    "dim_model": 32,
                    "max_context_length": LONGEST_WINDOW,
                    "num_layers": 2,
                    "attention": {"type": "mha", "n_heads": 4},
                    "feed_forward": {"dim": 64, "activation": "swiglu"},
                    "normalization": {"type": "rmsnorm", "norm_first": True},
                    "position_encoding": {"type": "rope", "theta": 10000.0},
                    "dropout": 0.0,
                }
            },
            "interface": {
                "input_columns": COLUMNS[0],
                "target_columns": ["state"],
                "ingestion": {"type": "embedding", "output_dim": 32},
                "decoder": {"type": "linear", "prediction_length": 1},
            },
        },
        "dataset": {
            "part": {"metadata_config_path": "configs/metadata_configs/events.json"},
            "criterion": {"state": "CrossEntropyLoss"},
        },
        "training_plan": {"epochs": size.num_epochs},
        "evaluation": True,
        "export_generative_model": True,
        "export_embedding_model": False,
        "export_onnx": export == "onnx",
        "export_pt": export == "pt",
    }
    if torch_compile is not None:
        train["global_training"]["torch_compile"] = torch_compile
    search = {
        "base_config_path": "train.yaml",
        "name": NAME,
        "model_config_write_path": "configs/hp_search",
        "method": "grid",
        "prune_trials": False,
        "parameters": {
            "global_training": {
                "context_length": list(size.windows),
                "batch_size": list(size.batch_sizes),
            },
            "model": {"interface": {"input_columns": {"choices": COLUMNS[: size.num_column_sets]}}},
        },
    }
    return {"train.yaml": train, "search.yaml": search}


def best_losses(project: Path, program: str, size: Size) -> dict[str, float]:
    """Setting -> smallest mean validation loss that a run's log reports, NaN where it has none."""
    losses = {}
    for path in sorted((project / "configs" / "hp_search").glob(f"{NAME}-run-*.yaml")):
        run = yaml.safe_load(path.read_text(encoding="utf-8"))
        if program == SEQUIFIER_3:
            columns = run["model"]["interfaces"]["default"]["input_columns"]
            training = run["global_training"]
            window, found = training["context_length"], losses_3(project, path.stem)
        else:
            columns, training = run["input_columns"], run["training_spec"]
            window, found = run["seq_length"], losses_1(project, path.stem)
        batch_size = training["batch_size"]
        loss = min(found, default=float("nan"))
        if program == SEQUIFIER_1:
            # The sum of its whole batches' means; it leaves out the last, incomplete batch.
            loss /= size.num_validation_rows // batch_size
        losses[f"{'+'.join(columns)} L{window} B{batch_size}"] = loss
    return losses


def losses_1(project: Path, run: str) -> Iterator[float]:
    """Validation losses in a log of Sequifier 1, and of this program."""
    for log in (project / "logs").glob(f"sequifier-{run}[.-]*"):
        for loss in re.findall(r"Validation \|.*?[^ ] \| Loss:\s*([0-9.eE+-]+)", log.read_text()):
            yield float(loss)


def losses_3(project: Path, run: str) -> Iterator[float]:
    """Validation losses of Sequifier 3 at the ends of epochs; it evaluates before the first too."""
    path = project / "logs" / run / f"{run}-validation-full.csv"
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            kind = row["evaluation_kind"], row["metric"], row["target"]
            if kind == ("epoch_end", "loss", "__total__"):
                yield float(row["value"])
