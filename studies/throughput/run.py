"""Time whole searches, here and in Sequifier 1.0.0.6, as whole processes, in turn.

Usage: python studies/throughput/run.py [--reference FOLDER] [--repeats N] [--longer] [--folder DIR]

`--reference` is the folder of a virtual environment with Sequifier 1.0.0.6, as `make conformance`
builds one; without it only this program is timed. Both run the same search file, except that the
reference exports `.pt` instead of ONNX: its exporter does not work with the torch of today.
"""

import argparse
import contextlib
import csv
import ctypes
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

NAME = "throughput"
NUM_SEQUENCES, NUM_EVENTS = 100, 200
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Timing:
    wall: float
    cpu: float


def make_table(path: Path) -> None:
    """Events with something to learn: a cycle of states that `flag` speeds up, and some noise."""
    rng = random.Random(1)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sequenceId", "itemPosition", "state", "flag", "level"])
        for sequence in range(NUM_SEQUENCES):
            state = rng.randrange(12)
            for position in range(NUM_EVENTS):
                flag = rng.randrange(3)
                writer.writerow(
                    [sequence, position, f"s{state:02}", f"f{flag}", f"{rng.gauss(state, 1):.4f}"]
                )
                step = 1 + flag if rng.random() < 0.85 else rng.randrange(12)
                state = (state + step) % 12


def search_file(*, learning_rates: int, for_reference: bool) -> dict[str, object]:
    """A grid of {state | state, flag} x window {16, 32} x batch {32, 64} x learning rates."""
    rates = [round(0.001 * 1.2**i, 6) for i in range(learning_rates)]
    types = {"state": "Int64", "flag": "Int64", "level": "Float64"}
    return {
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
        "input_columns": [["state"], ["state", "flag"]],
        "column_types": [types, types],
        "target_columns": ["state"],
        "target_column_types": {"state": "categorical"},
        "seq_length": [16, 32],
        "inference_batch_size": 10,
        "export_generative_model": True,
        "export_embedding_model": False,
        "export_onnx": not for_reference,
        "export_pt": for_reference,
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
            "epochs": [3] * learning_rates,
            "scheduler": [{"name": "StepLR", "step_size": 1, "gamma": 0.9}] * learning_rates,
            "batch_size": [32, 64],
            "accumulation_steps": [1],
            "dropout": [0.0],
            "optimizer": [{"name": "AdamW", "weight_decay": 0.01}],
            "criterion": {"state": "CrossEntropyLoss"},
            "save_interval_epochs": 1,
            "continue_training": False,
            "log_interval": 100,
        },
    }


def prepare(root: Path) -> None:
    """Preprocess the table in a fresh project, once for all searches."""
    for folder in ("configs", "data"):
        (root / folder).mkdir(parents=True)
    make_table(root / "data" / "events.csv")
    config = {
        "project_root": ".",
        "data_path": "data/events.csv",
        "read_format": "csv",
        "write_format": "parquet",
        "split_ratios": [0.8, 0.2],
        "seq_length": 32,
        "stride_by_split": [4, 4],
    }
    (root / "configs" / "preprocess.yaml").write_text(yaml.safe_dump(config))
    subprocess.run(
        [*ours("preprocess"), "--config-path", "configs/preprocess.yaml"], cwd=root, check=True
    )


def ours(command: str) -> list[str]:
    return [str(Path(sys.executable).with_name("sequifier-hpo")), command]


