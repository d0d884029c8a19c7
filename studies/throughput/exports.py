"""CPU milliseconds of one ONNX file: made and written, and made, checked and written.

Usage: python studies/throughput/exports.py [--repeats N] [--sizes small medium]

Every repeat is a process forked from one that has loaded everything, as a trial is.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from steps import SIZES, configuration

from sequifier_hpo.atomic import StagedFiles
from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.training.export import export_models
from sequifier_hpo.training.export.transformer_graph import build_transformer
from sequifier_hpo.training.model.transformer import SequenceTransformer
from sequifier_hpo.training.process import prepare_process


def cpu_milliseconds(work: Callable[[], None]) -> float:
    """Time some work in a forked process."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        started = time.process_time()
        work()
        os.write(writing, str(1000 * (time.process_time() - started)).encode())
        os._exit(0)
    os.close(writing)
    os.wait()
    milliseconds = float(os.read(reading, 64))
    os.close(reading)
    return milliseconds


def measure(size: str, repeats: int, folder: Path) -> str:
    values = configuration(size, folder, dropout=0.0, optimizer="AdamW")
    values |= {"export_generative_model": True, "export_onnx": True}
    config = assert_valid(TrainConfig.model_validate(values))
    best, last = (SequenceTransformer(config).state_dict() for _ in range(2))

    def write_unchecked() -> None:
        for name, state in (("best", best), ("last", last)):
            weights = {key: tensor.numpy() for key, tensor in state.items()}
            model = build_transformer(config, weights, is_embedding_model=False)
            with StagedFiles() as files:
                files.add(folder / f"{name}.onnx", model.SerializeToString())

    def export() -> None:
        export_models(
            config,
            best_state=best,
            last_state=last,
            last_epoch=3,
            best_epoch=2,
            best_validation_loss=0.5,
        )

    torch.zeros(8).sum()
    kinds = {"made and written": write_unchecked, "checked too": export}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind, work in kinds.items():
            times[kind].append(cpu_milliseconds(work) / 2)  # two files
    return ", ".join(
        f"{kind} {statistics.median(ms):.1f} ms ({min(ms):.1f} to {max(ms):.1f})"
        for kind, ms in times.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["small"])
    arguments = parser.parse_args()
    prepare_process(is_forking=True)
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            print(f"{size}: {measure(size, arguments.repeats, Path(folder))}", flush=True)


if __name__ == "__main__":
    main()
