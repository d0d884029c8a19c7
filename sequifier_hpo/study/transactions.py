"""Several changes of one trial in one transaction.

Optuna's public calls commit after every attribute, which costs a disk write each and lets a crash
leave half of them. These use the storage's own session and models (optuna is pinned to 5.0).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import TrialState


def finish_trial(
    storage: RDBStorage,
    trial_id: int,
    state: TrialState,
    *,
    value: float | None = None,
    user_attrs: Mapping[str, Any],
    system_attrs: Mapping[str, Any],
) -> None:
    """Set attributes, value and final state at once.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: If the trial is finished already.
    """
    with _create_scoped_session(storage.scoped_session) as session:
        trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        storage.check_trial_is_updatable(trial_id, cast(TrialState, trial.state))
        _set_attrs(storage, session, trial_id, user_attrs, system_attrs)
        if value is not None:
            storage._set_trial_value_without_commit(session, trial, 0, value)
        trial.state = state
        trial.datetime_complete = datetime.now()  # noqa: DTZ005 - Optuna converts local time itself


def report(
    storage: RDBStorage, trial_id: int, step: int, value: float, user_attrs: Mapping[str, Any]
) -> None:
    """Store an intermediate value and attributes at once.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: If the trial is finished already.
    """
    with _create_scoped_session(storage.scoped_session) as session:
        trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        storage.check_trial_is_updatable(trial_id, cast(TrialState, trial.state))
        storage._set_trial_intermediate_value_without_commit(session, trial_id, step, value)
        _set_attrs(storage, session, trial_id, user_attrs, {})


def annotate(storage: RDBStorage, trial_id: int, user_attrs: Mapping[str, Any]) -> None:
    """Set user attributes at once.

    Raises:
        optuna.exceptions.UpdateFinishedTrialError: If the trial is finished already.
    """
    with _create_scoped_session(storage.scoped_session) as session:
        trial = models.TrialModel.find_or_raise_by_id(trial_id, session, for_update=True)
        storage.check_trial_is_updatable(trial_id, cast(TrialState, trial.state))
        _set_attrs(storage, session, trial_id, user_attrs, {})


def set_study_attrs(storage: RDBStorage, study_id: int, attrs: Mapping[str, Any]) -> None:
    """Set user attributes of a study."""
    for key, value in attrs.items():
        storage.set_study_user_attr(study_id, key, value)


def _set_attrs(
    storage: RDBStorage,
    session: Any,
    trial_id: int,
    user_attrs: Mapping[str, Any],
    system_attrs: Mapping[str, Any],
) -> None:
    tables: Sequence[tuple[Any, Mapping[str, Any]]] = (
        (models.TrialUserAttributeModel, user_attrs),
        (models.TrialSystemAttributeModel, system_attrs),
    )
    for table, attrs in tables:
        for key, value in attrs.items():
            storage._set_trial_attr_without_commit(session, table, trial_id, key, value)
