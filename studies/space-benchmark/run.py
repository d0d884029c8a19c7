"""How long it takes to plan a search over a product of 10^6 cells, and how much memory.

Run in the repository root, with the environment of `make setup`:

    .venv/bin/python studies/space-benchmark/run.py

With `--smallest` the product has 1,600 cells, only to see that it runs.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

CONSTRUCT = """
import resource, sys, time
from pathlib import Path
from sequifier_hpo.config.search import load_search
from sequifier_hpo.searchspace import EffectiveSpace, compile_space
config = load_search(Path(sys.argv[1])).config
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
effective = EffectiveSpace(compile_space(config), config.seed)
constructed = time.perf_counter()
for place in range(1000):
    effective.representative(place)
proposed = time.perf_counter()
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(constructed - start, (proposed - constructed) / 1000, (after - before) / 1024)
"""


def command(*arguments: str, cwd: Path) -> tuple[float, str]:
    """Seconds and output of a command of sequifier-hpo."""
    code = "from sequifier_hpo.cli.main import run; run()"
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - start, done.stdout


def main() -> None:
    """Print the numbers of README.md."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smallest", action="store_true", help="only to see that it runs")
    is_smallest = parser.parse_args().smallest
    num_runs, num_candidates = (1, 10) if is_smallest else (3, 250)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        command("init", ".", cwd=root)
        command("preprocess", cwd=root)
        demo = [command("plan", cwd=root)[0] for _ in range(num_runs)]
        print(f"plan of the demo: {median(demo):.2f} s")

        data = yaml.safe_load((root / "configs/hyperparameter_search_grid.yaml").read_text())
        model = data["model_hyperparameter_sampling"]
        model["dim_feedforward"] = list(range(1, num_candidates + 1))
        data["training_hyperparameter_sampling"]["batch_size"] = list(range(1, num_candidates + 1))
        (root / "configs/large.yaml").write_text(yaml.safe_dump(data, sort_keys=False))
        arguments = ("plan", "--json", "--config-path", "configs/large.yaml")
        large = [command(*arguments, cwd=root) for _ in range(num_runs)]
        cells = json.loads(large[0][1])["num_combinations"]
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"plan of {cells:,} cells: {median(s for s, _ in large):.2f} s, peak {peak:.0f} MiB")

        done = subprocess.run(
            [sys.executable, "-c", CONSTRUCT, "configs/large.yaml"],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
        )
        construct, propose, memory = map(float, done.stdout.split())
        print(
            f"construction {construct * 1000:.1f} ms and {memory:.1f} MiB, "
            f"then {propose * 1e6:.0f} microseconds per proposed run"
        )


if __name__ == "__main__":
    main()
