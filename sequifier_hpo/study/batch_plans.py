"""The batches that out-of-memory retries left, and what ran out of memory, as trials store them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sequifier_hpo.records import BatchPlan, MemoryNeed

BATCH_PLAN_ATTRIBUTES = ("effective_batch_size", "effective_accumulation_steps", "oom_retries")
"""User attributes, in the order of the fields of a `BatchPlan`."""
FORESEEN = "oom_foreseen"
"""User attribute: attempts that were counted as out of memory without being made."""
RAN_OUT = "ran_out_of_memory"
"""User attribute: each `MemoryNeed` that the trial has proven to be too much for its device."""
OF_THE_RUN = (*BATCH_PLAN_ATTRIBUTES, FORESEEN)
"""User attributes that the next trial of a run takes over."""


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


def memory_attributes(num_foreseen: int, ran_out: Sequence[MemoryNeed]) -> dict[str, Any]:
    """What is remembered about memory, as user attributes; nothing is no attribute."""
    found = {FORESEEN: num_foreseen, RAN_OUT: [need.model_dump(mode="json") for need in ran_out]}
    return {name: value for name, value in found.items() if value}


def ran_out_of(attributes: Mapping[str, Any]) -> list[MemoryNeed]:
    """What a trial has proven to be too much for its device.

    Raises:
        ValueError, TypeError: If that is not what this program stores.
    """
    return [MemoryNeed.model_validate(need) for need in attributes.get(RAN_OUT, ())]
