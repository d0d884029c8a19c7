"""Time whole searches, here and in Sequifier 1.0.0.6 and 3.1.1.0, as whole processes, in turn.

Usage: python studies/throughput/run.py [--reference FOLDER] [--reference-3 FOLDER] [--repeats N]
           [--busy-neighbour] [--longer] [--one-thread-only] [--folder DIR]
           [--smallest]

`--reference` is the folder of a virtual environment with Sequifier 1.0.0.6, as `make conformance`
builds one, `--reference-3` of one with 3.1.1.0, as `make reference-3` does; each may be left out.
All run the same grid (`searches.py`), except that 1.0.0.6 exports `.pt` instead of ONNX: its
exporter does not work with the torch of today. 3.1.1.0 runs three times: with its defaults, which
compile each model; with `torch_compile: none`; and like that, but exporting `.pt`, its least work.
"""

import argparse
import contextlib
import ctypes
import math
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from searches import (
    FULL,
    PREPROCESS_1,
    PREPROCESS_3,
    SEQUIFIER_1,
    SEQUIFIER_3,
    SMALLEST,
    Config,
    Size,
    best_losses,
    prepare,
    search_1,
    search_3,
    write,
)

PR_SET_CHILD_SUBREAPER = 36
OURS = "here"
LONGER = "here, 32 trials"
BUSY = "here, beside a busy neighbour"


@dataclass(frozen=True)
class Kind:
    """One kind of search to time."""

    name: str
    program: str
    executable: Path
    project: Path
    configs: dict[str, Config]
    threads: int | None = None  # per process; None: as many as the program takes by itself
    has_busy_neighbour: bool = False

    @property
    def label(self) -> str:
        """Name of its files, without spaces: torch's compiler cannot work in a path with them."""
        return re.sub(r"[^\w.]+", "-", self.name)


@dataclass(frozen=True)
class Timing:
    wall: float
    cpu: float


def prepare_kinds(arguments: argparse.Namespace, folder: Path, size: Size) -> list[Kind]:
    """Preprocess the data for each program, and list the searches of a round in their order."""
    project = folder / "project"
    own = Path(sys.executable).with_name("sequifier-hpo")
    prepare(project, own, PREPROCESS_1, size)
    kinds = [Kind(OURS, OURS, own, project, search_1(size, export="onnx"))]
    if arguments.longer:
        kinds.append(
            Kind(LONGER, OURS, own, project, search_1(size, export="onnx", learning_rates=4))
        )
    threads: dict[str, int | None] = {", 1 thread": 1}
    if not arguments.one_thread_only:
        threads = {"": None} | threads
    if arguments.reference:
        executable = arguments.reference.absolute() / "bin" / "sequifier"
        configs = search_1(size, export="pt")
        for suffix, number in threads.items():
            name = f"{SEQUIFIER_1}{suffix}"
            kinds.append(Kind(name, SEQUIFIER_1, executable, project, configs, number))
    if arguments.reference_3:
        executable = arguments.reference_3.absolute() / "bin" / "sequifier"
        project_3 = folder / "project-3"
        prepare(project_3, executable, PREPROCESS_3, size)
        suffix, number = next(iter(threads.items()))
        for variant, configs in {
            "": search_3(size, export="onnx", torch_compile=None),
            ", not compiled": search_3(size, export="onnx", torch_compile="none"),
            ", not compiled, .pt": search_3(size, export="pt", torch_compile="none"),
        }.items():
            name = f"{SEQUIFIER_3}{variant}{suffix}"
            kinds.append(Kind(name, SEQUIFIER_3, executable, project_3, configs, number))
    if arguments.busy_neighbour:
        configs = search_1(size, export="onnx")
        kinds.append(Kind(BUSY, OURS, own, project, configs, has_busy_neighbour=True))
    return kinds


