"""A coordinator's writes: each change of a trial in one transaction, with few statements.

Optuna's public calls commit after every attribute, which costs a disk write each and lets a crash
leave half of them. These write the same rows into the same tables (optuna is pinned to 5.0).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Table, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.plain_files import parse_json
from sequifier_hpo.records import Stored
from sequifier_hpo.study import notes
from sequifier_hpo.study.stored import attributes, understood

STUDIES: Any = models.StudyModel.__table__
STUDY_ATTRS: Any = models.StudyUserAttributeModel.__table__
STUDY_SYSTEM_ATTRS: Any = models.StudySystemAttributeModel.__table__
TRIALS: Any = models.TrialModel.__table__
PARAMS: Any = models.TrialParamModel.__table__
VALUES: Any = models.TrialValueModel.__table__
USER_ATTRS: Any = models.TrialUserAttributeModel.__table__
SYSTEM_ATTRS: Any = models.TrialSystemAttributeModel.__table__
STEPS: Any = models.TrialIntermediateValueModel.__table__
HEARTBEATS: Any = models.TrialHeartbeatModel.__table__

_FINITE_VALUE = models.TrialValueModel.TrialValueType.FINITE
_FINITE_STEP = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE


class FinishedError(Exception):
    """The trial is finished already, or was deleted."""


class StudyDeletedError(EnvironmentFaultError):
    """Someone deleted the study during the search."""


@dataclass(frozen=True)
class NewTrial:
    """A trial to be inserted."""

    state: TrialState
    params: Mapping[str, Stored]
    user_attrs: Mapping[str, Any]
    system_attrs: Mapping[str, Any]
    value: float | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


class Distributions:
    """The distributions of a study, ready to be written."""

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self._distributions = distributions
        self._json = {name: distribution_to_json(d) for name, d in distributions.items()}
        self._logarithmic = {n for n, d in distributions.items() if getattr(d, "log", False)}

    def logarithmic(self, params: Iterable[str]) -> frozenset[str]:
        """Those of some parameters whose numbers are drawn by their logarithm."""
        return frozenset(self._logarithmic.intersection(params))

    def rows(self, trial_id: int, params: Mapping[str, Stored]) -> list[dict[str, Any]]:
        """Rows of the table of parameters."""
        return [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": self._distributions[name].to_internal_repr(value),
                "distribution_json": self._json[name],
            }
            for name, value in params.items()
        ]


def lock_study(connection: Connection, study_id: int) -> None:
    """Keep everyone else from inserting trials until the transaction ends.

    On SQLite the transaction itself has the write lock already.

    Raises:
        StudyDeletedError: If there is no such study any more.
    """
    query = select(STUDIES.c.study_id).where(STUDIES.c.study_id == study_id).with_for_update()
    if connection.execute(query).scalar() is None:
        raise StudyDeletedError(
            "the study was deleted from the storage while it was running",
            "start the search again to create a new study",
        )


def insert_trials(
    connection: Connection,
    study_id: int,
    distributions: Distributions,
    trials: Sequence[NewTrial],
) -> list[tuple[int, int]]:
    """Insert trials into a locked study; returns (trial id, trial number) of each."""
    inserted: list[tuple[int, int]] = []
    rows: dict[Any, list[dict[str, Any]]] = {
        table: [] for table in (PARAMS, VALUES, USER_ATTRS, SYSTEM_ATTRS, HEARTBEATS)
    }
    for number, trial in enumerate(trials, _next_number(connection, study_id)):
        trial_id = _insert_trial(connection, study_id, number, trial)
        inserted.append((trial_id, number))
        rows[PARAMS] += distributions.rows(trial_id, trial.params)
        rows[USER_ATTRS] += _attr_rows("trial_id", trial_id, trial.user_attrs)
        rows[SYSTEM_ATTRS] += _attr_rows("trial_id", trial_id, trial.system_attrs)
        if trial.value is not None:
            rows[VALUES].append(_value_row(trial_id, trial.value))
        if trial.state == TrialState.RUNNING:
            rows[HEARTBEATS].append({"trial_id": trial_id})
    for table, of_table in rows.items():
        if of_table:
            connection.execute(insert(table), of_table)
    return inserted


def _next_number(connection: Connection, study_id: int) -> int:
    newest = (
        select(TRIALS.c.number)
        .where(TRIALS.c.study_id == study_id)
        .order_by(TRIALS.c.trial_id.desc())
        .limit(1)
    )
    last = connection.execute(newest).scalar()
    return 0 if last is None else int(last) + 1


def _insert_trial(connection: Connection, study_id: int, number: int, trial: NewTrial) -> int:
    """Insert the row of a trial itself; returns its id."""
    created = trial.created.replace(tzinfo=None)
    row = {
        "number": number,
        "study_id": study_id,
        "state": trial.state,
        "datetime_start": created,
        "datetime_complete": created if trial.state.is_finished() else None,
    }
    key = connection.execute(insert(TRIALS).values(row)).inserted_primary_key
    assert key is not None, "both databases return the new key"
    return int(key[0])


def finish_trial(
    connection: Connection,
    trial_id: int,
    state: TrialState,
    *,
    value: float | None = None,
    user_attrs: Mapping[str, Any],
    artifacts: Sequence[notes.Artifact] = (),
    ended: datetime,
) -> None:
    """Set attributes, artifacts, value and final state of a running trial.

    Raises:
        FinishedError: If it is finished already.
    """
    _lock_running(connection, trial_id)
    _put_attrs(connection, USER_ATTRS, "trial_id", trial_id, user_attrs)
    described = notes.artifact_attributes(artifacts)
    _put_attrs(connection, SYSTEM_ATTRS, "trial_id", trial_id, described)
    if value is not None:
        connection.execute(insert(VALUES), [_value_row(trial_id, value)])
    connection.execute(
        update(TRIALS)
        .where(TRIALS.c.trial_id == trial_id)
        .values(state=state, datetime_complete=ended.replace(tzinfo=None))
    )


def report(connection: Connection, trial_id: int, step: int, value: float) -> None:
    """Store an intermediate value of a running trial; a repetition changes nothing.

    Raises:
        FinishedError: If the trial is finished already.
    """
    _lock_running(connection, trial_id)
    row = _step_row(trial_id, step, value)
    _upsert(connection, STEPS, [row], ("trial_id", "step"), ("intermediate_value",))


def drop_after(connection: Connection, trial_ids: Sequence[int], step: int) -> None:
    """Remove the intermediate values of trials, finished or not, after a step."""
    columns = STEPS.c
    is_later = columns.trial_id.in_(trial_ids) & (columns.step > step)
    connection.execute(delete(STEPS).where(is_later))


def replace_losses(
    connection: Connection, trial_id: int, losses: Mapping[int, float], *, value: float | None
) -> None:
    """Give a trial other intermediate values, and another value unless that is None."""
    connection.execute(delete(STEPS).where(STEPS.c.trial_id == trial_id))
    rows = [_step_row(trial_id, step, loss) for step, loss in losses.items()]
    if rows:
        connection.execute(insert(STEPS), rows)
    if value is not None:
        connection.execute(delete(VALUES).where(VALUES.c.trial_id == trial_id))
        connection.execute(insert(VALUES), [_value_row(trial_id, value)])


def annotate(connection: Connection, trial_id: int, user_attrs: Mapping[str, Any]) -> None:
    """Set user attributes of a running trial.

    Raises:
        FinishedError: If the trial is finished already.
    """
    _lock_running(connection, trial_id)
    _put_attrs(connection, USER_ATTRS, "trial_id", trial_id, user_attrs)


def set_trial_attrs(
    connection: Connection,
    trial_id: int,
    *,
    user: Mapping[str, Any] | None = None,
    system: Mapping[str, Any] | None = None,
) -> None:
    """Set attributes of a trial, finished or not; None removes one."""
    for table, attrs in ((USER_ATTRS, user or {}), (SYSTEM_ATTRS, system or {})):
        removed = [key for key, value in attrs.items() if value is None]
        if removed:
            is_one = (table.c.trial_id == trial_id) & table.c.key.in_(removed)
            connection.execute(delete(table).where(is_one))
        kept = {key: value for key, value in attrs.items() if value is not None}
        _put_attrs(connection, table, "trial_id", trial_id, kept)


def replace_params(
    connection: Connection,
    distributions: Distributions,
    params: Mapping[int, Mapping[str, Stored]],
) -> None:
    """Store other parameters of trials, finished or not: trial id -> what they are now."""
    for trial_id in params:
        connection.execute(delete(PARAMS).where(PARAMS.c.trial_id == trial_id))
    rows = [row for trial_id, new in params.items() for row in distributions.rows(trial_id, new)]
    if rows:
        connection.execute(insert(PARAMS), rows)


def beat(connection: Connection, trial_ids: Iterable[int]) -> None:
    """Renew the heartbeats of trials."""
    connection.execute(
        update(HEARTBEATS)
        .where(HEARTBEATS.c.trial_id.in_(list(trial_ids)))
        .values(heartbeat=func.current_timestamp())
    )


def set_study_attrs(connection: Connection, study_id: int, attrs: Mapping[str, Any]) -> None:
    """Set user attributes of a study."""
    _put_attrs(connection, STUDY_ATTRS, "study_id", study_id, attrs)


def study_attr(connection: Connection, study_id: int, key: str) -> Any:
    """A user attribute of a study; None if it is not set."""
    columns = STUDY_ATTRS.c
    query = select(columns.value_json).where(columns.study_id == study_id, columns.key == key)
    text = connection.execute(query).scalar()
    with understood(key):
        return None if text is None else parse_json(text)


def note_trial(connection: Connection, study_id: int, trial_id: int, body: str) -> None:
    """Put a note on a trial that has none."""
    set_study_system_attrs(connection, study_id, notes.note_attributes(body, trial_id))


def note_study(connection: Connection, study_id: int, body: str) -> None:
    """Put a note on a locked study in the place of our last one; a person's own is left alone."""
    _renote(connection, study_id, None, lambda _before: body)


