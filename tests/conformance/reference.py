"""Sequifier 1.0.0.6 itself, in an environment of its own.

`make conformance` builds that environment and names its folder in SEQUIFIER_REFERENCE.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

REFERENCE = os.environ.get("SEQUIFIER_REFERENCE", "")

needs_reference = pytest.mark.skipif(
    not REFERENCE, reason="needs Sequifier itself: run `make conformance`"
)


def ask_reference(program: str, *arguments: str, folder: Path) -> Any:
    """Run a program in Sequifier's environment; its last line is the answer, as JSON."""
    done = subprocess.run(
        [f"{REFERENCE}/bin/python", "-c", program, *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
