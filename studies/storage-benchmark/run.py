"""Time what a coordinator itself spends on a trial: claim, 3 reports, artifacts, result, leaderboard.

Nothing is trained: a stub takes the place of the objective. The space is a grid of 10,240 cells in
12 parameters.

Usage: python studies/storage-benchmark/run.py [--storage URL] [--trials N] [--folder DIR]
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.records import Counted, DataDigest, SplitDigest
from sequifier_hpo.report.artifacts import keep_artifacts
from sequifier_hpo.report.notes import Places, trial_attributes, trial_note
from sequifier_hpo.report.tables import results_csv
from sequifier_hpo.searchspace import (
    EffectiveSpace,
    Keyer,
    Point,
    SearchSpace,
    compile_space,
    decode,
)
from sequifier_hpo.strategy import GridRuns
from sequifier_hpo.study import Artifact, Description, Ledger, OwnerLock, Storage, StudyPlan

NUM_REPORTS = 3
WINDOW = 500
RESULTS_SECONDS, RESULTS_SHARE = 1.0, 0.02  # as in the command line
METADATA = {
    "n_classes": {"event": 10},
    "id_maps": {"event": {str(i): i + 1 for i in range(9)}},
    "split_paths": ["data/s0.parquet", "data/s1.parquet", "data/s2.parquet"],
    "column_types": {"event": "Int64"},
    "selected_columns_statistics": {},
}
SEARCH = {
    "project_root": ".",
    "metadata_config_path": "metadata.json",
    "hp_search_name": "stub",
    "model_config_write_path": "configs/hp_search",
    "search_strategy": "grid",
    "input_columns": [["event"]],
    "target_columns": ["event"],
    "target_column_types": {"event": "categorical"},
    "seq_length": [8, 16],
    "model_hyperparameter_sampling": {
        "dim_model": [32, 64],
        "n_head": [4, 8],
        "initial_embedding_dim": [32, 64],
        "dim_feedforward": [32, 64],
        "num_layers": [1, 2, 3, 4, 5],
        "activation_fn": ["swiglu", "gelu"],
        "normalization": ["rmsnorm", "layer_norm"],
        "positional_encoding": ["learned", "rope"],
        "attention_type": ["mha"],
        "n_kv_heads": [None],
    },
    "training_hyperparameter_sampling": {
        "device": "cpu",
        "learning_rate": [0.001, 0.01],
        "epochs": [3, 4],
        "batch_size": [8, 16],
        "dropout": [0.0, 0.1],
        "accumulation_steps": [1, 2],
        "optimizer": [{"name": "Adam"}, {"name": "AdamW"}],
    },
}
PLACES = Places(
    search_file="configs/search.yaml",
    run_file="configs/hp_search/{run}.yaml",
    log="logs/sequifier-{run}.log",
    metrics="logs/sequifier-{run}-metrics.jsonl",
    models="models/sequifier-{run}-*",
    study_folder="studies/stub",
)
T = TypeVar("T")


class Stopwatch:
    """Collects the seconds of named steps."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)

    def time(self, step: str, call: Callable[..., T], *arguments: Any) -> T:
        began = time.perf_counter()
        result = call(*arguments)
        self.seconds[step].append(time.perf_counter() - began)
        return result


def open_study(folder: Path, url: str) -> tuple[Ledger, SearchSpace]:
    (folder / "metadata.json").write_text(json.dumps(METADATA))
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump({**SEARCH, "project_root": str(folder)}))
    config = load_search(path, overrides={"metadata_config_path": str(folder / "metadata.json")})
    space = compile_space(config.config)
    effective = EffectiveSpace(space, config.config.seed)
    print(
        f"{len(space.parameters)} parameters, {space.num_cells:,} cells, "
        f"{effective.num_distinct:,} of them distinct",
        file=sys.stderr,
    )
    split = SplitDigest(
        num_windows=1, window_length=8, columns=dict.fromkeys(METADATA["column_types"], "0" * 64)
    )
    data = DataDigest(training=split, validation=split)
    keyer = Keyer(space, data)

    def describe(_key: str, point: Point) -> Description:
        return Description(
            attributes=trial_attributes(space, point),
            note=lambda run: trial_note(space, point, run, PLACES),
        )

    plan = StudyPlan(
        name="stub",
        space=space,
        data=data,
        counted=Counted(),
        key_of=lambda point, seed: keyer.key(point, seed=seed),
    )
    owner = OwnerLock.acquire(folder / "coordinators").owner
    runs = GridRuns(space, effective, keyer)
    study = Ledger(Storage(url), owner, plan, runs, describe=describe)
    return study, space


