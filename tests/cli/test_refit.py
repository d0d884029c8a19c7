"""How long a run is trained again, on more data than before."""

from collections.abc import Callable

import pytest

from sequifier_hpo.cli.refit import Length
from sequifier_hpo.config.train import TrainConfig
from tests.training.conftest import make_config

__all__ = ["make_config"]


@pytest.mark.parametrize(
    ("batch_size", "accumulated", "steps", "expected"),
    [
        (10, None, 20, Length(20, batches=20, epochs=2)),  # 11 batches an epoch
        (10, None, 22, Length(22, batches=22, epochs=2)),
        (10, 4, 3, Length(3, batches=11, epochs=1)),  # its last step has three batches
        (10, 4, 5, Length(5, batches=19, epochs=2)),
        (200, None, 7, Length(7, batches=7, epochs=7)),
    ],
)
def test_it_takes_as_many_steps(
    make_config: Callable[..., TrainConfig],
    batch_size: int,
    accumulated: int | None,
    steps: int,
    expected: Length,
) -> None:
    spec = make_config(batch_size=batch_size, accumulation_steps=accumulated).training_spec

    assert Length.of_steps(steps, 105, spec) == expected
