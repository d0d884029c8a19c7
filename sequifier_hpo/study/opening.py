"""Create a study or open an existing one, and make sure that it is the intended study.

What a study is: a unique id, the space it was given, the data its runs are trained and judged on,
and which positions its losses count. Its name alone is none of these.
"""

import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

import optuna
from sqlalchemy import Connection

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import EvaluatedLoss, Run
from sequifier_hpo.searchspace import comparable, describe_space, differences
from sequifier_hpo.study import transactions
from sequifier_hpo.study.baselines import BASELINES
from sequifier_hpo.study.identity import (
    IDENTITY,
    REVISION,
    SPACE,
    DataRevision,
    Strategy,
    StudyIdentity,
    read_identity,
)
from sequifier_hpo.study.lessons import (
    Lesson,
    WarmStart,
    forgotten,
    judged_again,
    lesson_attributes,
    stored_lessons,
)
from sequifier_hpo.study.marking import adopt, all_spaces, mark, store_again
from sequifier_hpo.study.plan import StudyPlan, seen_of
from sequifier_hpo.study.proposing import SpaceRevision
from sequifier_hpo.study.recounting import recount
from sequifier_hpo.study.refusals import (
    Recounting,
    RunsMovedOnError,
    SpaceChange,
    SpaceChangedError,
    UnknownDataError,
)
from sequifier_hpo.study.runs import RunIndex
from sequifier_hpo.study.storages import Storage
from sequifier_hpo.study.stored import understood
from sequifier_hpo.study.tags import is_of_0_1_0
from sequifier_hpo.study.trials import TrialReader

METRIC = "validation_loss"
_FINGERPRINT = "sequifier_hpo:fingerprint"
"""What studies of 0.1.0 had in place of an identity."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Consent:
    """What the user agreed to about data and spaces that are not, or may not be, as before."""

    new_data: bool = False
    """Go on with other data: runs on the earlier ones stay, and are not ranked."""
    same_data: bool = False
    """The data of a study that did not record them are unchanged."""
    changes: bool = False
    """Go on with another space: runs that are not in it stay, and are not ranked."""


NO_CONSENT = Consent()


@dataclass(frozen=True)
class Opened:
    """A study that is open."""

    number: int
    """Optuna's number of it."""
    identity: StudyIdentity
    change: SpaceChange | None
    """How it was revised when it was opened."""


@dataclass(frozen=True)
class Foreseen:
    """What the opening of a study will do to it, found out before anybody is kept waiting."""

    former: Mapping[str, Any]
    """Its space as it was then."""
    known: StudyIdentity | None
    """What it was then."""
    change: SpaceChange | None
    """What becomes of its space; None = nothing."""
    losses: Mapping[int, EvaluatedLoss] = field(default_factory=dict)
    """Run number -> what was evaluated anew."""


def foresee(storage: Storage, plan: StudyPlan, consent: Consent) -> Foreseen:
    """Find out what a plan changes; evaluate runs anew, which takes seconds each, if the user agreed.

    Raises:
        SpaceChangedError: If it changes the space, and cannot, or the user has not agreed.
        InputError: If a model cannot be used.
    """

    def look() -> tuple[Foreseen, list[Run]]:
        with storage.faults():
            stored, read_index = _stored(storage, load_stored_study(storage, plan.name))
        known, former = read_identity(stored), stored.get(SPACE, {})
        change, runs = None, []
        if former and differences(former, describe_space(plan.space)):
            runs = read_index().runs()
            change = plan.change_of(former, known, runs)
        return Foreseen(former, known, change), runs

    found, runs = storage.patiently(look)
    _require_consent(plan, found.change, consent)
    if found.change is None or found.change.recounting is None:
        return found
    recounting = found.change.recounting
    anew = [run for run in runs if run.duplicate_of is None and run.number in recounting.anew]
    return replace(found, losses=plan.models.losses(anew, recounting.last_positions))


def open_study(storage: Storage, plan: StudyPlan, consent: Consent, foreseen: Foreseen) -> Opened:
    """Create the study, or open it if it exists.

    Raises:
        SpaceChangedError: If it has another search space, and the user has not agreed.
        DataChangedError: If its runs were trained on other data, and the user has not agreed.
        UnknownDataError: If it does not record what they were trained on.
        RunsMovedOnError: If runs have begun or ended since others were evaluated anew.
        InputError: If its losses cannot be compared with those of new runs, or what
            `plan.permit` and `plan.earlier` raise.
    """
    with storage.faults(), storage.lock():
        study = load_stored_study(storage, plan.name)
        stored, read_index = _stored(storage, study)
        known, former = read_identity(stored), stored.get(SPACE, {})
        change = foreseen.change
        if (former, known) != (foreseen.former, foreseen.known):  # somebody else was faster
            change = plan.change_of(former, known, read_index().runs())
            _require_consent(plan, change, consent)
            if change is not None and change.recounting is not None:
                raise RunsMovedOnError(plan.name)
        is_new, is_revised = study is None, change is not None
        if known is None:
            identity = _first_identity(plan, read_index(), consent)
        else:
            identity = known
            if known.data_changes(plan.data, is_revised=is_revised) and not consent.new_data:
                known.require_data(plan.name, plan.data, read_index().runs(), is_revised=is_revised)
        begun = known is not None or bool(read_index().all_trials())
        warm_start, lessons = plan.earlier.copied(plan.name, identity.warm_start, has_begun=begun)
        identity = identity.model_copy(update={"warm_start": warm_start})
        plan.permit(identity, is_new=is_new, is_adopted=known is None and not is_new)
        study = study or _create(storage, plan.name)
        if known is None or is_revised or _as_it_is_now(known, plan, None, 0) != known:
            with storage.writing() as connection:
                identity = _bring_up_to_date(
                    connection,
                    study,
                    identity,
                    plan,
                    former,
                    consent,
                    lessons,
                    known=known,
                    change=change,
                    losses=foreseen.losses,
                )
        return Opened(study._study_id, identity, change)


