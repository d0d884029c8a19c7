"""What was recorded, and how a loss is compared with it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.golden.frozen import GOLDEN, machine

Epochs = dict[str, list[float]]
"""Epoch -> its training loss and its validation loss over all positions."""
AssertMeets = Callable[[Epochs, Epochs], None]

_RELATIVE = 1e-3


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    """The golden file."""
    content: dict[str, Any] = json.loads(GOLDEN.read_text())
    return content


@pytest.fixture(scope="session")
def is_exact(golden: dict[str, Any]) -> bool:
    """Whether every bit must be met: torch and the processor are those of the golden file.

    Elsewhere sums are added up in another order, and a thousandth must do.
    """
    same: bool = golden["machine"] == machine()
    return same


@pytest.fixture(scope="session")
def assert_meets(*, is_exact: bool) -> AssertMeets:
    """Compare the losses of a run with those recorded."""

    def compare(found: Epochs, expected: Epochs) -> None:
        if is_exact:
            assert found == expected
        else:
            assert found.keys() == expected.keys()
            for epoch, losses in expected.items():
                assert found[epoch] == pytest.approx(losses, rel=_RELATIVE)

    return compare
