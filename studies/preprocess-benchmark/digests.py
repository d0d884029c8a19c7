"""Time the data digest of a training split, in each format.

Usage: python studies/preprocess-benchmark/digests.py [--rows N] [--repeats N] [--folder DIR]
           [--smallest]

The table of `run.py` is cut into windows with stride 1. Every repeat is a process of its own that
finds no kept digest; Python's start is not counted. The files were written just before, so that
they are in the system's cache: the disk's speed is not measured.
"""

import json
import os
import statistics
import tempfile
from pathlib import Path

from run import PROGRAM, SEQ_LENGTH, make_table, parse_arguments, run_once, write_config

DIGEST = """
import json, sys, time
from pathlib import Path
from sequifier_hpo.config.metadata import read_metadata
from sequifier_hpo.preprocessing.digest import data_digest

split, read_format, metadata = Path(sys.argv[1]), sys.argv[2], read_metadata(Path(sys.argv[3]))
split.with_name(f".{split.name}.digest.json").unlink(missing_ok=True)
started, cpu_started = time.perf_counter(), time.process_time()
found = data_digest(split, split, read_format, metadata, metadata.column_types).training
seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
values = found.num_windows * (found.window_length + 1) * len(found.columns)
print(json.dumps([seconds, cpu_seconds, values, found.model_dump()]))
"""


def file_bytes(split: Path) -> int:
    files = split.iterdir() if split.is_dir() else [split]
    return sum(file.stat().st_size for file in files)


def main() -> None:
    arguments = parse_arguments(__doc__)
    digests = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / "table.csv"
        make_table(table, arguments.rows)
        for name in ("parquet", "csv", "pt"):
            run_once(PROGRAM, write_config(folder, table, stride=1, write_format=name))
            split = folder / "data" / ("table-split0" if name == "pt" else f"table-split0.{name}")
            metadata = folder / "configs" / "metadata_configs" / "table.json"
            runs = [run_once(DIGEST, split, name, metadata) for _ in range(arguments.repeats)]
            found = [json.loads(output) for _, _, output in runs]
            seconds, cpu = ([run[i] for run in found] for i in (0, 1))
            megabytes, values = file_bytes(split) / 1e6, found[0][2]
            print(
                f"{name}: {megabytes:,.0f} MB, {values / 1e6:,.1f} million numbers in "
                f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f}): "
                f"{megabytes / statistics.median(seconds):,.0f} MB/s; "
                f"{statistics.median(cpu):.2f} CPU s, peak {max(run[1] for run in runs):.0f} MiB, "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
            digests += [run[3] for run in found]
    if any(digest != digests[0] for digest in digests):
        raise SystemExit("the formats have different digests")
    print(f"one digest in all formats; windows of {SEQ_LENGTH + 1} items")


if __name__ == "__main__":
    main()
