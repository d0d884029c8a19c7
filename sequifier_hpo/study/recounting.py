"""Makes the losses of a study count fewer positions: of its trials, those that were evaluated anew.

What they were before stays on the trials. Losses by epoch do not: of all epochs but the best one no
model is kept that could be evaluated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import AsTrained
from sequifier_hpo.study import transactions
from sequifier_hpo.study.refusals import Recounting
from sequifier_hpo.study.runs import (
    AS_TRAINED,
    COUNTS_OTHER,
    DUPLICATE_OF,
    OF_OTHER_DATA,
    STOPPED_AT,
    run_number,
)
from sequifier_hpo.study.trials import StoredTrial

_EVERYWHERE = "validation_loss_all_positions"
"""User attribute; there is none where no others than the compared positions are."""


def recount(
    connection: Connection,
    trials: Sequence[StoredTrial],
    recounting: Recounting,
    losses: Mapping[int, float],
) -> list[StoredTrial]:
    """Store what was evaluated anew; returns all trials as they are then.

    Args:
        connection: A transaction that holds the lock of the study.
        trials: All trials of the study, by number.
        recounting: What was announced.
        losses: Run number -> validation loss over the positions that count now.

    Raises:
        InputError: If runs have begun or ended since that was said.
    """
    newest = {_number(trial): trial.trial_id for trial in trials if not _is_duplicate(trial)}
    untouched = {_number(t) for t in trials if OF_OTHER_DATA in t.user_attrs}
    untouched.update(recounting.left_behind)

    def is_judged(trial: StoredTrial) -> bool:
        is_last = _is_duplicate(trial) or newest[_number(trial)] == trial.trial_id
        return trial.value is not None and is_last and _number(trial) not in untouched

    _require_foreseen({_number(trial) for trial in trials if is_judged(trial)}, set(losses))
    at_work = {_number(trial) for trial in trials if not trial.state.is_finished()}
    _require_foreseen(at_work - {*recounting.unended, *untouched}, set())
    found = []
    for trial in trials:
        loss = losses[_number(trial)] if is_judged(trial) else None
        is_kept = _number(trial) in untouched
        found.append(_recounted(connection, trial, recounting.formerly, loss, is_kept=is_kept))
    return found


def _recounted(
    connection: Connection,
    trial: StoredTrial,
    formerly: int,
    loss: float | None,
    *,
    is_kept: bool,
) -> StoredTrial:
    """A trial with what it came to over fewer positions, if that is known."""
    attributes: dict[str, Any] = {}
    if trial.value is not None and loss is None and COUNTS_OTHER not in trial.user_attrs:
        attributes[COUNTS_OTHER] = formerly
    if is_kept:
        transactions.set_trial_attrs(connection, trial.trial_id, user=attributes)
        return replace(trial, user_attrs={**trial.user_attrs, **attributes})
    if AS_TRAINED not in trial.user_attrs and (trial.losses or trial.value is not None):
        before = AsTrained(last_positions=formerly, loss=trial.value, losses=trial.losses)
        attributes[AS_TRAINED] = before.model_dump(mode="json")
    if loss is not None and trial.user_attrs.get(_EVERYWHERE) is None:
        attributes[_EVERYWHERE] = trial.value  # they were all of its positions
    losses = {} if loss is None else {_epoch(trial): loss}
    transactions.set_trial_attrs(connection, trial.trial_id, user=attributes)
    transactions.replace_losses(connection, trial.trial_id, losses, value=loss)
    return replace(
        trial,
        value=trial.value if loss is None else loss,
        losses=losses,
        user_attrs={**trial.user_attrs, **attributes},
    )


def _epoch(trial: StoredTrial) -> int:
    """The epoch whose weights are kept; of a run that was stopped, the one at which it was."""
    known = trial.user_attrs.get(STOPPED_AT) or trial.user_attrs.get("best_epoch")
    return int(known or max(trial.losses, default=1))


def _require_foreseen(found: set[int], foreseen: set[int]) -> None:
    if found != foreseen:
        raise InputError(
            "runs of the study have begun or ended while its losses were evaluated anew",
            "stop the other searches of the study, then start this one again",
        )


def _number(trial: StoredTrial) -> int:
    number: int = trial.user_attrs.get(DUPLICATE_OF, run_number(trial))
    return number


def _is_duplicate(trial: StoredTrial) -> bool:
    return DUPLICATE_OF in trial.user_attrs
