"""Create a study or open an existing one, and make sure that it is the intended study.

What a study is: a unique id, the space it was given, the data its runs are trained and judged on,
and which positions its losses count. Its name alone is none of these.
"""

import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Any, Protocol

import optuna
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer
from sqlalchemy import Connection

from sequifier_hpo.config.schema import FrozenModel
from sequifier_hpo.digests import digest_differences
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Counted, DataDigest, Run
from sequifier_hpo.searchspace import (
    Point,
    SearchSpace,
    describe_space,
    differences,
    point_of_labels,
)
from sequifier_hpo.study import transactions
from sequifier_hpo.study.baselines import BASELINES
from sequifier_hpo.study.lessons import (
    NOTHING_EARLIER,
    Earlier,
    WarmStart,
    judged_again,
    lesson_attributes,
    stored_lessons,
)
from sequifier_hpo.study.runs import OF_OTHER_DATA, RunIndex, run_number
from sequifier_hpo.study.storages import Storage
from sequifier_hpo.study.stored import understood
from sequifier_hpo.study.tags import TAG, RunTag, is_of_0_1_0, own_tag
from sequifier_hpo.study.trials import StoredTrial, TrialReader
from sequifier_hpo.words import run_numbers

METRIC = "validation_loss"
SPACE, IDENTITY = "sequifier_hpo:space", "sequifier_hpo:identity"
"""System attributes of the study."""
REVISION = "sequifier_hpo:revision"
"""System attribute: that of the identity. Small: every claim looks at it."""
_FINGERPRINT = "sequifier_hpo:fingerprint"
"""What studies of 0.1.0 had in place of an identity."""
_INFEASIBLE = "constraints:data"
"""System attribute by which Optuna itself leaves a trial out when it looks for the best."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


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
    warm_start: WarmStart | None = None
    """The earlier studies that guide it; None = there are none."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        stored: dict[str, Any] = serialize(self)
        return {k: v for k, v in stored.items() if k != "warm_start" or v is not None}

    @property
    def revision(self) -> int:
        """Grows with each change: who has another number works on what is no longer so."""
        return len(self.data) + len(self.strategies)

    def require_data(self, name: str, present: DataDigest, runs: Sequence[Run]) -> None:
        """Make sure that the present data are those of the study.

        Raises:
            DataChangedError: If they are not.
        """
        last = self.data[-1]
        if lines := digest_differences(last.digest, present):
            affected = [
                run.number for run in runs if run.duplicate_of is None and not run.is_of_other_data
            ]
            raise DataChangedError(name, lines, last.since, affected)


class Permit(Protocol):
    """Whether something outside the storage stands in the way of a study."""

    def __call__(self, identity: StudyIdentity, *, is_new: bool, is_adopted: bool) -> None:
        """Permit it, or raise.

        Args:
            identity: What the study is, or is to be.
            is_new: Whether the storage has no study of its name yet.
            is_adopted: Whether 0.1.0 started it.

        Raises:
            InputError: If something does.
        """


def permit_all(identity: StudyIdentity, *, is_new: bool, is_adopted: bool) -> None:
    """Permit every study."""


@dataclass(frozen=True)
class StudyPlan:
    """What a study should be."""

    name: str
    space: SearchSpace
    data: DataDigest
    """Of all columns that some run of the space reads."""
    counted: Counted
    """For a new study; one that exists keeps its own."""
    key_of: Callable[[Point, int | None], str]
    """(point, seed) -> key on the present data; None = the search's own seed."""
    permit: Permit = permit_all
    """Asked before anything is stored."""
    strategy: Mapping[str, Any] = field(default_factory=dict)
    """What decides which runs are chosen, as plain JSON values."""
    earlier: Earlier = NOTHING_EARLIER
    """The studies that are to guide it, if it is new."""


@dataclass(frozen=True)
class Consent:
    """What the user agreed to about data that are not, or may not be, those of the earlier runs."""

    new_data: bool = False
    """Go on with other data: runs on the earlier ones stay, and are not ranked."""
    same_data: bool = False
    """The data of a study that did not record them are unchanged."""


NO_CONSENT = Consent()


class SpaceChangedError(InputError):
    """The study in the storage was started with another search space."""

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self.lines = tuple(lines)
        super().__init__(
            f"the study `{name}` was started with another search space:\n{_indented(lines)}\n"
            "      (- stored, + in the file now, ~ changed)",
            "undo the change to continue this study, or give the new search another hp_search_name",
        )


