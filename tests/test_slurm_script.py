"""The job script for Slurm, with programs of Slurm that only say that they were called."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docker/slurm-array.sh"


@pytest.fixture
def commands(tmp_path: Path) -> Path:
    """A folder with `srun`, `squeue` and `scontrol`; the first two do as the environment says."""
    programs = {"srun": 'exit "$SRUN_STATUS"', "squeue": 'echo "$STATE"', "scontrol": 'echo "$@"'}
    for name, body in programs.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(
    ("status", "state", "code", "said"),
    [
        (0, "RUNNING", 0, ""),
        (4, "RUNNING", 4, ""),
        (143, "RUNNING", 0, "requeue 17_3\n"),
        (143, "COMPLETING", 143, ""),
        (137, "RUNNING", 137, ""),
    ],
    ids=["done", "no success", "time is up", "cancelled", "killed"],
)
def test_only_a_task_whose_time_is_up_returns_to_the_queue(
    commands: Path, status: int, state: str, code: int, said: str
) -> None:
    environment = {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "SEQUIFIER_HPO_STORAGE": "postgresql://user@host/studies",
        "SLURM_JOB_ID": "20",
        "SLURM_ARRAY_JOB_ID": "17",
        "SLURM_ARRAY_TASK_ID": "3",
        "SRUN_STATUS": str(status),
        "STATE": state,
    }

    done = subprocess.run(
        ["bash", SCRIPT, "configs/search.yaml"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (code, said, "")
