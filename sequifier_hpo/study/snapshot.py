"""A study as `status`, `best` and `report` see it: read only."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import optuna

from sequifier_hpo.records import Baseline, DataDigest, Run
from sequifier_hpo.study.baselines import BASELINES, baselines_in
from sequifier_hpo.study.identity import SPACE, StudyIdentity, read_identity
from sequifier_hpo.study.opening import load_stored_study, stored_attributes
from sequifier_hpo.study.plan import StudyPlan
from sequifier_hpo.study.refusals import SpaceChangedError, UnknownDataError
from sequifier_hpo.study.runs import RunIndex
from sequifier_hpo.study.storages import Storage, StudyMissingError
from sequifier_hpo.study.stored import require, understood
from sequifier_hpo.study.trials import TrialReader

STRATEGY, NUM_RUNS = "strategy", "num_runs"
"""User attributes of the study."""
STOPPED_BY = "stopped_by"
"""User attribute of the study: the budget that left runs when its last search ended, or ""."""
VERIFIES = "verifies"
"""User attribute of a winner check: name of the study whose runs are checked."""


@dataclass(frozen=True)
class StudySnapshot:
    """A study without its search file."""

    name: str
    strategy: str
    num_runs: int
    space: Mapping[str, Any]
    runs: tuple[Run, ...]
    read_at: datetime
    identity: StudyIdentity | None
    """None in studies of 0.1.0, which did not store what their data were."""
    baselines: tuple[Baseline, ...]
    stopped_by: str = ""
    """The budget that left runs when its last search ended; "" = none."""

    @property
    def study_id(self) -> str | None:
        """The study's unique id; None in studies of 0.1.0."""
        return None if self.identity is None else self.identity.study_id

    @property
    def with_outside(self) -> "StudySnapshot":
        """The same with the runs that are outside the present space ranked among the others."""
        return replace(self, runs=tuple(replace(run, ranks_outside=True) for run in self.runs))

    def require_space(self, plan: StudyPlan) -> None:
        """Make sure that the study has the search space that is planned.

        Raises:
            SpaceChangedError: If it has another.
        """
        change = plan.change_of(self.space, self.identity, self.runs)
        if change is not None:
            raise SpaceChangedError(self.name, change)

    def require_data(self, present: DataDigest) -> None:
        """Make sure that the present data are those of the study.

        Raises:
            DataChangedError: If they are not.
            UnknownDataError: If the study does not say what its data were.
        """
        if self.identity is None:
            raise UnknownDataError(self.name)
        self.identity.require_data(self.name, present, self.runs)


def read_study(storage: Storage, name: str) -> StudySnapshot:
    """Read a study without changing anything.

    Raises:
        StudyMissingError: If there is no such study in the storage.
        StorageFaultError: If the storage cannot be read.
    """
    with storage.faults():
        study = load_stored_study(storage, name)
        if study is None:
            names = optuna.get_all_study_names(storage.cached)
            known = ", ".join(map(str, names)) if names else "none"
            raise StudyMissingError(
                f"there is no study `{name}` in {storage.shown_url}", f"studies there: {known}"
            )
        with understood("the study"):
            attrs = study.user_attrs
            strategy, num_runs = attrs.get(STRATEGY, ""), attrs.get(NUM_RUNS, 0)
            stopped_by = attrs.get(STOPPED_BY, "")
            require(
                {
                    STRATEGY: (strategy, str),
                    NUM_RUNS: (num_runs, int),
                    STOPPED_BY: (stopped_by, str),
                }
            )
    index = RunIndex()
    with storage.reading() as connection:
        stored = stored_attributes(connection, study)
        identity = read_identity(stored)
        for trial in TrialReader(study._study_id).new(connection):
            index.put(trial)
    return StudySnapshot(
        name=name,
        strategy=strategy,
        num_runs=num_runs,
        space=stored.get(SPACE, {}),
        runs=tuple(index.runs()),
        read_at=datetime.now().astimezone(),
        identity=identity,
        baselines=baselines_in(attrs.get(BASELINES)),
        stopped_by=stopped_by,
    )