class DataChangedError(InputError):
    """The study's runs were trained on other data than are there now."""

    def __init__(
        self, name: str, lines: Sequence[str], since: datetime, runs: Sequence[int]
    ) -> None:
        self.lines = tuple(lines)
        moment = f"{since.astimezone():%Y-%m-%d %H:%M}"
        which = f", for {run_numbers(runs)}" if runs else ""
        super().__init__(
            f"the data of the study `{name}` have changed. It has used the earlier ones since "
            f"{moment}{which}:\n{_indented(lines)}",
            "restore the earlier data, give the new search another hp_search_name, or continue "
            "with --accept-new-data: the earlier runs then stay in the study, marked, and are "
            "not ranked with the new ones",
        )


class StudyMovedOnError(InputError):
    """Someone else has changed the data of the study, or how its runs are chosen, meanwhile."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the study `{name}` has gone on with other data, or with another search_strategy, "
            "pruning or gap, since this search was started",
            "start the search again: it goes on with what is there now",
        )


class UnknownDataError(InputError):
    """The study was started by 0.1.0, which did not record its data."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"the study `{name}` was started by sequifier-hpo 0.1.0, which did not record what "
            "data its runs were trained on",
            "if the data are unchanged since then, start the search once with --same-data; if they "
            "are not, with --accept-new-data (the earlier runs then stay, marked, and are not "
            "ranked with the new ones), or give the new search another hp_search_name",
        )


def open_study(storage: Storage, plan: StudyPlan, consent: Consent) -> tuple[int, StudyIdentity]:
    """Create the study, or open it if it exists.

    Returns:
        Optuna's number of the study, and what the study is.

    Raises:
        SpaceChangedError: If it exists with another search space.
        DataChangedError: If its runs were trained on other data, and the user has not agreed.
        UnknownDataError: If it does not record what they were trained on.
        InputError: If its losses cannot be compared with those of new runs, or what
            `plan.permit` and `plan.earlier` raise.
    """
    with storage.faults(), storage.lock():
        study = load_stored_study(storage, plan.name)
        stored, read_index = _stored(storage, study)
        description = describe_space(plan.space)
        if stored.get(SPACE) and (changed := differences(stored[SPACE], description)):
            raise SpaceChangedError(plan.name, changed)
        known = read_identity(stored)
        if known is None:
            identity = _first_identity(plan, read_index(), consent)
        else:
            identity = _with_present_data(known, plan, read_index, consent)
        identity = _with_present_strategy(identity, plan, read_index)
        begun = known is not None or bool(read_index().all_trials())
        warm_start, lessons = plan.earlier.copied(plan.name, identity.warm_start, has_begun=begun)
        if study and warm_start and known and identity.data != known.data:
            with storage.reading() as connection:
                lessons = stored_lessons(connection, study._study_id)
            warm_start, lessons = judged_again(warm_start, lessons, plan.key_of)
        identity = identity.model_copy(update={"warm_start": warm_start})
        is_new, is_adopted = study is None, study is not None and known is None
        plan.permit(identity, is_new=is_new, is_adopted=is_adopted)
        study = study or _create(storage, plan.name)
        if identity != known:
            attributes = {
                SPACE: description,
                IDENTITY: identity.model_dump(mode="json"),
                REVISION: identity.revision,
                **lesson_attributes(lessons),
            }
            with storage.writing() as connection:
                transactions.set_study_system_attrs(connection, study._study_id, attributes)
                if known is None or identity.data != known.data:
                    transactions.set_study_attrs(connection, study._study_id, {BASELINES: []})
                    described = stored.get(SPACE, description)
                    _adopt(connection, plan, described, read_index().all_trials(), consent)
        return study._study_id, identity


def read_identity(stored: Mapping[str, Any]) -> StudyIdentity | None:
    """What a study is, from its system attributes; None in studies of 0.1.0.

    Raises:
        StoredValueError: If they are not what this program stores.
    """
    if IDENTITY not in stored:
        return None
    with understood("what the study is"):
        return StudyIdentity.model_validate(stored[IDENTITY])


def load_stored_study(storage: Storage, name: str) -> optuna.Study | None:
    """The study of a name; None if there is none.

    Raises:
        StoredValueError: If the storage holds something else.
    """
    # Always a sampler: the default one would be built for nothing.
    sampler = optuna.samplers.RandomSampler()
    with understood("the study"), suppress(KeyError):
        return optuna.load_study(study_name=name, storage=storage.cached, sampler=sampler)
    return None


