"""Run docker/ on real engines, and say what was found: `make cluster`.

Usage: python -m tests.cluster [--folder DIR] [--docker DIR] [--copy PATH]
                                [classic|containerd|slurm ...]
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster.checks import Checks
from tests.cluster.docker import engines
from tests.cluster.docker_checks import check_engine
from tests.cluster.slurm_checks import check_slurm

_ENGINES = ("classic", "containerd", "slurm")
_PACKAGES = "docker.io iptables debootstrap slurm-wlm munge curl iproute2"


def main() -> int:
    """Run the checks; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=_ENGINES, metavar="PART", help=f"{_ENGINES}")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/sequifier-hpo-cluster"))
    parser.add_argument("--docker", type=Path, default=Path(__file__).parents[2] / "docker")
    parser.add_argument(
        "--copy",
        metavar="PATH",
        type=Path,
        action="append",
        default=[],
        help="what pip needs in an image: its settings, a folder of wheels; may be repeated",
    )
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        print("make cluster needs root: it starts engines", file=sys.stderr)
        return 2
    folder, docker = arguments.folder.resolve(), arguments.docker.resolve()
    _say_what_to_install()
    checks, began = Checks(), time.monotonic()
    if "slurm" in arguments.parts:
        check_slurm(checks, folder / "slurm", docker)
        shutil.rmtree(folder / "slurm", ignore_errors=True)
    if {"classic", "containerd"} & set(arguments.parts):
        for engine in engines(checks, folder, [path.absolute() for path in arguments.copy]):
            if engine.name in arguments.parts:
                check_engine(checks, engine, docker)
    _left_out(checks)
    minutes = (time.monotonic() - began) / 60
    print(
        f"\n{datetime.now(UTC):%d %B %Y}, {minutes:.0f} minutes: {len(checks.found)} checks, "
        f"{len(checks.failures)} failed"
    )
    for engine_name in dict.fromkeys(engine for engine, _, _ in checks.found):
        num = sum(engine == engine_name for engine, _, _ in checks.found)
        print(f"  {engine_name}: {num} checks")
    for _, sentence, problem in checks.failures:
        print(f"FAILED {sentence}\n       {problem[:2000]}")
    return 1 if checks.failures else 0


def _say_what_to_install() -> None:
    if shutil.which("apt-get"):
        done = subprocess.run(
            ["dpkg", "--status", *_PACKAGES.split()], capture_output=True, check=False
        )
        if done.returncode != 0:
            print(f"for all of it: apt-get install --no-install-recommends {_PACKAGES}")


def _left_out(checks: Checks) -> None:
    checks.cannot("the official images", "there may be no hub; Debian's packages stand in for them")
    checks.cannot("GPUs and the image with CUDA", "there may be none; /dev/null stands in on Slurm")
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
        checks.cannot("cgroup v2", "this kernel runs cgroup v1")
    checks.cannot("Kubernetes", "no package of Debian; kubernetes-job.yaml is only validated")
    checks.cannot("a network file system, separate kernels", "there is one machine")


if __name__ == "__main__":
    sys.exit(main())