def head_trial_note(connection: Connection, study_id: int, trial_id: int, line: str) -> None:
    """Put a line above our note on a trial of a locked study; a person's own is left alone."""
    _renote(connection, study_id, trial_id, lambda before: f"{line}\n\n{before}")


def _renote(
    connection: Connection, study_id: int, trial_id: int | None, change: Callable[[str], str]
) -> None:
    columns = STUDY_SYSTEM_ATTRS.c
    is_note = (columns.study_id == study_id) & columns.key.startswith(
        f"{notes.prefix_of(trial_id)}note_", autoescape=True
    )
    stored = connection.execute(select(columns.key, columns.value_json).where(is_note)).all()
    with understood("the study's note" if trial_id is None else "a trial's note"):
        known = attributes(stored)
        before = notes.note_of(known, trial_id)
    if known and before["version"] != notes.OUR_VERSION:
        return
    attrs = notes.note_attributes(change(before["body"]), trial_id)
    superfluous = known.keys() - attrs.keys()
    if superfluous:
        connection.execute(delete(STUDY_SYSTEM_ATTRS).where(is_note, columns.key.in_(superfluous)))
    _put_attrs(connection, STUDY_SYSTEM_ATTRS, "study_id", study_id, attrs)


def study_system_attrs(
    connection: Connection, study_id: int, keys: Iterable[str]
) -> dict[str, Any]:
    """Some of a study's system attributes: all of them may be thousands of notes."""
    columns = STUDY_SYSTEM_ATTRS.c
    query = select(columns.key, columns.value_json).where(
        columns.study_id == study_id, columns.key.in_(list(keys))
    )
    with understood("the study"):
        return attributes(connection.execute(query))


