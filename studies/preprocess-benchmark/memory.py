"""Peak memory of `preprocess` on the table of `run.py`, at several sizes.

Usage: python studies/preprocess-benchmark/memory.py [--rows N ...] [--folder DIR] [--smallest]

Memory is the resident memory of the process and its children together, looked at every 20
milliseconds, so it runs on Linux only. CPU seconds say more than wall time where others compute too.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from run import ITEMS_PER_SEQUENCE, PROGRAM, SEQ_LENGTH, make_table, write_config

PART_ROWS = 1_000_000


def make_large_table(path: Path, num_rows: int) -> None:
    """The table of `run.py` in parts, with other sequences in each: it need not fit into memory."""
    part = path.with_name("part.csv")
    make_table(part, min(num_rows, PART_ROWS))
    header, *lines = part.read_text().splitlines(keepends=True)
    part.unlink()
    with path.open("w") as file:
        file.write(header)
        for begin in range(0, num_rows, PART_ROWS):
            first = begin // ITEMS_PER_SEQUENCE
            for line in lines:
                sequence, _, rest = line.partition(",")
                file.write(f"{int(sequence) + first},{rest}")


def resident_bytes(pid: int) -> int:
    """Of a process and all its children; 0 if it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = pages * os.sysconf("SC_PAGE_SIZE")
    return own + sum(resident_bytes(int(child)) for child in children)


def measure(config: Path) -> tuple[float, float, float]:
    """(wall seconds, CPU seconds, peak MiB) of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(config)], stdout=subprocess.DEVNULL
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident_bytes(process.pid))
        time.sleep(0.02)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise SystemExit(f"a process failed with status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, peak / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**6, 4 * 10**6, 16 * 10**6])
    parser.add_argument("--folder", type=Path, default=None, help="work here, and leave the files")
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    arguments = parser.parse_args()
    if arguments.smallest:
        arguments.rows = [3 * ITEMS_PER_SEQUENCE]
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        table = folder / "table.csv"
        for num_rows in arguments.rows:
            make_large_table(table, num_rows)
            config = write_config(folder, table, stride=SEQ_LENGTH, write_format="parquet")
            seconds, cpu, peak = measure(config)
            print(
                f"{num_rows:,} rows: {table.stat().st_size / 2**20:,.0f} MiB of CSV, "
                f"{seconds:.1f} s, {cpu:.1f} CPU s, peak {peak:,.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
