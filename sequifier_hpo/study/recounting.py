"""Makes the losses of a study count fewer positions: of its trials, those that were evaluated anew.

What they were before stays on the trials. Losses by epoch do not: of all epochs but the best one no
model is kept that could be evaluated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from sequifier_hpo.records import AsTrained, EvaluatedLoss
from sequifier_hpo.study import transactions
from sequifier_hpo.study.refusals import Recounting
from sequifier_hpo.study.runs import (
    AS_TRAINED,
    COUNTS_OTHER,
    DUPLICATE_OF,
    STOPPED_AT,
    run_number,
)
from sequifier_hpo.study.tags import TAG, own_tag
from sequifier_hpo.study.trials import StoredTrial

_EVERYWHERE = "validation_loss_all_positions"
"""User attribute; there is none where no others than the compared positions are."""


def recount(
    connection: Connection,
    trials: Sequence[StoredTrial],
    recounting: Recounting,
    losses: Mapping[int, EvaluatedLoss],
) -> list[StoredTrial]:
    """Store what was evaluated anew; returns all trials as they are then.

    Args:
        connection: A transaction that holds the lock of the study.
        trials: All trials of the study, by number.
        recounting: What was announced.
        losses: Run number -> what its model is worth.
    """
    found = []
    for trial in trials:
        number = trial.user_attrs.get(DUPLICATE_OF, run_number(trial))
        if number in recounting.left_behind:
            found.append(_left_behind(connection, trial, recounting.formerly))
        else:
            found.append(_recounted(connection, trial, recounting.formerly, losses.get(number)))
    return found


def _left_behind(connection: Connection, trial: StoredTrial, formerly: int) -> StoredTrial:
    """A trial whose loss stays what it was; its run may be trained anew if it is wanted again."""
    tag = own_tag(trial)
    other = tag.model_copy(update={"key": f"last {formerly} {tag.key}"})
    attributes, system = {COUNTS_OTHER: formerly}, {TAG: other.model_dump(mode="json")}
    transactions.set_trial_attrs(connection, trial.trial_id, user=attributes, system=system)
    return replace(
        trial,
        user_attrs={**trial.user_attrs, **attributes},
        system_attrs={**trial.system_attrs, **system},
    )


def _recounted(
    connection: Connection, trial: StoredTrial, formerly: int, found: EvaluatedLoss | None
) -> StoredTrial:
    """A trial with what it came to over fewer positions; without a value it has come to nothing."""
    attributes: dict[str, Any]
    if trial.value is None:
        found = None
    elif found is None:  # left behind before; or a stop, after which the run has failed
        attributes = {COUNTS_OTHER: trial.user_attrs.get(COUNTS_OTHER, formerly)}
        transactions.set_trial_attrs(connection, trial.trial_id, user=attributes)
        return replace(trial, user_attrs={**trial.user_attrs, **attributes})
    attributes = {}
    if AS_TRAINED not in trial.user_attrs and (trial.losses or found is not None):
        before = AsTrained(last_positions=formerly, loss=trial.value, losses=trial.losses)
        attributes[AS_TRAINED] = before.model_dump(mode="json")
    losses: dict[int, float] = {}
    if found is not None and trial.losses:
        losses = {_epoch(trial): found.compared}
        attributes[_EVERYWHERE] = found.all_positions
    value = None if found is None else found.compared
    transactions.set_trial_attrs(connection, trial.trial_id, user=attributes)
    transactions.replace_losses(connection, trial.trial_id, losses, value=value)
    user_attrs = {**trial.user_attrs, **attributes}
    return replace(trial, value=value, losses=losses, user_attrs=user_attrs)


def _epoch(trial: StoredTrial) -> int:
    """The epoch whose weights are kept; of a run that was stopped, the one at which it was."""
    known = trial.user_attrs.get(STOPPED_AT) or trial.user_attrs.get("best_epoch")
    return int(known or max(trial.losses))
