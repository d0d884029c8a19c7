"""Tokens per second and model FLOPs utilisation (MFU) on a GPU, through the real training loop.

Usage: python studies/throughput/gpu.py [--seconds N] [--batch-size N] [--peak-tflops X]
       python studies/throughput/gpu.py --device cpu --small          # only to see that it runs

A model of about 100 million parameters in bfloat16 (autocast, weights in float32), windows of 1024:
usual and compiled steps (`torch_compile: auto`), one run alone; then usual steps of two runs that
share the GPU, each in a process of its own, as with `workers: 2`. Clocks are read where the loop
reports, which is after the GPU has done the steps that are reported; the first report, with
compilers and caches still cold, does not count. Rates of runs beside each other are added over the
time in which both trained.

Exit codes: 0 done, 1 a run failed, 3 there is no such device here.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import steps
import torch
from torch import nn

from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.records import BatchReport, OutcomeKind
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.device import find_device
from sequifier_hpo.training.loop import Hooks
from sequifier_hpo.training.model.transformer import SequenceTransformer
from sequifier_hpo.training.run import train

NO_DEVICE = 3
MANY = 10_000_000  # epochs that repay any build; we stop long before
STEPS_PER_EPOCH = 2000
# dim_model, n_head, dim_feedforward (three matrices, swiglu), layers, window, classes, batch size,
# steps per report
LARGE = (768, 12, 2048, 12, 1024, 8192, 16, 20)
SMALL = (64, 4, 128, 2, 32, 100, 8, 5)
# Name in torch.cuda.get_device_name() -> dense bfloat16 TFLOP/s on tensor cores, from NVIDIA's data
# sheets (where these give numbers "with sparsity", half of them). The first that fits counts.
PEAK_TFLOPS = {
    "B200": 2250.0,
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100 NVL": 835.0,
    "GH200": 989.4,
    "H100": 989.4,
    "A100": 311.8,
    "A40": 149.7,
    "A10G": 70.0,
    "L40S": 362.0,
    "L4": 121.0,
    "RTX A6000": 154.8,
    "RTX 4090": 165.2,
    "RTX 3090": 71.0,
}


@dataclass(frozen=True)
class Measured:
    """What one process tells about its run."""

    clock: list[float]
    """Seconds at each report after the first, on the machine's one monotonic clock."""
    positions: list[int]
    """Positions trained on until then."""
    num_parameters: int
    flops_per_token: float
    peak_memory_bytes: int
    messages: list[str]


def configuration(arguments: argparse.Namespace, compiles: str, folder: Path) -> TrainConfig:
    """The run that is measured."""
    width, heads, inner, layers, window, classes, batch_size, interval = _sizes(arguments)
    values = steps.configuration("small", folder, arguments.dropout, "AdamW")
    values |= {"seq_length": window, "n_classes": {"state": classes}, "id_maps": {"state": {}}}
    values["model_spec"] |= {
        "initial_embedding_dim": width,
        "dim_model": width,
        "n_head": heads,
        "dim_feedforward": inner,
        "num_layers": layers,
    }
    values["training_spec"] |= {
        "device": arguments.device,
        "batch_size": arguments.batch_size or batch_size,
        "log_interval": interval,
        "epochs": MANY,
        "save_interval_epochs": MANY,
        "layer_type_dtypes": {"norm": "float32"},  # any entry turns autocast to bfloat16 on
        "torch_compile": compiles,
    }
    return assert_valid(TrainConfig.model_validate(values))


def flops_per_token(model: SequenceTransformer, config: TrainConfig) -> float:
    """Floating-point operations of the forward and backward pass, per position.

    Six for each weight of a matrix (one product and one sum forwards, twice as many backwards), and
    12 * layers * width * window for the attention's two products. Tables that are only looked up in
    do not count; nor does it matter that a causal kernel can leave out half of the attention.

    Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B; Kaplan et al. 2020,
    arXiv:2001.08361, section 2.1.
    """
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    spec = config.model_spec
    return 6.0 * weights + 12.0 * spec.num_layers * spec.dim_model * config.seq_length