def run(study: Ledger, space: SearchSpace, num_trials: int, folder: Path) -> Stopwatch:
    watch = Stopwatch()
    results = folder / "results.csv"
    write_from = 0.0

    def write() -> None:
        results.write_text(results_csv("stub", study.runs()))

    def keep(run: ActiveRun) -> list[Artifact]:
        return keep_artifacts(
            folder / "artifacts",
            f"stub/{run.claim.trial_id}",
            folder / "search.yaml",
            title=run.config.model_name,
            losses=study.losses(run.claim),
            train_losses=dict.fromkeys(range(1, NUM_REPORTS + 1), 1.0),
        )

    for i in range(num_trials):
        began, cpu_began = time.perf_counter(), time.process_time()
        claim = watch.time("claim", study.claim)
        if claim is None:
            break
        loss = 1 + math.sin(i)
        for epoch in range(1, NUM_REPORTS + 1):
            watch.time("report", study.report, claim, epoch, loss / epoch)
        attributes = {"run": f"stub-run-{i}", "best_epoch": 3, "seconds": 1.5, "oom_retries": 0}
        config, _ = decode(space, claim.point, claim.run_number, device="cpu")
        active = ActiveRun(claim, config, [])
        kept = watch.time("artifacts", keep, active)
        watch.time("complete", study.complete, claim, loss / 3, attributes, kept)
        if time.perf_counter() > write_from:
            watch.time("leaderboard", write)
            spent = watch.seconds["leaderboard"][-1]
            write_from = time.perf_counter() + max(RESULTS_SECONDS, spent / RESULTS_SHARE)
        watch.seconds["trial"].append(time.perf_counter() - began)
        watch.seconds["trial cpu"].append(time.process_time() - cpu_began)
    return watch


def show(watch: Stopwatch) -> None:
    trials, cpu = watch.seconds["trial"], watch.seconds["trial cpu"]
    print(f"{'trials':>13}  ms a trial (mean)  CPU ms a trial (mean)")
    for start in range(0, len(trials), max(WINDOW, len(trials) // 10)):
        window = slice(start, start + WINDOW)
        print(
            f"{start:6}-{start + len(trials[window]):6}  {1000 * statistics.mean(trials[window]):6.2f}"
            f"  {1000 * statistics.mean(cpu[window]):6.2f}"
        )
    for step in ("claim", "report", "artifacts", "complete", "leaderboard"):
        values = watch.seconds[step]
        first, last = values[: len(values) // 10 or 1], values[-(len(values) // 10 or 1) :]
        print(
            f"{step:>11}: median {1000 * statistics.median(first):6.2f} ms in the first tenth, "
            f"{1000 * statistics.median(last):6.2f} ms in the last ({len(values)} calls)"
        )
    for name, of in (("time", trials), ("CPU time", cpu)):
        ratio = statistics.mean(of[-WINDOW:]) / statistics.mean(of[:WINDOW])
        print(f"{name} of the last {WINDOW} trials: {ratio:.2f} times that of the first {WINDOW}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", help="storage URL; default: SQLite in the folder")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where files lie; default: a temporary one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        url = arguments.storage or sqlite_url(folder / "study.db")
        watch = run(*open_study(folder, url), arguments.trials, folder)
        show(watch)
        began = time.perf_counter()
        open_study(folder, url)
        print(f"opening the study again: {time.perf_counter() - began:.2f} s")


if __name__ == "__main__":
    main()
