"""Write `losses.json`, or one of its entries anew.

    python -m tests.golden.record
    python -m tests.golden.record --run NAME --because "what made its loss another"

The first writes a file where there is none: losses that were recorded stay what they are. The
second keeps the old losses of that run, with the reason, under `formerly`.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from sequifier_hpo import __version__
from tests.end_to_end.conftest import Project
from tests.golden.frozen import (
    GOLDEN,
    RUN_NAMES,
    SEARCH_NAMES,
    SEARCHES,
    copy_project,
    machine,
    outcome_of,
    outcomes_of_search,
    train_run_files,
)


def record_runs(names: list[str]) -> dict[str, Any]:
    """Train run files and return what the golden file says of them."""
    with tempfile.TemporaryDirectory() as folder:
        root = copy_project(Path(folder) / "project")
        train_run_files(root, names)
        return {name: outcome_of(root, name).record() for name in names}


def record_search(name: str) -> list[dict[str, Any]]:
    """Train all cells of a search's space and return what the golden file says of them."""
    with tempfile.TemporaryDirectory() as folder:
        root = copy_project(Path(folder) / "project")
        search_all_cells(root, name)
        return [
            {"configuration": json.loads(text), "epochs": outcome.record()["epochs"]}
            for text, outcome in sorted(outcomes_of_search(root, name).items())
        ]


def search_all_cells(root: Path, name: str) -> None:
    """Run a search as a grid."""
    file = root / SEARCHES / f"{name}.yaml"
    content = yaml.safe_load(file.read_text())
    content.pop("n_samples", None)
    content["search_strategy"] = "grid"
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    finished = Project(root).search(file=f"{SEARCHES}/{name}.yaml")
    assert finished.code == 0, finished.stderr


def everything() -> dict[str, Any]:
    """The content of a new golden file."""
    if GOLDEN.exists():
        sys.exit(f"{GOLDEN} exists; name the run whose losses have changed with --run")
    return {
        "recorded_by": f"sequifier-hpo {__version__}",
        "machine": machine(),
        "runs": record_runs(RUN_NAMES),
        "searches": {name: record_search(name) for name in SEARCH_NAMES},
    }


def changed(name: str, because: str | None) -> dict[str, Any]:
    """The content of the golden file with the losses that a run has now."""
    if not because:
        sys.exit("say with --because why the losses of this run are others now")
    golden: dict[str, Any] = json.loads(GOLDEN.read_text())
    if golden["machine"] != machine():
        sys.exit(f"all was recorded on {golden['machine']}, and this is {machine()}")
    before = golden["runs"][name]
    formerly = [*before.pop("formerly", []), {**before, "until": because}]
    golden["runs"][name] = {**record_runs([name])[name], "formerly": formerly}
    return golden


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", choices=RUN_NAMES)
    parser.add_argument("--because")
    arguments = parser.parse_args()
    golden = everything() if arguments.run is None else changed(arguments.run, arguments.because)
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