def measure(arguments: argparse.Namespace, compiles: str, folder: Path) -> Measured:
    """Train for some seconds after the first report."""
    config = configuration(arguments, compiles, folder)
    spec = config.training_spec
    positions_per_report = spec.log_interval * spec.batch_size * config.seq_length
    clock: list[float] = []
    messages: list[str] = []

    def note(_report: BatchReport) -> None:
        clock.append(time.monotonic())

    num_windows = spec.batch_size * STEPS_PER_EPOCH
    result = train(
        config,
        TrainingData(
            steps.windows(config, num_windows),
            steps.windows(config, config.training_spec.batch_size),
        ),
        Hooks(
            on_epoch=lambda _: None,
            on_batch=note,
            on_message=messages.append,
            should_stop=lambda: len(clock) > 1 and clock[-1] - clock[0] > arguments.seconds,
        ),
        resume=False,
    )
    if result.kind is not OutcomeKind.INTERRUPTED:
        raise SystemExit(f"the run ended as {result.kind.value}: {result.reason}")
    return Measured(
        clock=clock,
        positions=[i * positions_per_report for i in range(len(clock))],
        num_parameters=result.num_parameters,
        flops_per_token=flops_per_token(SequenceTransformer(config), config),
        peak_memory_bytes=result.peak_memory_bytes,
        messages=[text for text in messages if "compiled" in text],
    )


def tokens_per_second(runs: list[Measured]) -> float:
    """Of all runs together, over the time in which all of them trained."""
    begin = max(run.clock[0] for run in runs)
    end = min(run.clock[-1] for run in runs)
    if end <= begin:
        raise SystemExit("the runs did not train at the same time: give more --seconds")
    return sum((_positions_at(run, end) - _positions_at(run, begin)) for run in runs) / (
        end - begin
    )


def _positions_at(run: Measured, moment: float) -> float:
    """Between two reports, as if the positions came evenly."""
    for i in range(1, len(run.clock)):
        if run.clock[i] >= moment:
            share = (moment - run.clock[i - 1]) / (run.clock[i] - run.clock[i - 1])
            return run.positions[i - 1] + share * (run.positions[i] - run.positions[i - 1])
    return float(run.positions[-1])


def run_processes(arguments: argparse.Namespace, compiles: str, number: int) -> list[Measured]:
    """So many runs at the same time, in processes of their own."""
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment = {**os.environ, **(threads if arguments.device == "cpu" else {})}
    command = [sys.executable, __file__, *sys.argv[1:], "--child", compiles]
    processes = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(number)
    ]
    answers = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(1)
    return [Measured(**json.loads(answer.splitlines()[-1])) for answer in answers]


def line(name: str, runs: list[Measured], peak_tflops: float | None) -> str:
    rate = tokens_per_second(runs)
    achieved = rate * runs[0].flops_per_token / 1e12
    mfu = f"MFU {achieved / peak_tflops:.1%}" if peak_tflops else "MFU unknown (--peak-tflops)"
    memory = max(run.peak_memory_bytes for run in runs) / 2**30
    text = f"{name}: {rate:,.0f} tokens/s, {achieved:.3g} TFLOP/s, {mfu}, {memory:.2f} GiB at most"
    return "\n    ".join([text, *runs[0].messages])


def known_peak(name: str) -> float | None:
    return next((peak for key, peak in PEAK_TFLOPS.items() if key in name), None)


def _sizes(arguments: argparse.Namespace) -> tuple[int, ...]:
    return SMALL if arguments.small else LARGE


def _be_child(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        measured: dict[str, Any] = vars(measure(arguments, arguments.child, Path(folder)))
    print(json.dumps(measured))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--small", action="store_true", help="a toy model")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--batch-size", type=int, help="windows per step and run")
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument(
        "--sharing", type=int, default=2, help="runs that share the device; 1 = none"
    )
    parser.add_argument("--peak-tflops", type=float, help="of the device, dense, in bfloat16")
    parser.add_argument("--child", choices=["none", "auto"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _be_child(arguments)
        return
    try:
        device = find_device(arguments.device)
    except EnvironmentFaultError as error:
        print(f"nothing was measured: {error}", file=sys.stderr)
        raise SystemExit(NO_DEVICE) from None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else arguments.device
    peak = arguments.peak_tflops or (known_peak(name) if device.type == "cuda" else None)
    usual = run_processes(arguments, "none", 1)
    peak_text = f"{peak:g} TFLOP/s at most in bfloat16" if peak else "peak not known"
    print(
        f"{name} ({peak_text}), torch {torch.__version__}: "
        f"{usual[0].num_parameters / 1e6:.1f} million parameters, "
        f"{usual[0].flops_per_token / 1e9:.3g} GFLOP per token"
    )
    print(line("torch_compile: none", usual, peak), flush=True)
    print(line("torch_compile: auto", run_processes(arguments, "auto", 1), peak), flush=True)
    if arguments.sharing > 1:
        shared = run_processes(arguments, "none", arguments.sharing)
        print(line(f"torch_compile: none, {arguments.sharing} runs at once", shared, peak))


if __name__ == "__main__":
    main()