def timed_search(kind: Kind, root: Path, log: Path, size: Size) -> Timing:
    """One search in a copy of the project, from the start of the process to the end of its last."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(kind.project, root)
    for folder in ("configs/hp_search", "logs", "models", "checkpoints"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, config in kind.configs.items():
        write(root / "configs" / name, config)
    command = [str(kind.executable), "hyperparameter-search", "--config-path=configs/search.yaml"]
    neighbour = busy_neighbour() if kind.has_busy_neighbour else contextlib.nullcontext()
    with log.open("wb") as file, neighbour:
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(
            command,
            cwd=root,
            env=environment(kind, root),
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
    losses = best_losses(root, kind.program, size)
    if len(losses) != size.num_settings or any(map(math.isnan, losses.values())):
        raise SystemExit(f"{kind.name}: not every run has a validation loss, see {log}: {losses}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Timing(wall, cpu)


def environment(kind: Kind, root: Path) -> dict[str, str]:
    """Of a search's process: compilers begin with empty caches, however often it is run."""
    variables = dict(os.environ)
    variables.pop("OMP_NUM_THREADS", None)
    path = f"{kind.executable.parent}{os.pathsep}{variables['PATH']}"  # it calls itself by name
    caches = root / "caches"
    variables |= {
        "PATH": path,
        "XDG_CACHE_HOME": str(caches),
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "torchinductor"),
    }
    if kind.threads is not None:
        variables |= {"OMP_NUM_THREADS": str(kind.threads), "MKL_NUM_THREADS": str(kind.threads)}
    return variables


@contextlib.contextmanager
def busy_neighbour() -> Iterator[None]:
    """Keep one core busy: with this process, whose time is not counted as its children's is."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def adopt_orphans() -> None:
    """Count processes too whose parent does not wait for them (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap_orphans() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--reference",
        type=Path,
        default=os.environ.get("SEQUIFIER_REFERENCE"),
        help=f"an environment with Sequifier {SEQUIFIER_1}",
    )
    parser.add_argument(
        "--reference-3", type=Path, help=f"an environment with Sequifier {SEQUIFIER_3}"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--busy-neighbour", action="store_true", help="time ours beside a busy process too"
    )
    parser.add_argument("--longer", action="store_true", help="time 32 trials too, here only")
    parser.add_argument("--one-thread-only", action="store_true", help="on a busy machine")
    parser.add_argument("--folder", type=Path, default=None, help="work here, and leave the files")
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    arguments = parser.parse_args()
    size = SMALLEST if arguments.smallest else FULL
    adopt_orphans()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.folder or Path(temporary)).resolve()
        kinds = prepare_kinds(arguments, folder, size)
        timings: dict[str, list[Timing]] = {kind.name: [] for kind in kinds}
        for _ in range(arguments.repeats):
            for kind in kinds:
                timing = timed_search(kind, folder / kind.label, folder / f"{kind.label}.txt", size)
                timings[kind.name].append(timing)
                load = os.getloadavg()[0]
                print(
                    f"{kind.name}: {timing.wall:.2f} s, {timing.cpu:.2f} CPU s (load {load:.1f})",
                    flush=True,
                )
        report_times(timings)
        report_losses(kinds, folder, size)


def median(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} ({min(values):.2f} to {max(values):.2f})"


def report_times(timings: dict[str, list[Timing]]) -> None:
    """Medians, and ratios to our own run of the same round."""
    print()
    width = max(map(len, timings))
    for name, values in timings.items():
        walls, cpus = [value.wall for value in values], [value.cpu for value in values]
        print(f"{name:{width}}  wall {median(walls)} s   CPU {median(cpus)} s")
    print()
    own = timings[OURS]
    for name, values in timings.items():
        pairs = list(zip(own, values, strict=True))
        if name == LONGER:
            extra = [(b.wall - a.wall) / 24 for a, b in pairs]
            cpu = [(b.cpu - a.cpu) / 24 for a, b in pairs]
            print(f"an extra trial: wall {median(extra)} s, CPU {median(cpu)} s")
        elif name != OURS:
            walls, cpus = [b.wall / a.wall for a, b in pairs], [b.cpu / a.cpu for a, b in pairs]
            print(f"{name:{width}} / {OURS}: wall {median(walls)}   CPU {median(cpus)}")


def report_losses(kinds: list[Kind], folder: Path, size: Size) -> None:
    """The best validation losses of each program's first kind of search, side by side."""
    firsts = {kind.program: kind for kind in reversed(kinds)}
    columns = {
        program: best_losses(folder / firsts[program].label, program, size)
        for program in (OURS, SEQUIFIER_1, SEQUIFIER_3)
        if program in firsts
    }
    print(f"\n{'best validation loss':20}", *(f"{program:>8}" for program in columns))
    for setting in sorted(columns[OURS]):
        print(f"{setting:20}", *(f"{losses[setting]:8.4f}" for losses in columns.values()))


if __name__ == "__main__":
    main()
