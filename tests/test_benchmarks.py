"""Benchmarks that are run by hand, and only now and then: they must still start when they are."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sequifier_hpo.training.compile_plan import finds_cpp_compiler
from tests.postgres_server import temporary_server

STUDIES = Path(__file__).parents[1] / "studies"
# Script -> arguments of its smallest size, and what it prints in the end.
SCRIPTS = {
    "nycflights/prepare.py": (["--flights", "flights.csv"], "3 flights, 2 aircraft"),
    "preprocess-benchmark/digests.py": (["--smallest"], "one digest in all formats"),
    "preprocess-benchmark/memory.py": (["--smallest"], "1,500 rows: "),
    "preprocess-benchmark/run.py": (["--smallest"], "CSV -> tensor shards, stride 32: "),
    "search-efficiency/costs.py": (["--smallest"], "   20 runs: proposal "),
    "search-efficiency/run.py": (["--smallest"], "2 searches each"),
    "search-efficiency/slow_starters.py": (["slow_starters.csv"], "wrote slow_starters.csv"),
    "search-efficiency/warm.py": (["--smallest"], "2 searches each"),
    "space-benchmark/run.py": (["--smallest"], "microseconds per proposed run"),
    "throughput/compiled_steps.py": (["--sizes", "smallest", "--repeats", "1"], "compiled "),
    "throughput/derivatives.py": (["--sizes", "smallest", "--rounds", "1"], "without: attention"),
    "throughput/exports.py": (["--sizes", "smallest", "--repeats", "1"], "checked too"),
    "throughput/gpu.py": (
        ["--device", "cpu", "--small", "--seconds", "1", "--sharing", "1"],
        "torch_compile: auto: ",
    ),
    "throughput/run.py": (["--smallest", "--repeats", "1"], "state L16 B32"),
    "throughput/steps.py": (["--sizes", "smallest", "--repeats", "1"], "bare / ours"),
}
# What is compiled has no vector instructions: to try them out takes as long as the kernels.
SETTINGS = {"TORCHINDUCTOR_VEC_ISA_OK": "0"}
STORAGE = "storage-benchmark/run.py"
MANY = "storage-benchmark/many.py"
NOT_RUN = {
    "search-efficiency/make_table.py",  # needs a study that is finished
    "search-efficiency/stock.py",  # has no main program
    "throughput/searches.py",  # has no main program
    "throughput/reference_step.py",  # runs in an environment with Sequifier: tests/conformance
}
FLIGHTS = """month,day,dep_delay,sched_dep_time,carrier,tailnum,origin,distance,hour
1,2,-4,600,UA,N1,JFK,1000,6
1,1,2,500,UA,N1,EWR,1400,5
1,1,7,515,AA,N2,LGA,733,5
1,1,NA,530,AA,N2,LGA,733,5
"""


def run_script(script: str, *arguments: str | Path, folder: Path) -> str:
    """Its output, if all went well."""
    done = subprocess.run(
        [sys.executable, STUDIES / script, *arguments],
        cwd=folder,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        timeout=550,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_runs_at_its_smallest_size(tmp_path: Path, script: str) -> None:
    if script == "throughput/compiled_steps.py" and not finds_cpp_compiler():
        pytest.skip("there is no C++ compiler")
    arguments, end = SCRIPTS[script]
    (tmp_path / "flights.csv").write_text(FLIGHTS)

    assert end in run_script(script, *arguments, folder=tmp_path)


@pytest.mark.slow
def test_the_benchmark_of_the_storage_runs(tmp_path: Path) -> None:
    output = run_script(STORAGE, "--trials", "3", "--folder", tmp_path, folder=tmp_path)

    assert "0-     3" in output
    assert len(list((tmp_path / "artifacts").iterdir())) == 6


@pytest.mark.slow
def test_the_benchmark_of_many_coordinators_runs(tmp_path: Path) -> None:
    with temporary_server() as server:
        options = ("--storage", server.url, "--coordinators", "2", "--seconds", "1")
        output = run_script(MANY, *options, folder=tmp_path)

    assert output.splitlines()[-1].startswith("| 2 | ")


def test_no_script_is_forgotten() -> None:
    found = {path.relative_to(STUDIES).as_posix() for path in STUDIES.glob("*/*.py")}

    assert found == {*SCRIPTS, STORAGE, MANY, *NOT_RUN}
