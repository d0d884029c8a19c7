"""What a study is, as it is stored with it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.digests import digest_differences
from sequifier_hpo.records import Counted, DataDigest, Run
from sequifier_hpo.study.lessons import WarmStart
from sequifier_hpo.study.proposing import SpaceRevision
from sequifier_hpo.study.refusals import DataChangedError
from sequifier_hpo.study.stored import understood

SPACE, IDENTITY = "sequifier_hpo:space", "sequifier_hpo:identity"
"""System attributes of the study."""
REVISION = "sequifier_hpo:revision"
"""System attribute: that of the identity. Small: every claim looks at it."""

_ONLY_IF_ANY = frozenset({"spaces", "warm_start", "counted_before"})
"""What studies without it are stored without, as they always were."""


class DataRevision(FrozenModel):
    """The data of a study from some moment on."""

    since: datetime
    digest: DataDigest


class Strategy(FrozenModel):
    """How the runs of a study are chosen from some ordinal on."""

    since_ordinal: int
    settings: dict[str, Any]


class StudyIdentity(FrozenModel):
    """The identity of a study, as stored with it."""

    study_id: str
    """Unique, whatever the storage and the name."""
    counted: Counted
    """Which positions the losses of all its runs count."""
    data: list[DataRevision] = Field(min_length=1)
    """Oldest first; the last holds."""
    strategies: tuple[Strategy, ...] = ()
    """Oldest first; the last holds for what is handed out next."""
    spaces: tuple[SpaceRevision, ...] = ()
    """Oldest first, the first included; none in a study that has had one space only."""
    warm_start: WarmStart | None = None
    """The earlier studies that guide it; None = there are none."""
    counted_before: tuple[int, ...] = ()
    """How many positions at the end of every window counted before there were fewer, oldest first."""

    @property
    def recounted_to(self) -> int | None:
        """How many positions count now, if there were more once; else None."""
        return self.counted.last_positions if self.counted_before else None

    @property
    def revision(self) -> int:
        """Grows with each change: who has another number works on what is no longer so."""
        return len(self.data) + len(self.strategies) + len(self.spaces)

    def data_changes(self, present: DataDigest, *, is_revised: bool = False) -> list[str]:
        """What differs between the study's data and those at hand, in the columns of the latter.

        Args:
            present: The data that runs of the present space read.
            is_revised: Whether that space is to be a new one, which may read more columns.
        """
        last = self.data[-1].digest
        columns = [*present.training.columns, *present.validation.columns]
        if is_revised:
            columns = [c for c in columns if c in last.training.columns]
        return digest_differences(last, present, columns)

    def require_data(
        self, name: str, present: DataDigest, runs: Sequence[Run], *, is_revised: bool = False
    ) -> None:
        """Make sure that the present data are those of the study; arguments as of `data_changes`.

        Raises:
            DataChangedError: If they are not.
        """
        if lines := self.data_changes(present, is_revised=is_revised):
            affected = [
                run.number for run in runs if run.duplicate_of is None and not run.is_of_other_data
            ]
            raise DataChangedError(name, lines, self.data[-1].since, affected)

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        stored: dict[str, Any] = serialize(self)
        return {k: v for k, v in stored.items() if v or k not in _ONLY_IF_ANY}


def read_identity(stored: Mapping[str, Any]) -> StudyIdentity | None:
    """What a study is, from its system attributes; None in studies of 0.1.0.

    Raises:
        StoredValueError: If they are not what this program stores.
    """
    if IDENTITY not in stored:
        return None
    with understood("what the study is"):
        return StudyIdentity.model_validate(stored[IDENTITY])
