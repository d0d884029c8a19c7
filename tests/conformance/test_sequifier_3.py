"""Sequifier 3 beside this program: its own search files stay its own.

`make conformance` builds an environment with it, and names that folder in SEQUIFIER_REFERENCE_3.
"""

import importlib
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer

REFERENCE = os.environ.get("SEQUIFIER_REFERENCE_3", "")
REPOSITORY = Path(__file__).parents[2]

# Ours as if it were installed there; what it needs and that environment lacks comes last.
PROGRAM = """
import sys
sys.path[:1] = [sys.argv.pop(1)]
sys.path.append(sys.argv.pop(1))
from sequifier_hpo.cli.entry import sequifier
sequifier()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REFERENCE, reason="needs Sequifier 3: run `make conformance`"),
]


def ask(folder: Path, verb: str, file: str) -> "subprocess.CompletedProcess[str]":
    packages = Path(typer.__file__).parents[1]
    return subprocess.run(
        [
            f"{REFERENCE}/bin/python",
            "-c",
            PROGRAM,
            REPOSITORY,
            packages,
            verb,
            "--config-path",
            file,
        ],
        cwd=folder,
        env={**os.environ, "PATH": f"{REFERENCE}/bin:{os.environ['PATH']}"},
        check=False,
        capture_output=True,
        text=True,
    )


def test_the_search_of_sequifier_3_runs_in_sequifier_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(REPOSITORY / "studies" / "throughput")
    searches: Any = importlib.import_module("searches")
    (tmp_path / "configs").mkdir()
    (tmp_path / "data").mkdir()
    searches.make_table(tmp_path / "data" / "events.csv", searches.SMALLEST.num_sequences)
    files = searches.search_3(searches.SMALLEST, export="pt", torch_compile="none")
    for name, content in {"preprocess.yaml": searches.PREPROCESS_3, **files}.items():
        searches.write(tmp_path / "configs" / name, content)

    prepared = ask(tmp_path, "preprocess", "configs/preprocess.yaml")
    searched = ask(tmp_path, "hyperparameter-search", "configs/search.yaml")

    assert prepared.returncode == 0, prepared.stderr
    assert searched.returncode == 0, searched.stderr
    (loss,) = searches.best_losses(tmp_path, searches.SEQUIFIER_3, searches.SMALLEST).values()
    assert 0 < loss < 5
    assert (tmp_path / "state" / "optuna" / "throughput.db").is_file()


def test_a_search_of_ours_beside_sequifier_3_stays_ours(tmp_path: Path) -> None:
    (tmp_path / "search.yaml").write_text("hp_search_name: mine\nproject_root: .\n")

    done = ask(tmp_path, "hyperparameter-search", "search.yaml")

    assert done.returncode == 2
    assert done.stderr.startswith("error: search.yaml")
