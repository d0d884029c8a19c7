"""The losses of trivial predictors, as a study keeps them."""

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sequifier_hpo.records import Baseline

BASELINES = "baselines"
"""User attribute of the study."""
_STORED = TypeAdapter(tuple[Baseline, ...])


def attribute_of(baselines: Sequence[Baseline]) -> list[dict[str, Any]]:
    """Baselines as the attribute of a study."""
    return [baseline.model_dump() for baseline in baselines]


def baselines_in(attribute: object) -> tuple[Baseline, ...]:
    """The baselines in a study's attribute; none if it is absent, or something else."""
    try:
        return _STORED.validate_python(attribute)
    except ValidationError:
        return ()
