"""The benchmark of training steps next to Sequifier 1.0.0.6."""

from pathlib import Path

import pytest

from tests.conformance.reference import REFERENCE, needs_reference
from tests.test_benchmarks import run_script

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), needs_reference]


def test_the_steps_of_sequifier_are_timed_next_to_ours(tmp_path: Path) -> None:
    arguments = ["--sizes", "smallest", "--repeats", "1", "--reference", REFERENCE]

    output = run_script("throughput/steps.py", *arguments, folder=tmp_path)

    assert "reference / ours" in output
