"""Which of the other coordinators are alive."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from sqlalchemy import Connection

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Run, RunState
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.runs import RunIndex, owner_text
from sequifier_hpo.study.storages import GRACE_SECONDS
from sequifier_hpo.study.trials import StoredTrial, TrialReader


class SecondHostError(InputError):
    """Another machine works on a study in SQLite, which is for one machine."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"the study is in SQLite, which is for a single machine, and {host} is working on it",
            "for several machines use Postgres (docs/guides/many-machines.md); if that machine is "
            f"gone, start again in {GRACE_SECONDS // 60} minutes",
        )


class Liveness:
    """Tells trials that are being worked on from those whose coordinator is gone."""

    def __init__(self, owner: Owner, clock: Callable[[], float]) -> None:
        """Begin to watch.

        Args:
            owner: Who we are.
            clock: Monotonic seconds.
        """
        self._owner = owner
        self._clock = clock
        self._judges_from = clock()
        # Those of this host hold their lock, so they live, but may hang: watched, then judged.
        self._judges_living_from = clock() + GRACE_SECONDS

    def judge_later(self) -> None:
        """Give everyone time for a heartbeat before anyone is taken for dead."""
        self._judges_from = self._judges_living_from = self._clock() + GRACE_SECONDS

    def is_gone(self, trial: StoredTrial) -> bool:
        """Whether the coordinator of a trial is known to be gone, for it was on this host."""
        owner = owner_of(trial)
        if owner is None:
            return True  # every trial of ours is created with its owner
        is_other = owner.name != self._owner.name
        return is_other and owner.is_on_this_host() and owner.is_dead()

    def judged(self, trials: Iterable[StoredTrial]) -> list[int]:
        """The trials (by id) that are to be judged by their heartbeats now."""
        now = self._clock()
        return [
            trial.trial_id
            for trial in trials
            if now >= (self._judges_from if _is_elsewhere(trial) else self._judges_living_from)
        ]

    def require_one_host(
        self, connection: Connection, reader: TrialReader, index: RunIndex
    ) -> None:
        """Make sure that nobody on another machine works on a study in SQLite.

        Two names on one machine, as containers have them, are fine, and so is one name across a
        restart of its machine.

        Raises:
            SecondHostError: If somebody does, according to the heartbeats.
        """
        if connection.dialect.name != "sqlite":
            return
        elsewhere = {
            trial.trial_id: owner.host
            for trial in index.unfinished.values()
            if (owner := owner_of(trial))
            and owner.host != self._owner.host
            and owner.boot_id != self._owner.boot_id
        }
        if elsewhere:
            silence = reader.silence(connection, list(elsewhere))
            for trial_id, host in elsewhere.items():
                if silence.get(trial_id, 0.0) <= GRACE_SECONDS:
                    raise SecondHostError(host)


def owner_of(trial: StoredTrial) -> Owner | None:
    """The coordinator that runs a trial; None if the trial does not say."""
    text = owner_text(trial)
    return None if text is None else Owner.model_validate_json(text)


def as_it_stands(run: Run) -> Run:
    """The run, with its state corrected if nobody is working on it any more."""
    owner = run.attributes.get("owner")
    if run.state != RunState.RUNNING or not isinstance(owner, str):
        return run
    holder = Owner.model_validate_json(owner)
    if holder.is_on_this_host() and holder.is_dead():
        return replace(run, state=RunState.INTERRUPTED, reason="lost")
    return run


def _is_elsewhere(trial: StoredTrial) -> bool:
    owner = owner_of(trial)
    return owner is not None and not owner.is_on_this_host()
