"""What a coordinator and the ledger exchange about a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sequifier_hpo.records import BatchPlan, MemoryNeed
from sequifier_hpo.searchspace import Point


class LeaseLostError(Exception):
    """The trial was finished by another coordinator, which took this one for dead."""


@dataclass(frozen=True)
class Claim:
    """A trial that this coordinator runs."""

    trial_id: int
    trial_number: int
    run_number: int
    title: str
    """What is trained, for people: `run 5`."""
    key: str
    point: Point
    is_continuation: bool
    """Whether an earlier trial of the run may have left a checkpoint."""
    batch_plan: BatchPlan | None
    """What an out-of-memory retry of an earlier trial had come down to; None = as configured."""
    stopped_at: int | None = None
    """Epoch of the rung at which the run was stopped; now it is given its full length."""
    ran_out: Sequence[MemoryNeed] = ()
    """What the trials so far have proven to be more than a kind of device has."""


@dataclass(frozen=True)
class Description:
    """What people are shown of a run besides its parameters."""

    title: Callable[[int], str] = "run {}".format
    """Run number -> what it is called."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """User attributes that its trials begin with."""
    note: Callable[[int], str] | None = None
    """Run number -> Markdown; None = no note."""


@dataclass(frozen=True)
class Place:
    """Where the files of this coordinator's runs are."""

    host: str = ""
    folder: str = ""


NOWHERE = Place()
"""Where nothing is said about it."""