def _create(storage: Storage, name: str) -> optuna.Study:
    study = optuna.create_study(
        study_name=name,
        storage=storage.cached,
        sampler=optuna.samplers.RandomSampler(),
        direction="minimize",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([METRIC])
    return study


def _stored(
    storage: Storage, study: optuna.Study | None
) -> tuple[dict[str, Any], Callable[[], RunIndex]]:
    """What is stored of a study, and a function that reads its trials once they are needed."""

    @cache
    def read_index() -> RunIndex:
        index = RunIndex()
        if study is not None:
            with storage.reading() as connection:
                for trial in TrialReader(study._study_id).new(connection):
                    index.put(trial)
        return index

    if study is None:
        return {}, read_index
    with storage.reading() as connection:
        return stored_attributes(connection, study), read_index


def stored_attributes(connection: Connection, study: optuna.Study) -> dict[str, Any]:
    """The study's space and identity as they are stored, as far as they are.

    Raises:
        StoredValueError: If they are not what this program stores.
    """
    keys = (SPACE, IDENTITY, _FINGERPRINT)
    with understood("the study's space"):
        stored = transactions.study_system_attrs(connection, study._study_id, keys)
        if SPACE not in stored and "space" in study.user_attrs:  # where it stood at first
            stored[SPACE] = study.user_attrs["space"]
        if SPACE in stored:
            differences(stored[SPACE], stored[SPACE])  # it can be read
    return stored


def _first_identity(plan: StudyPlan, index: RunIndex, consent: Consent) -> StudyIdentity:
    """The identity of a new study, or of one of 0.1.0 whose user has confirmed the data."""
    counted = plan.counted
    if any(map(is_of_0_1_0, index.all_trials())):
        if not (consent.same_data or consent.new_data):
            raise UnknownDataError(plan.name)
        if counted.last_positions is not None and not consent.new_data:
            raise InputError(
                f"the study `{plan.name}` searches seq_length, and was started by sequifier-hpo "
                "0.1.0, whose losses counted all positions of each run's own window: they cannot "
                "be compared with each other, nor with new ones",
                "give the search another hp_search_name; `status`, `best`, `report` and `export` "
                "can still read the old study",
            )
    revision = DataRevision(since=datetime.now(UTC), digest=plan.data)
    return StudyIdentity(study_id=uuid.uuid4().hex, counted=counted, data=[revision])


def _with_present_data(
    identity: StudyIdentity, plan: StudyPlan, read_index: Callable[[], RunIndex], consent: Consent
) -> StudyIdentity:
    last = identity.data[-1]
    if last.digest == plan.data:
        return identity
    if not consent.new_data:
        identity.require_data(plan.name, plan.data, read_index().runs())
    revision = DataRevision(since=datetime.now(UTC), digest=plan.data)
    return identity.model_copy(update={"data": [*identity.data, revision]})


def _with_present_strategy(
    identity: StudyIdentity, plan: StudyPlan, read_index: Callable[[], RunIndex]
) -> StudyIdentity:
    known = identity.strategies
    if known[-1].settings == plan.strategy if known else not plan.strategy:
        return identity
    now = Strategy(since_ordinal=read_index().next_ordinal, settings=dict(plan.strategy))
    return identity.model_copy(update={"strategies": (*known, now)})


def _adopt(
    connection: Connection,
    plan: StudyPlan,
    described: Mapping[str, Any],
    trials: Sequence[StoredTrial],
    consent: Consent,
) -> None:
    """Give trials of 0.1.0 their tags, and mark those whose data are not the present ones."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    old = _ordinals([trial for trial in trials if is_of_0_1_0(trial)])
    for trial in trials:
        tag = own_tag(trial)
        seed = trial.user_attrs.get("seed") if _is_check(trial) else None
        if trial.trial_id in old:
            with understood(f"trial {trial.number}"):
                point = point_of_labels(described, trial.params)
            key = plan.key_of(point, seed)
            is_present = consent.same_data
            tag = RunTag(
                key=key if is_present else f"0.1.0 {tag.key}",
                ordinal=old[trial.trial_id],
                point=point.as_json(),
                run=None if run_number(trial) == trial.number else run_number(trial),
            )
            transactions.set_trial_attrs(
                connection, trial.trial_id, system={TAG: tag.model_dump(mode="json")}
            )
        else:
            is_present = plan.key_of(Point.from_json(tag.point), seed) == tag.key
        is_marked = OF_OTHER_DATA in trial.user_attrs
        if is_present == is_marked:
            transactions.set_trial_attrs(
                connection,
                trial.trial_id,
                user={OF_OTHER_DATA: None if is_present else now},
                system={_INFEASIBLE: None if is_present else 1.0},
            )


def _is_check(trial: StoredTrial) -> bool:
    """Whether a trial belongs to a winner check, whose seeds are its own."""
    return "verified_run" in trial.user_attrs


def _ordinals(trials: Sequence[StoredTrial]) -> dict[int, int]:
    """Trial id -> ordinal of its run: the order in which the runs were started."""
    numbers = sorted({run_number(trial) for trial in trials})
    ordinals = {number: ordinal for ordinal, number in enumerate(numbers)}
    return {trial.trial_id: ordinals[run_number(trial)] for trial in trials}


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"      {line}" for line in lines)
