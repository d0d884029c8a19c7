"""From a point to the train config of a run: the only place where a chosen value is applied."""

from typing import Any

from sequifier_hpo.config.paths import run_name
from sequifier_hpo.config.train import TrainConfig, assert_valid
from sequifier_hpo.searchspace.parameters import SearchSpace
from sequifier_hpo.searchspace.point import Point
from sequifier_hpo.searchspace.resolve import Adjustment, resolve


def decode(
    space: SearchSpace, point: Point, run_number: int, *, device: str
) -> tuple[TrainConfig, list[Adjustment]]:
    """The complete train config of one run, and what was adjusted to make it valid.

    Args:
        space: The compiled search file.
        point: What is chosen in the run.
        run_number: k of the run's name `{search}-run-{k}`.
        device: Torch device the run trains on, when the search file leaves it open.

    Raises:
        ConfigError: If the point's values are no longer candidates and do not fit the search file.
    """
    values, adjustments = values_of(space, point)
    of_this_run = {
        "model_name": run_name(space.config.hp_search_name, run_number),
        "device": space.settings["device"] or device,
    }
    file = space.description.nested({**space.settings, **values, **of_this_run})
    config = space.config.run_file.model_validate(file)
    return assert_valid(config), adjustments


def values_of(space: SearchSpace, point: Point) -> tuple[dict[str, Any], list[Adjustment]]:
    """Values of the searched fields as they are trained at a point, and what was adjusted.

    Whether or not the point's values are among the candidates now.
    """
    return resolve(space.point_values(point), space.column_order)
