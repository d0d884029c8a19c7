"""The trials that a ledger inserts: of runs that begin or go on, and of cells that mean the same."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.trial import TrialState
from sqlalchemy import Connection

from sequifier_hpo.records import RunState, Stored
from sequifier_hpo.searchspace import AllSpaces, Point, SearchSpace
from sequifier_hpo.study import transactions
from sequifier_hpo.study.batch_plans import OF_THE_RUN
from sequifier_hpo.study.claims import Description, Place
from sequifier_hpo.study.distributions import distributions
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.notes import MAX_TRIAL_NOTES
from sequifier_hpo.study.proposing import Proposal
from sequifier_hpo.study.runs import AS_TRAINED, DUPLICATE_OF, OWNER, run_number, state_of
from sequifier_hpo.study.tags import TAG, RunTag, own_tag
from sequifier_hpo.study.transactions import NewTrial
from sequifier_hpo.study.trials import StoredTrial

_BECOMES = {
    RunState.INTERRUPTED: ("was interrupted, and did not fail", "continued"),
    RunState.PRUNED: ("was stopped early", "given its full length"),
}
"""How a trial ended, and what becomes of it in the next one of its run."""


class TrialWriter:
    """Inserts trials into one study; every method needs the lock of the study's row."""

    def __init__(
        self,
        study_id: int,
        space: SearchSpace | AllSpaces,
        owner: Owner,
        *,
        describe: Callable[[str, Point], Description],
        place: Place,
    ) -> None:
        """Name the study.

        Args:
            study_id: Its number in the storage.
            space: That of the study; all that it has had, if it was revised.
            owner: Who runs what is inserted.
            describe: (key, point) -> what people are shown of a run.
            place: Where the files of the runs are.
        """
        self._study_id = study_id
        self._distributions = transactions.Distributions(distributions(space))
        self._owner = owner
        self._spaces = space if isinstance(space, AllSpaces) else None
        self._describe = describe
        self._place = place

    def first(self, connection: Connection, proposal: Proposal, ordinal: int) -> StoredTrial:
        """Insert the first trial of a run."""
        tag = RunTag(
            key=proposal.key,
            ordinal=ordinal,
            point=proposal.point.as_json(),
            unused=dict(proposal.unused),
            host=self._place.host,
            folder=self._place.folder,
        )
        return self._insert(connection, tag, self._params(proposal), {})

    def next(self, connection: Connection, earlier: StoredTrial) -> StoredTrial:
        """Insert one more trial of the run of an earlier one."""
        place = {"host": self._place.host, "folder": self._place.folder}
        tag = own_tag(earlier).model_copy(update={"run": run_number(earlier), **place})
        attrs = earlier.user_attrs
        inherited = {key: attrs[key] for key in OF_THE_RUN if key in attrs}
        what, become = _BECOMES.get(state_of([earlier]), ("failed", "tried again"))
        told = f"**Trial {earlier.number} of this run {what}; it is {become} by this one.**"
        trial = self._insert(connection, tag, earlier.params, inherited, told)
        if self._describe(tag.key, Point.from_json(tag.point)).note is not None and (
            earlier.number < MAX_TRIAL_NOTES
        ):
            told = f"**This trial {what}; it is {become} by trial {trial.number}.**"
            transactions.head_trial_note(connection, self._study_id, earlier.trial_id, told)
        return trial

    def twins(
        self, connection: Connection, original: StoredTrial, twins: Sequence[Proposal]
    ) -> None:
        """Let grid cells take the result of a complete run."""
        run, tag = run_number(original), own_tag(original)
        described = [self._describe(twin.key, twin.point) for twin in twins]
        before = original.user_attrs.get(AS_TRAINED)
        shared = {DUPLICATE_OF: run, **({} if before is None else {AS_TRAINED: before})}
        trials = [
            NewTrial(
                state=TrialState.COMPLETE,
                value=original.value,
                params=self._params(twin),
                user_attrs={**about.attributes, **shared},
                system_attrs={
                    TAG: tag.model_copy(
                        update={"point": twin.point.as_json(), "run": None}
                    ).model_dump(mode="json")
                },
            )
            for twin, about in zip(twins, described, strict=True)
        ]
        inserted = transactions.insert_trials(
            connection, self._study_id, self._distributions, trials
        )
        for (trial_id, number), about in zip(inserted, described, strict=True):
            self._note(connection, trial_id, number, run, about)

    def _params(self, proposal: Proposal) -> Mapping[str, Stored]:
        """What is stored of a run: in a revised study not by its place in the present lists."""
        return proposal.labels if self._spaces is None else self._spaces.stored(proposal.point)

    def _insert(
        self,
        connection: Connection,
        tag: RunTag,
        params: Mapping[str, Stored],
        inherited: Mapping[str, Any],
        told: str = "",
    ) -> StoredTrial:
        described = self._describe(tag.key, Point.from_json(tag.point))
        new = NewTrial(
            state=TrialState.RUNNING,
            params=params,
            user_attrs={**described.attributes, **inherited},
            system_attrs={
                TAG: tag.model_dump(mode="json"),
                OWNER: self._owner.model_dump_json(),
            },
        )
        ((trial_id, number),) = transactions.insert_trials(
            connection, self._study_id, self._distributions, [new]
        )
        run = number if tag.run is None else tag.run
        self._note(connection, trial_id, number, run, described, told)
        return StoredTrial(
            trial_id=trial_id,
            number=number,
            state=new.state,
            value=None,
            params=new.params,
            user_attrs=dict(new.user_attrs),
            system_attrs=new.system_attrs,
            losses={},
            started=new.created.astimezone(),
            ended=None,
            logarithmic=self._distributions.logarithmic(params),
        )

    def _note(
        self,
        connection: Connection,
        trial_id: int,
        number: int,
        run: int,
        described: Description,
        told: str = "",
    ) -> None:
        """Put a note on a new trial of a run, below what is told of an earlier trial."""
        if described.note is not None and number < MAX_TRIAL_NOTES:
            body = "\n\n".join(filter(None, (told, described.note(run))))
            transactions.note_trial(connection, self._study_id, trial_id, body)
