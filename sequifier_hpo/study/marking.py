"""Which runs of a study belong to what it is now: marks on its trials, and what Optuna has of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from sequifier_hpo.searchspace import AllSpaces, Point, point_of_labels
from sequifier_hpo.study import transactions
from sequifier_hpo.study.distributions import distributions
from sequifier_hpo.study.identity import StudyIdentity
from sequifier_hpo.study.plan import StudyPlan
from sequifier_hpo.study.runs import DUPLICATE_OF, OF_OTHER_DATA, OUTSIDE_SPACE, run_number
from sequifier_hpo.study.stored import understood
from sequifier_hpo.study.tags import TAG, RunTag, is_of_0_1_0, own_tag
from sequifier_hpo.study.trials import StoredTrial

_INFEASIBLE = {OF_OTHER_DATA: "constraints:data", OUTSIDE_SPACE: "constraints:space"}
"""Mark -> system attribute by which Optuna itself leaves a trial out when it looks for the best."""


def all_spaces(identity: StudyIdentity) -> AllSpaces | None:
    """What Optuna stores for the runs of a revised study; None if it has had one space only."""
    if not identity.spaces:
        return None
    return AllSpaces(revision.space for revision in identity.spaces)


def adopt(
    connection: Connection,
    plan: StudyPlan,
    described: Mapping[str, Any],
    trials: Sequence[StoredTrial],
    *,
    is_same_data: bool,
) -> list[StoredTrial]:
    """Give trials of 0.1.0 their tags; returns all trials as they are then."""
    old = _ordinals([trial for trial in trials if is_of_0_1_0(trial)])
    found = []
    for trial in trials:
        if trial.trial_id not in old:
            found.append(trial)
            continue
        with understood(f"trial {trial.number}"):
            point = point_of_labels(described, trial.params)
        tag = RunTag(
            key=plan.key_of(point, _seed(trial)) if is_same_data else f"0.1.0 {own_tag(trial).key}",
            ordinal=old[trial.trial_id],
            point=point.as_json(),
            run=None if run_number(trial) == trial.number else run_number(trial),
        )
        system = {TAG: tag.model_dump(mode="json")}
        transactions.set_trial_attrs(connection, trial.trial_id, system=system)
        found.append(replace(trial, system_attrs={**trial.system_attrs, **system}))
    return found


def mark(
    connection: Connection, plan: StudyPlan, trials: Iterable[StoredTrial], *, is_of_data: bool
) -> None:
    """Mark the trials whose runs the study does not have as it is now, and no others.

    Args:
        connection: A transaction.
        plan: What it is now.
        trials: All of its trials.
        is_of_data: Whether other data are why runs leave it now; else another space.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    for trial in trials:
        present = {name for name in _INFEASIBLE if name in trial.user_attrs}
        if _belongs(plan, trial):
            wanted = set()
        else:
            wanted = present or {OF_OTHER_DATA if is_of_data else OUTSIDE_SPACE}
        for name in present ^ wanted:
            transactions.set_trial_attrs(
                connection,
                trial.trial_id,
                user={name: now if name in wanted else None},
                system={_INFEASIBLE[name]: 1.0 if name in wanted else None},
            )


def store_again(connection: Connection, spaces: AllSpaces, trials: Iterable[StoredTrial]) -> None:
    """Store the parameters of trials as those of all spaces of their study."""
    params = {trial.trial_id: spaces.stored(_point(trial)) for trial in trials}
    transactions.replace_params(
        connection, transactions.Distributions(distributions(spaces)), params
    )


def _belongs(plan: StudyPlan, trial: StoredTrial) -> bool:
    key, point = own_tag(trial).key, _point(trial)
    if DUPLICATE_OF in trial.user_attrs and plan.space.places_in(point) is None:
        return False  # it stands for a cell
    return plan.has(point, key, _seed(trial))


def _point(trial: StoredTrial) -> Point:
    return Point.from_json(own_tag(trial).point)


def _seed(trial: StoredTrial) -> int | None:
    """That of a winner check, whose seeds are its own."""
    return trial.user_attrs.get("seed") if "verified_run" in trial.user_attrs else None


def _ordinals(trials: Sequence[StoredTrial]) -> dict[int, int]:
    """Trial id -> ordinal of its run: the order in which the runs were started."""
    numbers = sorted({run_number(trial) for trial in trials})
    ordinals = {number: ordinal for ordinal, number in enumerate(numbers)}
    return {trial.trial_id: ordinals[run_number(trial)] for trial in trials}
