"""Time `preprocess` on a table of 1,000,000 rows and 5 feature columns, as a whole process.

Usage: python studies/preprocess-benchmark/run.py [--rows N] [--repeats N] [--folder DIR]
           [--smallest]
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
from sequifier_hpo.preprocessing.run import preprocess

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


def run_once(program: str, *arguments: object) -> tuple[float, float, str]:
    """(wall seconds, peak MiB, output) of a process of its own."""
    started = time.perf_counter()
    read_end, write_end = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-c", program, *map(str, arguments)],
        dict(os.environ),
        file_actions=[(os.POSIX_SPAWN_DUP2, write_end, 1)],
    )
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        output = pipe.read()
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"a process failed with status {status}")
    return seconds, usage.ru_maxrss / 1024, output


def write_config(folder: Path, table: Path, stride: int, write_format: str) -> Path:
    path = folder / "preprocess.yaml"
    path.write_text(
        f"project_root: {folder}\ndata_path: {table}\nsplit_ratios: [0.8, 0.1, 0.1]\n"
        f"seq_length: {SEQ_LENGTH}\nstride_by_split: {[stride] * 3}\n"
        f"write_format: {write_format}\n"
    )
    return path


def parse_arguments(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="work here, and leave the files")
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    arguments = parser.parse_args()
    if arguments.smallest:
        arguments.rows, arguments.repeats = 3 * ITEMS_PER_SEQUENCE, 1
    return arguments


def main() -> None:
    arguments = parse_arguments(__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / "table.csv"
        make_table(table, arguments.rows)
        print(f"{arguments.rows:,} rows, CSV of {table.stat().st_size / 2**20:.0f} MiB")
        for name, case in CASES.items():
            config = write_config(folder, table, **case)
            runs = [run_once(PROGRAM, config) for _ in range(arguments.repeats)]
            seconds = [run[0] for run in runs]
            print(
                f"{name}: {statistics.median(seconds):.1f} s (of {len(runs)}: {min(seconds):.1f} "
                f"to {max(seconds):.1f}), peak {max(run[1] for run in runs):.0f} MiB, "
                f"{int(runs[0][2]):,} windows"
            )


if __name__ == "__main__":
    main()
