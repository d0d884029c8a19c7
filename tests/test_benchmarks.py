"""Benchmarks that are run by hand, and only now and then: they must still start when they are."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_benchmark_of_the_storage_runs(tmp_path: Path) -> None:
    script = ROOT / "studies/storage-benchmark/run.py"
    done = subprocess.run(
        [sys.executable, script, "--trials", "3", "--folder", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "0-     3" in done.stdout
    assert len(list((tmp_path / "artifacts").iterdir())) == 6
