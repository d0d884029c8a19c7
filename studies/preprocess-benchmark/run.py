"""Time `preprocess` on a table of 1,000,000 rows and 5 feature columns, as a whole process.

Usage: python studies/preprocess-benchmark/run.py [--rows N] [--repeats N] [--folder DIR]
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

ITEMS_PER_SEQUENCE = 500
SEQ_LENGTH = 32

# What the command line does, without its rendering.
PROGRAM = """
import sys
from pathlib import Path
from sequifier_hpo.config.preprocess import load_preprocess_config
from sequifier_hpo.preprocessing import preprocess

config = load_preprocess_config(Path(sys.argv[1]))
summary = preprocess(config, on_progress=lambda line: None)
print(sum(summary.num_windows), flush=True)
"""

CASES = {
    "CSV -> Parquet, stride 32": {"write_format": "parquet", "stride": SEQ_LENGTH},
    "CSV -> Parquet, stride 1": {"write_format": "parquet", "stride": 1},
    "CSV -> CSV, stride 32": {"write_format": "csv", "stride": SEQ_LENGTH},
    "CSV -> tensor shards, stride 32": {"write_format": "pt", "stride": SEQ_LENGTH},
}


def make_table(path: Path, num_rows: int) -> None:
    rng = np.random.default_rng(1)
    rows = np.arange(num_rows)
    pl.DataFrame(
        {
            "sequenceId": rows // ITEMS_PER_SEQUENCE,
            "itemPosition": rows % ITEMS_PER_SEQUENCE,
            "product": rng.integers(0, 5000, num_rows),
            "weekday": rng.integers(0, 7, num_rows),
            "shop": rng.choice(np.array(["north", "east", "south", "west"]), num_rows),
            "price": rng.normal(12.5, 1.4, num_rows),
            "weight": rng.exponential(3.0, num_rows),
        }
    ).sample(fraction=1.0, shuffle=True, seed=1).write_csv(path)


def run_once(config: Path) -> tuple[float, float, int]:
    """(wall seconds, peak MiB of one process, windows) of one job in a process of its own."""
    started = time.perf_counter()
    read_end, write_end = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", PROGRAM, str(config)],
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, write_end, 1)],
    )
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"preprocess failed with status {status}")
    return seconds, usage.ru_maxrss / 1024, int(output)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="work here, and leave the files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / "table.csv"
        make_table(table, arguments.rows)
        print(f"{arguments.rows:,} rows, CSV of {table.stat().st_size / 2**20:.0f} MiB")
        for name, case in CASES.items():
            config = folder / "preprocess.yaml"
            config.write_text(
                f"project_root: {folder}\ndata_path: {table}\nsplit_ratios: [0.8, 0.1, 0.1]\n"
                f"seq_length: {SEQ_LENGTH}\nstride_by_split: {[case['stride']] * 3}\n"
                f"write_format: {case['write_format']}\n"
            )
            runs = [run_once(config) for _ in range(arguments.repeats)]
            seconds = [run[0] for run in runs]
            print(
                f"{name}: {statistics.median(seconds):.1f} s (of {len(runs)}: {min(seconds):.1f} "
                f"to {max(seconds):.1f}), peak {max(run[1] for run in runs):.0f} MiB, "
                f"{runs[0][2]:,} windows"
            )


if __name__ == "__main__":
    main()
