"""Which run a trial belongs to, as it is stored with the trial."""

from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.study.trials import StoredTrial

TAG = "sequifier_hpo:tag"
"""System attribute of a trial: a `RunTag`."""
_RANK, _RUN = "sequifier_hpo:rank", "sequifier_hpo:run"
"""What stood there in studies of 0.1.0: a place in a seeded order, and the run's number."""


class RunTag(FrozenModel):
    """The run that a trial belongs to."""

    key: str
    """The run's identity: digest of what it trains and of the data it reads."""
    ordinal: int
    """From 0: the order in which the study first handed its runs out."""
    point: dict[str, Any]
    """The chosen values, by parameter; empty in studies of 0.1.0, which stored labels only."""
    run: int | None = None
    """Number of the run's first trial; None = this one is the first."""
    host: str = ""
    """Where the run's files are."""
    folder: str = ""
    """The project's root on that host."""
    unused: dict[str, int | float] = Field(default={})
    """Ranges that the run does not have -> the numbers that were proposed for them all the same."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        stored: dict[str, Any] = serialize(self)
        return stored if self.unused else {k: v for k, v in stored.items() if k != "unused"}


def tag_of(trial: StoredTrial) -> RunTag | None:
    """The run that a trial belongs to; None if it is not one of ours."""
    attrs = trial.system_attrs
    if TAG in attrs:
        return RunTag.model_validate(attrs[TAG])
    if _RANK in attrs:
        rank = int(attrs[_RANK])
        return RunTag(key=f"rank {rank}", ordinal=rank, point={}, run=attrs.get(_RUN))
    return None


def own_tag(trial: StoredTrial) -> RunTag:
    """The run that a trial of ours belongs to."""
    tag = tag_of(trial)
    assert tag is not None, "only ours are taken in"
    return tag


def is_of_0_1_0(trial: StoredTrial) -> bool:
    """Whether a trial was stored by 0.1.0, which did not know what its data were."""
    return TAG not in trial.system_attrs and _RANK in trial.system_attrs
