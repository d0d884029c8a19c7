"""The batch plan left by out-of-memory retries, as trials store it in their attributes."""

from collections.abc import Mapping
from typing import Any

from sequifier_hpo.records import BatchPlan

BATCH_PLAN_ATTRIBUTES = ("effective_batch_size", "effective_accumulation_steps", "oom_retries")
"""User attributes, in the order of the fields of a `BatchPlan`."""


def batch_plan_attributes(plan: BatchPlan) -> dict[str, Any]:
    """A plan as user attributes, which tables can sort by."""
    values = (plan.batch_size, plan.accumulation_steps, plan.oom_retries)
    return dict(zip(BATCH_PLAN_ATTRIBUTES, values, strict=True))


def batch_plan_of(attributes: Mapping[str, Any]) -> BatchPlan | None:
    """The plan among the user attributes of a trial, or None if no retry has changed anything."""
    batch_size, accumulation_steps, oom_retries = map(attributes.get, BATCH_PLAN_ATTRIBUTES)
    if not oom_retries or batch_size is None:
        return None
    return BatchPlan(
        batch_size=batch_size, accumulation_steps=accumulation_steps, oom_retries=oom_retries
    )
