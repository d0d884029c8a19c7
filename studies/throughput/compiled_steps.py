"""CPU seconds per training step with and without `torch_compile: auto`, and what the build costs.

Usage: python studies/throughput/compiled_steps.py [--sizes small medium] [--repeats N] [--dropout P]

One thread. Usual and compiled runs take turns, in processes of their own with the memory settings
of a worker; the compiled ones share a cache that is empty at first. A step is the median over all
but the first of a process, the median of the processes, and their range. A build is what the first
batch costs more than a step, with all child processes, comparison with the usual step included.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import steps
import torch

from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.training.compiled import load_compiler
from sequifier_hpo.training.data.windows import TrainingData
from sequifier_hpo.training.loop import Hooks
from sequifier_hpo.training.run import train

KINDS = {"usual": "none", "compiled": "auto"}
MANY = 10_000_000  # epochs that repay any build; we stop long before
SETTINGS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**40),
}


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def be_child(kind: str, size: str, dropout: float, folder: Path) -> None:
    """Print the seconds of the first batch and of each later one."""
    torch.set_num_threads(1)
    values = steps.configuration(size, folder, dropout, "AdamW")
    values["training_spec"] |= {"torch_compile": KINDS[kind], "epochs": MANY}
    config = assert_valid(TrainConfig.model_validate(values))
    num_steps, batch_size = steps.SIZES[size][-1], config.training_spec.batch_size
    if kind == "compiled":
        load_compiler()  # a worker does so once for all its runs
    clock: list[float] = []
    whole: list[float] = [cpu_seconds()]

    def note(_report: object) -> None:
        clock.append(time.process_time())
        whole.append(cpu_seconds())

    train(
        config,
        TrainingData(
            steps.windows(config, num_steps * batch_size), steps.windows(config, batch_size)
        ),
        Hooks(
            on_epoch=lambda _: None,
            on_batch=note,
            on_message=lambda text: print(text, file=sys.stderr),
            should_stop=lambda: len(clock) >= num_steps,
        ),
        resume=False,
    )
    print(json.dumps([whole[1] - whole[0], *(b - a for a, b in pairwise(clock))]))


def run_process(kind: str, size: str, dropout: float, cache: str) -> tuple[float, float]:
    """Seconds of the first batch, and the median of the later ones."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [
                *(sys.executable, __file__, "--child", kind, "--sizes", size),
                *("--dropout", str(dropout), "--folder", folder),
            ],
            env={**os.environ, **SETTINGS, "XDG_CACHE_HOME": cache},
            stdout=subprocess.PIPE,
            check=True,
        )
    first, *later = json.loads(done.stdout.splitlines()[-1])
    return first, statistics.median(later)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=steps.SIZES, default=steps.USUAL_SIZES)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        size, folder = arguments.sizes[0], arguments.folder
        be_child(arguments.child, size, arguments.dropout, folder)
        return
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as cache:
            taken: dict[str, list[float]] = {kind: [] for kind in KINDS}
            builds = []
            for _ in range(arguments.repeats):
                for kind, medians in taken.items():
                    first, step = run_process(kind, size, arguments.dropout, cache)
                    medians.append(1000 * step)
                    if kind == "compiled":
                        builds.append(first - step)
        text = ", ".join(
            f"{kind} {statistics.median(ms):.2f} ms ({min(ms):.2f} to {max(ms):.2f})"
            for kind, ms in taken.items()
        )
        again = f", again {statistics.median(builds[1:]):.1f} s" if builds[1:] else ""
        print(f"{size}: {text}; build {builds[0]:.1f} s{again}", flush=True)


if __name__ == "__main__":
    main()
