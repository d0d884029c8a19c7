"""Incremental reads of a study's trials: only those that the coordinator does not know yet.

Optuna's own reading costs a second per 2,000 trials, for it parses the distribution of every
parameter of every trial; within one study these are all the same.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.trial import TrialState
from sqlalchemy import Connection, func, select

from sequifier_hpo.study.stored import attributes, require, understood
from sequifier_hpo.study.transactions import (
    HEARTBEATS,
    PARAMS,
    STEPS,
    SYSTEM_ATTRS,
    TRIALS,
    USER_ATTRS,
    VALUES,
)

_IDS_PER_QUERY = 500  # databases limit the number of variables in a statement


@dataclass
class StoredTrial:
    """A trial as it is stored."""

    trial_id: int
    number: int
    state: TrialState
    value: float | None
    params: Mapping[str, Any]
    user_attrs: dict[str, Any]
    system_attrs: Mapping[str, Any]
    losses: dict[int, float]
    """Intermediate values by step."""
    started: datetime | None
    ended: datetime | None
    logarithmic: frozenset[str] = frozenset()
    """Parameters whose numbers are drawn by their logarithm."""

    def ended_as(
        self, state: TrialState, value: float | None, user_attrs: Mapping[str, Any], ended: datetime
    ) -> "StoredTrial":
        """The trial with its end."""
        return replace(
            self,
            state=state,
            value=value,
            user_attrs={**self.user_attrs, **user_attrs},
            ended=ended.astimezone(),
        )


class TrialReader:
    """Reads the trials of one study incrementally."""

    def __init__(self, study_id: int) -> None:
        self._study_id = study_id
        self._distributions: dict[str, BaseDistribution] = {}
        self._logarithmic: set[str] = set()
        self.last_id = -1
        """Trials up to this one were read. Ids become visible in order: whoever inserts a trial,
        also Optuna itself, holds the lock of the study."""

    def new(self, connection: Connection) -> list[StoredTrial]:
        """Trials that were not read before."""
        with understood("trials"):
            trials = list(self._read(connection, None))
        if trials:
            self.last_id = trials[-1].trial_id
        return trials

    def finished(self, connection: Connection, trial_ids: Collection[int]) -> list[StoredTrial]:
        """Those of the given trials that are finished by now."""
        found: list[int] = []
        for some in _in_parts(trial_ids):
            query = select(TRIALS.c.trial_id).where(
                TRIALS.c.trial_id.in_(some), TRIALS.c.state.in_(_FINISHED)
            )
            found += connection.execute(query).scalars()
        return self.read(connection, found)

    def read(self, connection: Connection, trial_ids: Collection[int]) -> list[StoredTrial]:
        """The given trials as they are now."""
        with understood("trials"):
            return [
                trial for some in _in_parts(trial_ids) for trial in self._read(connection, some)
            ]

    def silence(self, connection: Connection, trial_ids: Sequence[int]) -> dict[int, float]:
        """Seconds since the last heartbeat of trials; below 0 if the clock was set back since."""
        now = _naive(connection.execute(select(func.current_timestamp())).scalar_one())
        query = select(HEARTBEATS.c.trial_id, HEARTBEATS.c.heartbeat).where(
            HEARTBEATS.c.trial_id.in_(trial_ids)
        )
        with understood("heartbeats"):
            beats = {trial_id: _naive(beat) for trial_id, beat in connection.execute(query)}
        return {trial_id: (now - beat).total_seconds() for trial_id, beat in beats.items()}

    def _read(
        self, connection: Connection, trial_ids: Sequence[int] | None
    ) -> Iterator[StoredTrial]:
        """Trials in the order of their ids; None = all after the last that was read."""
        columns = TRIALS.c
        is_wanted = (
            (columns.study_id == self._study_id) & (columns.trial_id > self.last_id)
            if trial_ids is None
            else columns.trial_id.in_(trial_ids)
        )
        names = ("trial_id", "number", "state", "datetime_start", "datetime_complete")
        wanted = [columns[name] for name in names]
        rows = connection.execute(select(*wanted).where(is_wanted).order_by(columns.trial_id)).all()
        if not rows:
            return

        def parts(table: Any, *of_part: Any) -> dict[int, list[Any]]:
            query = select(table.c.trial_id, *of_part)
            if trial_ids is None:
                query = query.join(TRIALS, columns.trial_id == table.c.trial_id).where(is_wanted)
            else:
                query = query.where(table.c.trial_id.in_(trial_ids))
            return _grouped(connection.execute(query.order_by(*list(table.primary_key))).all())

        params = parts(PARAMS, PARAMS.c.param_name, PARAMS.c.param_value)
        values = parts(VALUES, VALUES.c.value)
        user_attrs = parts(USER_ATTRS, USER_ATTRS.c.key, USER_ATTRS.c.value_json)
        system_attrs = parts(SYSTEM_ATTRS, SYSTEM_ATTRS.c.key, SYSTEM_ATTRS.c.value_json)
        steps = parts(STEPS, STEPS.c.step, STEPS.c.intermediate_value)
        for trial_id, number, state, started, ended in rows:
            with understood(f"trial {number}"):
                trial = StoredTrial(
                    trial_id=trial_id,
                    number=number,
                    state=state,
                    value=values[trial_id][0][0] if trial_id in values else None,
                    params={
                        name: self._external(connection, trial_id, name, value)
                        for name, value in params[trial_id]
                    },
                    user_attrs=attributes(user_attrs[trial_id]),
                    system_attrs=attributes(system_attrs[trial_id]),
                    losses=dict(steps[trial_id]),
                    started=_local(started),
                    ended=_local(ended),
                    logarithmic=frozenset(
                        name for name, _ in params[trial_id] if name in self._logarithmic
                    ),
                )
            yield trial

    def _external(self, connection: Connection, trial_id: int, name: str, value: float) -> Any:
        """What a stored number of a parameter stands for."""
        try:
            return self._distribution(connection, trial_id, name).to_external_repr(value)
        except IndexError:  # the study was revised, and has more choices since
            del self._distributions[name]
            return self._distribution(connection, trial_id, name).to_external_repr(value)

    def _distribution(self, connection: Connection, trial_id: int, name: str) -> BaseDistribution:
        require({"the name of a parameter": (name, str)})
        if name not in self._distributions:
            query = select(PARAMS.c.distribution_json).where(
                PARAMS.c.trial_id == trial_id, PARAMS.c.param_name == name
            )
            text = connection.execute(query).scalar_one()
            self._distributions[name] = json_to_distribution(text)
            if getattr(self._distributions[name], "log", False):
                self._logarithmic.add(name)
        return self._distributions[name]


_FINISHED = [state for state in TrialState if state.is_finished()]


def _in_parts(trial_ids: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(trial_ids)
    for i in range(0, len(ordered), _IDS_PER_QUERY):
        yield ordered[i : i + _IDS_PER_QUERY]


def _grouped(rows: Iterable[Sequence[Any]]) -> dict[int, list[Any]]:
    """The rest of each row, by the trial that it begins with."""
    grouped: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        grouped[row[0]].append(row[1:])
    return grouped


def _local(stored: datetime | None) -> datetime | None:
    """A time of the storage, which is in UTC, as that of this machine."""
    return None if stored is None else stored.replace(tzinfo=UTC).astimezone()


def _naive(moment: datetime) -> datetime:
    """A moment of the database as UTC; Postgres adds a zone to some of them."""
    return moment.replace(tzinfo=UTC)
