"""CPU seconds per training step: here, in a bare torch loop of the same model, in Sequifier 1.0.0.6.

Usage: python studies/throughput/steps.py [--reference FOLDER] [--repeats N] [--sizes small medium]

One thread, one categorical column; CPU time, so that neighbours on the machine disturb little. The
three take turns, in processes of their own; a figure is the median over all steps after the first.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import nn

from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.training.data.windows import SplitWindows, StoredColumn, TrainingData
from sequifier_hpo.training.loop import Hooks
from sequifier_hpo.training.model.transformer import SequenceTransformer
from sequifier_hpo.training.run import train

NUM_CLASSES = 20
WARM_UP = 5
# dim_model, n_head, dim_feedforward, layers, window, batch size, steps per process
SIZES = {
    "smallest": (8, 2, 8, 1, 8, 4, WARM_UP + 2),  # only to see that it runs
    "small": (32, 4, 64, 2, 32, 32, 200),
    "medium": (128, 8, 256, 4, 64, 64, 30),
    "large": (256, 8, 512, 6, 128, 32, 12),
}
USUAL_SIZES = ["small", "medium", "large"]


def configuration(size: str, folder: Path, dropout: float, optimizer: str) -> dict[str, Any]:
    """A train file that both programs read."""
    width, heads, inner, layers, window, batch_size, _ = SIZES[size]
    return {
        "project_root": str(folder),
        "metadata_config_path": "configs/none.json",
        "model_name": f"step-{size}",
        "training_data_path": "data/none0.parquet",
        "validation_data_path": "data/none1.parquet",
        "read_format": "parquet",
        "input_columns": ["state"],
        "column_types": {"state": "Int64"},
        "categorical_columns": ["state"],
        "real_columns": [],
        "target_columns": ["state"],
        "target_column_types": {"state": "categorical"},
        "id_maps": {"state": {f"s{i}": i for i in range(1, NUM_CLASSES)}},
        "seq_length": window,
        "n_classes": {"state": NUM_CLASSES},
        "inference_batch_size": 10,
        "seed": 1,
        "export_generative_model": False,
        "export_embedding_model": False,
        "export_onnx": False,
        "export_pt": False,
        "export_with_dropout": False,
        "model_spec": {
            "initial_embedding_dim": width,
            "joint_embedding_dim": None,
            "feature_embedding_dims": None,
            "dim_model": width,
            "n_head": heads,
            "dim_feedforward": inner,
            "num_layers": layers,
            "activation_fn": "swiglu",
            "normalization": "rmsnorm",
            "positional_encoding": "rope",
            "attention_type": "mha",
            "norm_first": True,
            "n_kv_heads": None,
            "rope_theta": 10000.0,
            "prediction_length": 1,
        },
        "training_spec": {
            "device": "cpu",
            "epochs": 1,
            "save_interval_epochs": 1000,
            "batch_size": batch_size,
            "learning_rate": 0.001,
            "log_interval": 1,
            "dropout": dropout,
            "accumulation_steps": 1,
            "criterion": {"state": "CrossEntropyLoss"},
            "optimizer": {"name": optimizer},
            "scheduler": {"name": "StepLR", "step_size": 1, "gamma": 0.9},
            "continue_training": False,
        },
    }


def windows(config: TrainConfig, num_windows: int) -> SplitWindows:
    shape = (num_windows, config.seq_length + 1)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, NUM_CLASSES, shape, generator=generator, dtype=torch.int32)
    column = StoredColumn(ids, 1.0, float(NUM_CLASSES - 1))
    no_padding = torch.zeros(num_windows, dtype=torch.int32)
    return SplitWindows("made here", {"state": column}, num_windows, config.seq_length, no_padding)


def our_steps(config: TrainConfig, num_steps: int) -> list[float]:
    """The real training loop; it reports every batch here, and the clock is read then."""
    clock: list[float] = []
    batch_size = config.training_spec.batch_size
    train(
        config,
        TrainingData(windows(config, num_steps * batch_size), windows(config, 1)),
        Hooks(
            on_epoch=lambda _: None,
            on_batch=lambda _: clock.append(time.process_time()),
            on_message=lambda _: None,
            should_stop=lambda: False,
        ),
        resume=False,
    )
    return [b - a for a, b in pairwise(clock)]


def bare_steps(config: TrainConfig, num_steps: int) -> list[float]:
    """What one would write on a single page for this model alone."""
    batch_size, length = config.training_spec.batch_size, config.seq_length
    ids = windows(config, num_steps * batch_size).columns["state"].values.long()
    order = torch.randperm(len(ids))
    model = SequenceTransformer(config)
    optimizer_class = getattr(torch.optim, config.training_spec.optimizer["name"])
    optimizer = optimizer_class(model.parameters(), lr=0.001, fused=True)
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    clock = []
    for start in range(0, len(ids), batch_size):
        clock.append(time.process_time())
        batch = ids[order[start : start + batch_size]]
        logits = model({"state": batch[:, :-1]})["state"].transpose(0, 1)
        loss = criterion(logits.reshape(-1, NUM_CLASSES), batch[:, 1:].reshape(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    assert len(batch[0]) == length + 1
    return [b - a for a, b in pairwise(clock)]


def run_process(kind: str, size: str, arguments: argparse.Namespace) -> list[float]:
    """Seconds of each step after the warm-up, of one process."""
    with tempfile.TemporaryDirectory() as folder:
        values = configuration(size, Path(folder), arguments.dropout, arguments.optimizer)
        path = Path(folder) / "train.yaml"
        path.write_text(yaml.safe_dump(values, sort_keys=False))
        (Path(folder) / "logs").mkdir()
        command = [sys.executable, __file__, "--child", kind, "--sizes", size, "--folder", folder]
        if kind == "reference":
            program = str(Path(__file__).with_name("reference_step.py"))
            num_steps = str(SIZES[size][-1])
            python = str(arguments.reference.absolute() / "bin" / "python")
            command = [python, program, str(path), num_steps]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            check=True,
        )
    steps: list[float] = json.loads(done.stdout.splitlines()[-1])
    return steps[WARM_UP:]


def be_child(kind: str, size: str, folder: Path) -> None:
    torch.set_num_threads(1)
    values = yaml.safe_load((folder / "train.yaml").read_text())
    config = assert_valid(TrainConfig.model_validate(values))
    steps = {"ours": our_steps, "bare": bare_steps}[kind]
    print(json.dumps(steps(config, SIZES[size][-1])))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, default=os.environ.get("SEQUIFIER_REFERENCE"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=USUAL_SIZES)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--optimizer", default="AdamW")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        be_child(arguments.child, arguments.sizes[0], arguments.folder)
        return
    kinds = ["ours", "bare", *(["reference"] if arguments.reference else [])]
    if arguments.optimizer == "AdEMAMix":
        kinds.remove("bare")
    for size in arguments.sizes:
        medians: dict[str, list[float]] = {kind: [] for kind in kinds}
        for _ in range(arguments.repeats):
            for kind in kinds:
                medians[kind].append(statistics.median(run_process(kind, size, arguments)) * 1000)
        text = ", ".join(
            f"{kind} {statistics.median(ms):.2f} ms ({min(ms):.2f} to {max(ms):.2f})"
            for kind, ms in medians.items()
        )
        ratios = ", ".join(
            f"{kind} / ours "
            f"{statistics.median(b / a for a, b in zip(medians['ours'], medians[kind], strict=True)):.2f}"
            for kind in kinds[1:]
        )
        print(f"{size}: {text}; {ratios}", flush=True)


if __name__ == "__main__":
    main()