def set_study_system_attrs(connection: Connection, study_id: int, attrs: Mapping[str, Any]) -> None:
    """Set system attributes of a study."""
    _put_attrs(connection, STUDY_SYSTEM_ATTRS, "study_id", study_id, attrs)


def _lock_running(connection: Connection, trial_id: int) -> None:
    query = select(TRIALS.c.state).where(TRIALS.c.trial_id == trial_id).with_for_update()
    state = connection.execute(query).scalar()
    if state is None or state.is_finished():
        raise FinishedError


def _step_row(trial_id: int, step: int, loss: float) -> dict[str, Any]:
    return {
        "trial_id": trial_id,
        "step": step,
        "intermediate_value": loss,
        "intermediate_value_type": _FINITE_STEP,
    }


def _value_row(trial_id: int, value: float) -> dict[str, Any]:
    return {"trial_id": trial_id, "objective": 0, "value": value, "value_type": _FINITE_VALUE}


def _attr_rows(owner: str, owner_id: int, attrs: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {owner: owner_id, "key": key, "value_json": json.dumps(value)}
        for key, value in attrs.items()
    ]


def _put_attrs(
    connection: Connection, table: Table, owner: str, owner_id: int, attrs: Mapping[str, Any]
) -> None:
    if attrs:
        rows = _attr_rows(owner, owner_id, attrs)
        _upsert(connection, table, rows, (owner, "key"), ("value_json",))


def _upsert(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    keys: Sequence[str],
    changing: Sequence[str],
) -> None:
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(table)
    statement = statement.on_conflict_do_update(
        index_elements=list(keys), set_={name: statement.excluded[name] for name in changing}
    )
    connection.execute(statement, rows)