def timed_search(
    project: Path, root: Path, command: list[str], *, threads: int | None, rates: int, log: Path
) -> Timing:
    """One search in a copy of the project, from the start of the process to the end of its last."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(project, root)
    for folder in ("configs/hp_search", "logs", "models", "checkpoints"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    content = search_file(learning_rates=rates, for_reference=log.stem.startswith("reference"))
    (root / "configs" / "search.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    environment = dict(os.environ)
    environment.pop("OMP_NUM_THREADS", None)
    environment["PATH"] = (
        f"{Path(command[0]).parent}{os.pathsep}{environment['PATH']}"  # it calls itself by name
    )
    if threads is not None:
        environment |= {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with log.open("wb") as file:
        done = subprocess.run(
            [*command, "--config-path", "configs/search.yaml"],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            check=False,
        )
    wall = time.perf_counter() - started
    reap_orphans()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed, see {log}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(wall, cpu)


def adopt_orphans() -> None:
    """Count processes too whose parent does not wait for them (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def median(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


def best_losses(root: Path) -> dict[str, str]:
    """Setting -> smallest validation loss that a run's log reports, as written there."""
    losses = {}
    for path in sorted((root / "configs" / "hp_search").glob(f"{NAME}-run-*.yaml")):
        run = yaml.safe_load(path.read_text())
        setting = (
            f"{'+'.join(run['input_columns'])} L{run['seq_length']} "
            f"B{run['training_spec']['batch_size']}"
        )
        logs = "".join(
            log.read_text() for log in (root / "logs").glob(f"sequifier-{path.stem}[.-]*")
        )
        found = re.findall(r"Validation \|.*?[^ ] \| Loss:\s*([0-9.eE+-]+)", logs)
        losses[setting] = f"{min(map(float, found)):.4f}" if found else "none"
    return losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, default=os.environ.get("SEQUIFIER_REFERENCE"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one-thread-only", action="store_true", help="on a busy machine")
    parser.add_argument("--longer", action="store_true", help="time 32 trials too, here only")
    parser.add_argument("--folder", type=Path, default=None, help="work here, and leave the files")
    arguments = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        project = folder / "project"
        shutil.rmtree(project, ignore_errors=True)
        prepare(project)
        kinds: dict[str, tuple[list[str], int | None, int]] = {
            "ours": (ours("hyperparameter-search"), None, 1)
        }
        if arguments.longer:
            kinds["ours, 32 trials"] = (ours("hyperparameter-search"), None, 4)
        if arguments.reference:
            program = [str(arguments.reference / "bin" / "sequifier"), "hyperparameter-search"]
            if not arguments.one_thread_only:
                kinds["reference"] = (program, None, 1)
            kinds["reference, 1 thread"] = (program, 1, 1)
        timings: dict[str, list[Timing]] = {kind: [] for kind in kinds}
        for _ in range(arguments.repeats):
            for kind, (command, threads, rates) in kinds.items():
                timing = timed_search(
                    project,
                    folder / kind,
                    command,
                    threads=threads,
                    rates=rates,
                    log=folder / f"{kind}.txt",
                )
                timings[kind].append(timing)
                load = os.getloadavg()[0]
                print(
                    f"{kind}: {timing.wall:.2f} s, {timing.cpu:.2f} CPU s (load {load:.1f})",
                    flush=True,
                )
        report(timings, folder)


def report(timings: dict[str, list[Timing]], folder: Path) -> None:
    """Medians, and ratios of neighbouring runs."""
    print()
    for kind, values in timings.items():
        walls, cpus = [value.wall for value in values], [value.cpu for value in values]
        print(f"{kind:20} wall {median(walls)} s   CPU {median(cpus)} s")
    own = timings["ours"]
    if longer := timings.get("ours, 32 trials"):
        extra = [(b.wall - a.wall) / 24 for a, b in zip(own, longer, strict=True)]
        cpu = [(b.cpu - a.cpu) / 24 for a, b in zip(own, longer, strict=True)]
        print(f"an extra trial: wall {median(extra)} s, CPU {median(cpu)} s")
    for kind in ("reference", "reference, 1 thread"):
        if values := timings.get(kind):
            walls = [b.wall / a.wall for a, b in zip(own, values, strict=True)]
            cpus = [b.cpu / a.cpu for a, b in zip(own, values, strict=True)]
            print(f"{kind} / ours: wall {median(walls)}, CPU {median(cpus)}")
    if references := [kind for kind in timings if kind.startswith("reference")]:
        losses = best_losses(folder / "ours"), best_losses(folder / references[0])
        print(
            "\nbest validation loss (ours: mean; the reference's: sum of its whole batches' means)"
        )
        for setting, loss in losses[0].items():
            print(f"{setting:18} {loss}   {losses[1].get(setting, 'missing')}")


if __name__ == "__main__":
    main()
