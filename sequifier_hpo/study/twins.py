"""Grid cells that mean the same as a run: they take its result."""

from collections.abc import Callable

from sqlalchemy import Connection

from sequifier_hpo.records import RunState
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study import transactions
from sequifier_hpo.study.known_trials import KnownTrials
from sequifier_hpo.study.proposing import Proposal, Proposer
from sequifier_hpo.study.storages import Storage
from sequifier_hpo.study.tags import own_tag
from sequifier_hpo.study.trial_writer import TrialWriter
from sequifier_hpo.study.trials import StoredTrial


class Twins:
    """The cells of one study's grid that are trained as another cell."""

    def __init__(
        self,
        study_id: int,
        proposer: Proposer,
        known: KnownTrials,
        writer: TrialWriter,
        is_present: Callable[[Connection], bool],
    ) -> None:
        """Take the parts.

        Args:
            study_id: Number of the study in the storage.
            proposer: Knows which cells mean the same.
            known: The trials of the study.
            writer: Inserts them.
            is_present: Whether the study still is what it was when it was opened.
        """
        self._study_id = study_id
        self._proposer = proposer
        self._known = known
        self._writer = writer
        self._is_present = is_present

    def insert_missing(self, storage: Storage) -> None:
        """Make up for those of runs that were completed as part of a sample, or of a former space."""
        index = self._known.index
        complete = [index.trials(key)[-1] for key in index.keys(RunState.COMPLETE)]
        missing = [trial for trial in complete if any(self._missing(trial))]
        if not missing:
            return
        with storage.writing() as connection:
            transactions.lock_study(connection, self._study_id)
            self._known.take_in_new(connection)
            for trial in sorted(missing, key=lambda a: a.number):
                self.insert(connection, trial)
        self._known.catch_up()

    def insert(self, connection: Connection, original: StoredTrial) -> None:
        """Give those of a complete run its result."""
        twins = self._missing(original)
        if twins:
            transactions.lock_study(connection, self._study_id)
            if self._is_present(connection):
                self._writer.twins(connection, original, twins)

    def _missing(self, original: StoredTrial) -> list[Proposal]:
        """Cells that are still to take the result of a complete run."""
        tag = own_tag(original)
        taken = [own_tag(twin).point for twin in self._known.index.duplicates.get(tag.key, [])]
        point = Point.from_json(tag.point)
        twins = self._proposer.twins(tag.key, point)
        return [twin for twin in twins if twin.point.as_json() not in taken]
