"""Time claims, reports and results of many coordinators that share one study in one Postgres.

Nothing is trained. Each coordinator is a process with its own connection; all begin at the same
moment, on the grid of run.py. Without a pause this is the most that the server can do; with one it
is a cluster whose trials take that long.

Usage: python studies/storage-benchmark/many.py --storage URL [--coordinators 1 8 32 64]
       [--seconds N] [--pause SECONDS]
"""

import argparse
import io
import multiprocessing
import os
import random
import resource
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from run import NUM_REPORTS, open_study

from sequifier_hpo.study import StorageFaultError

T = TypeVar("T")

_SAMPLE_SECONDS = 0.1


def coordinate(
    folder: Path, url: str, seconds: float, pause: float, barrier: Any, results: Any
) -> None:
    """One coordinator: claims, reports and completes until the time is over."""
    with redirect_stderr(io.StringIO()):
        study, _ = open_study(folder, url)
    chance = random.Random()
    claims, others = [], []
    barrier.wait()
    began_at = time.process_time()
    until = time.monotonic() + seconds
    time.sleep(chance.uniform(0.0, pause))
    while time.monotonic() < until:
        began = time.perf_counter()
        claim = patiently(study.claim)
        claims.append(time.perf_counter() - began)
        if claim is None:
            break
        for epoch in range(1, NUM_REPORTS + 1):
            time.sleep(pause / NUM_REPORTS)
            began = time.perf_counter()
            patiently(study.report, claim, epoch, 1.0 / epoch)
            others.append(time.perf_counter() - began)
        patiently(study.complete, claim, 0.5, {"best_epoch": NUM_REPORTS})
    used = resource.getrusage(resource.RUSAGE_SELF)
    results.put((claims, others, used.ru_utime + used.ru_stime - began_at, used.ru_maxrss / 1024))


def patiently(call: Callable[..., T], *arguments: Any) -> T:
    """Again and again while the lock is not to be had, as a search does."""
    while True:
        try:
            return call(*arguments)
        except StorageFaultError:
            continue


def watch(url: str, seconds: float) -> tuple[dict[str, float], float]:
    """What the server's sessions were found doing, on average, and the processor time they took."""
    doing: Counter[str] = Counter()
    cpu: dict[int, float] = {}
    query = (
        "SELECT pid, CASE WHEN state <> 'active' THEN state ELSE coalesce('waits: ' || wait_event, "
        "'works') END FROM pg_stat_activity "
        "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND state IS NOT NULL"
    )
    began, samples = time.monotonic(), 0
    with psycopg.connect(url, autocommit=True) as connection:
        while time.monotonic() < began + seconds:
            for pid, state in connection.execute(query.encode()).fetchall():
                doing[state] += 1
                cpu[pid] = _cpu_seconds(pid, cpu.get(pid, 0.0))
            samples += 1
            time.sleep(_SAMPLE_SECONDS)
    return {what: num / samples for what, num in doing.most_common(4)}, sum(cpu.values())


def _cpu_seconds(pid: int, known: float) -> float:
    """Of a process on this machine; what is known if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return known
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(url: str, number: int, seconds: float, pause: float) -> str:
    """A row of the table."""
    context = multiprocessing.get_context("fork")  # what is imported once is imported for all
    barrier, results = context.Barrier(number + 1, timeout=300), context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for each in range(number):
            own = Path(folder) / str(each)
            own.mkdir()
            arguments = (own, url, seconds, pause, barrier, results)
            processes.append(context.Process(target=coordinate, args=arguments))
            processes[-1].start()
        barrier.wait()
        doing, server_cpu = watch(url, seconds)
        found = [results.get() for _ in processes]
        for process in processes:
            process.join()
    claims = sorted(1000 * took for of_one, _, _, _ in found for took in of_one)
    reports = sorted(1000 * took for _, of_one, _, _ in found for took in of_one)
    own_cpu = sum(cpu for _, _, cpu, _ in found)
    shown = ", ".join(f"{what} {num:.1f}" for what, num in doing.items())
    return (
        f"| {number} | {len(claims) / seconds:.1f} | {statistics.median(claims):.1f} | "
        f"{_99th(claims):.1f} | {_99th(reports):.1f} | {1000 * own_cpu / len(claims):.1f} | "
        f"{1000 * server_cpu / len(claims):.1f} | {shown} | "
        f"{max(memory for _, _, _, memory in found):.0f} |"
    )


def _99th(values: list[float]) -> float:
    return values[min(len(values) - 1, int(0.99 * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--storage", required=True, help="URL of an empty Postgres database")
    parser.add_argument("--coordinators", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that a trial takes")
    arguments = parser.parse_args()
    url = arguments.storage
    print(
        "| coordinators | claims/s | claim, median ms | 99th percentile | report, 99th | own CPU ms a "
        "trial | server's | sessions, on average | MiB |"
    )
    print("| --- " * 9 + "|")
    for number in arguments.coordinators:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        print(measure(url, number, arguments.seconds, arguments.pause), flush=True)


if __name__ == "__main__":
    main()