def _bring_up_to_date(
    connection: Connection,
    study: optuna.Study,
    identity: StudyIdentity,
    plan: StudyPlan,
    former: Mapping[str, Any],
    consent: Consent,
    lessons: Sequence[Lesson],
    *,
    known: StudyIdentity | None,
    change: SpaceChange | None,
    losses: Mapping[int, EvaluatedLoss],
) -> StudyIdentity:
    """Make a study what is planned, in one transaction; nobody takes a run of it meanwhile."""
    number, is_revised = study._study_id, change is not None
    recounting = None if change is None else change.recounting
    transactions.lock_study(connection, number)
    index = _index_of(connection, study)
    trials = index.all_trials()
    if recounting is not None and seen_of(index.runs()) != recounting.seen:
        raise RunsMovedOnError(plan.name)
    now = _as_it_is_now(identity, plan, former if is_revised else None, index.next_ordinal)
    has_other_data = known is None or bool(known.data_changes(plan.data, is_revised=is_revised))
    stored = lesson_attributes(lessons)
    if known is not None and now.warm_start is not None and (has_other_data or is_revised):
        copied = stored_lessons(connection, number)
        warm_start, stored = _guides_now(now.warm_start, copied, plan, recounting)
        now = now.model_copy(update={"warm_start": warm_start})
    attributes = {
        SPACE: describe_space(plan.space),
        IDENTITY: now.model_dump(mode="json"),
        REVISION: now.revision,
        **stored,
    }
    transactions.set_study_system_attrs(connection, number, attributes)
    if has_other_data or recounting is not None:
        transactions.set_study_attrs(connection, number, {BASELINES: []})
    if known is None:
        described = former or describe_space(plan.space)
        is_same = consent.same_data
        trials = adopt(connection, plan, described, trials, is_same_data=is_same)
    if recounting is not None:
        trials = recount(connection, trials, recounting, losses)
    if has_other_data or is_revised:
        mark(connection, plan, trials, is_of_data=has_other_data)
    if is_revised and (spaces := all_spaces(now)) is not None:
        store_again(connection, spaces, trials)
    return now


def _require_consent(plan: StudyPlan, change: SpaceChange | None, consent: Consent) -> None:
    if change is not None and (change.obstacles or not consent.changes):
        raise SpaceChangedError(plan.name, change)


def _guides_now(
    warm_start: WarmStart, copied: Sequence[Lesson], plan: StudyPlan, recounting: Recounting | None
) -> tuple[WarmStart, dict[str, Any]]:
    """What a study has copied from earlier ones, after a change; in numbers, and as it is stored."""
    if recounting is not None:
        return forgotten(warm_start, "losses over other positions", len(copied))
    warm_start, lessons = judged_again(warm_start, copied, plan.has)
    return warm_start, lesson_attributes(lessons)


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
        if study is None:
            return RunIndex()
        with storage.reading() as connection:
            return _index_of(connection, study)

    if study is None:
        return {}, read_index
    with storage.reading() as connection:
        return stored_attributes(connection, study), read_index


def _index_of(connection: Connection, study: optuna.Study) -> RunIndex:
    index = RunIndex()
    for trial in TrialReader(study._study_id).new(connection):
        index.put(trial)
    return index


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


def _as_it_is_now(
    identity: StudyIdentity, plan: StudyPlan, former: Mapping[str, Any] | None, next_ordinal: int
) -> StudyIdentity:
    """The identity with the present data, strategy and space.

    Args:
        identity: What the study was.
        plan: What it is to be.
        former: Its space, if that is to be another one.
        next_ordinal: From which on things change.
    """
    update: dict[str, Any] = {"data": _present_data(identity, plan, is_revised=former is not None)}
    strategies = identity.strategies
    if strategies[-1].settings != plan.strategy if strategies else plan.strategy:
        now = Strategy(since_ordinal=next_ordinal, settings=dict(plan.strategy))
        update["strategies"] = (*strategies, now)
    if former is not None:
        first = SpaceRevision(since_ordinal=0, space=comparable(former))
        last = SpaceRevision(since_ordinal=next_ordinal, space=describe_space(plan.space))
        update["spaces"] = (*(identity.spaces or (first,)), last)
        counts = plan.recount(identity.counted, former)
        update["counted"] = counts.counted
        if counts.is_over_fewer:
            update["counted_before"] = (*identity.counted_before, counts.formerly)
    return identity.model_copy(update=update)


def _present_data(
    identity: StudyIdentity, plan: StudyPlan, *, is_revised: bool
) -> list[DataRevision]:
    """The data that the study has had; columns that come into use are added to the last."""
    *earlier, last = identity.data
    if identity.data_changes(plan.data, is_revised=is_revised):
        return [*identity.data, DataRevision(since=datetime.now(UTC), digest=plan.data)]
    return [*earlier, last.model_copy(update={"digest": last.digest.with_columns_of(plan.data)})]
