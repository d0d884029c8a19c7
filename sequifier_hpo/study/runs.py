"""The runs of a study, read off its trials.

A run is what is trained: one key. Its first trial gives it its number, a later one continues it
after an interruption, or gives a run that was stopped its full length. For the runs after it, a
run that was stopped is for ever what it was then.
"""

from collections.abc import Collection, Sequence
from typing import Any

from optuna.trial import TrialState

from sequifier_hpo.records import MemoryNeed, OutcomeKind, Run, RunFigures, RunState
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study.batch_plans import ran_out_of
from sequifier_hpo.study.locks import Owner
from sequifier_hpo.study.notes import described
from sequifier_hpo.study.proposing import EndedRun, SpaceRevision, TrainedRun
from sequifier_hpo.study.stored import require, understood
from sequifier_hpo.study.tags import RunTag, own_tag, tag_of
from sequifier_hpo.study.trials import StoredTrial

DUPLICATE_OF = "duplicate_of"
"""User attribute: number of the run whose result a duplicate grid cell took."""
REASON = "reason"
"""User attribute: why a trial failed."""
STOPPED_AT = "stopped_at"
"""User attribute: epoch of the rung at which a pruned trial was stopped."""
EPOCHS_TRAINED = "epochs_trained"
"""User attribute: epochs that a pruned trial's run was trained for, the dropped ones among them."""
OF_OTHER_DATA = "of_other_data"
"""User attribute: when other data took the place of those that the trial was trained on."""
OUTSIDE_SPACE = "outside_space"
"""User attribute: since when the study has another space, which does not have the trial's run."""
COUNTS_OTHER = "counts_other_positions"
"""User attribute: how many positions the trial's loss is over, if the study counts fewer by now."""
AS_TRAINED = "as_trained"
"""User attribute: what the trial came to before the study counted fewer positions."""
_MARKS = frozenset({OF_OTHER_DATA, OUTSIDE_SPACE})
OWNER = "sequifier_hpo:owner"
"""System attribute: the coordinator that runs the trial, as JSON."""
_OWNER_BEFORE = "owner"
"""The user attribute that it was once, and its name among the attributes of a run."""
_NUMBERS = (DUPLICATE_OF, STOPPED_AT, "verified_run", "seed")
"""User attributes that are whole numbers."""
MAX_LOST_TRIALS = 5
"""A run whose coordinator died this often before completing an epoch is not retried: it may be what
takes the machine down."""


RESUMABLE_REASONS = frozenset({"interrupted", "lost"})


class RunIndex:
    """Trials grouped by run. Every query made during a search takes constant time."""

    def __init__(self) -> None:
        self._trials: dict[str, list[StoredTrial]] = {}
        self._keys: dict[RunState, set[str]] = {state: set() for state in RunState}
        self._state: dict[str, RunState] = {}
        self._ordinals: dict[str, int] = {}
        self._key_of_ordinal: dict[int, str] = {}
        self._set_aside: set[str] = set()
        """Runs of other data, or outside the present space."""
        self._runs: dict[int, Run] = {}
        self._outdated: set[str] = set()
        self._ran_out: dict[int, list[MemoryNeed]] = {}
        self.unfinished: dict[int, StoredTrial] = {}
        """Trials that are not finished, by id."""
        self.duplicates: dict[str, list[StoredTrial]] = {}
        """By key, the grid cells that took the result of the run."""
        self.lessons: Sequence[EndedRun] = ()
        """What earlier studies teach."""
        self.spaces: Sequence[SpaceRevision] = ()
        """The spaces that the study has had, oldest first; none if it has had one only."""
        self.next_ordinal = 0
        """That of the run that is handed out next."""
        self.version = 0
        """Grows with each change."""

    def put(self, trial: StoredTrial) -> None:
        """Take in a trial, new or changed.

        Raises:
            StoredValueError: If it is not what this program stores.
        """
        with understood(f"trial {trial.number}"):
            tag = tag_of(trial)
            if tag is None:
                return  # not ours: enqueued by hand
            _require_plausible(trial)
            if ran_out := ran_out_of(trial.user_attrs):
                self._ran_out[trial.trial_id] = ran_out
        key = tag.key
        self.version += 1
        if DUPLICATE_OF in trial.user_attrs:
            _put_among(self.duplicates.setdefault(key, []), trial)
            self._runs[trial.number] = _run([trial], tag)
            return
        trials = self._trials.setdefault(key, [])
        _put_among(trials, trial)
        if trial.state.is_finished():
            self.unfinished.pop(trial.trial_id, None)
        else:
            self.unfinished[trial.trial_id] = trial
        if key in self._state:
            self._keys[self._state[key]].discard(key)
        self._state[key] = state_of(trials)
        self._keys[self._state[key]].add(key)
        self._ordinals[key] = tag.ordinal
        self._key_of_ordinal[tag.ordinal] = key
        if trials[-1].user_attrs.keys() & _MARKS:
            self._set_aside.add(key)
        else:
            self._set_aside.discard(key)
        self._outdated.add(key)
        self.next_ordinal = max(self.next_ordinal, tag.ordinal + 1)

    def drop_after(self, key: str, epoch: int) -> None:
        """Forget the losses of a run after an epoch."""
        self.version += 1
        for trial in self._trials[key]:
            trial.losses = {e: loss for e, loss in trial.losses.items() if e <= epoch}

    @property
    def ran_out(self) -> list[MemoryNeed]:
        """What was proven to be more than a kind of device has."""
        return [need for needs in self._ran_out.values() for need in needs]

    @property
    def num_runs(self) -> int:
        """Runs that were handed out, those set aside not counted."""
        return len(self._trials) - len(self._set_aside)

    def is_set_aside(self, key: str) -> bool:
        """Whether a run is of other data, or outside the present space."""
        return key in self._set_aside

    def points(self, num_runs: int) -> dict[str, Point]:
        """Those of the first runs that are not set aside: key -> point, by ordinal."""
        keys = (self._key_of_ordinal.get(k) for k in range(num_runs))
        return {
            key: Point.from_json(own_tag(self._trials[key][-1]).point)
            for key in keys
            if key is not None and key not in self._set_aside
        }

    def is_taken(self, key: str) -> bool:
        """Whether a run was handed out."""
        return key in self._trials

    def ended(self, num_runs: int) -> list[EndedRun | None] | None:
        """What the first runs came to, by ordinal; None while one of them is still to end."""
        if self.unended(num_runs):
            return None
        keys = map(self._key_of_ordinal.get, range(num_runs))
        return [
            None if key is None or key in self._set_aside else _lesson(key, self._trials[key])
            for key in keys
        ]

    def unended(self, num_runs: int) -> list[int]:
        """Numbers of those of the first runs that are in training, or to be continued."""
        keys = [self._key_of_ordinal[k] for k in self.in_training() if k < num_runs]
        return sorted(run_number(self._trials[key][-1]) for key in keys)

    def in_training(self) -> list[int]:
        """Ordinals of the runs that have not ended, in their order.

        One that was stopped has ended, also while it is given its full length.
        """
        keys = {*self.keys(RunState.RUNNING), *self.keys(RunState.INTERRUPTED)}
        return sorted(self._ordinals[key] for key in keys if stopped_at(self._trials[key]) is None)

    def trained(self, ordinal: int) -> TrainedRun | None:
        """A run in training or at its end; None for one that is set aside or was evaluated anew."""
        key = self._key_of_ordinal.get(ordinal)
        if key is None or key in self._set_aside:
            return None
        trials = _up_to_its_stop(self._trials[key])
        if AS_TRAINED in trials[-1].user_attrs:
            return None  # epoch by epoch its losses are not known
        return TrainedRun(
            point=Point.from_json(own_tag(trials[-1]).point),
            losses=_losses(trials),
            stopped_at=stopped_at(trials),
            has_ended=state_of(trials) not in {RunState.RUNNING, RunState.INTERRUPTED},
        )

    def trials(self, key: str) -> list[StoredTrial]:
        """Trials of a run, oldest first; none if it was never handed out."""
        return self._trials.get(key, [])

    def all_trials(self) -> list[StoredTrial]:
        """Every trial of every run, duplicate grid cells included, by number."""
        groups = (*self._trials.values(), *self.duplicates.values())
        return sorted((a for group in groups for a in group), key=lambda a: a.number)

    def ordinal(self, key: str) -> int:
        """When a run was first handed out."""
        return self._ordinals[key]

    def keys(self, state: RunState) -> Collection[str]:
        """The runs in a state, those set aside left out."""
        return self._keys[state] - self._set_aside

    def runs(self) -> list[Run]:
        """All runs and duplicates, by number."""
        for key in self._outdated:
            trials = self._trials[key]
            run = _run(trials, own_tag(trials[-1]))
            self._runs[run.number] = run
        self._outdated.clear()
        return [self._runs[number] for number in sorted(self._runs)]


def _require_plausible(trial: StoredTrial) -> None:
    """Make sure that everything that is read off a trial of ours is there.

    Raises:
        TypeError, ValueError: If it is not.
    """
    number, real = int, (int, float)
    values: dict[str, tuple[object, type | tuple[type, ...]]] = {
        "its number": (trial.number, number),
        **{name: (value, (str, int, float)) for name, value in trial.params.items()},
        **{f"the loss of epoch {epoch}": (loss, real) for epoch, loss in trial.losses.items()},
        **{f"epoch {epoch}": (epoch, number) for epoch in trial.losses},
    }
    if trial.state in {TrialState.COMPLETE, TrialState.PRUNED}:
        values["its loss"] = (trial.value, real)
    if trial.state == TrialState.PRUNED:
        values[STOPPED_AT] = (trial.user_attrs.get(STOPPED_AT), number)
    for name in _NUMBERS:
        if trial.user_attrs.get(name) is not None:
            values[name] = (trial.user_attrs[name], number)
    require(values)
    RunFigures.model_validate(trial.user_attrs)
    if (owner := owner_text(trial)) is not None:
        Owner.model_validate_json(owner)


def _put_among(trials: list[StoredTrial], trial: StoredTrial) -> None:
    for position, known in enumerate(trials):
        if known.trial_id == trial.trial_id:
            trials[position] = trial
            return
    trials.append(trial)
    trials.sort(key=lambda a: a.number)


def owner_text(trial: StoredTrial) -> str | None:
    """The coordinator that runs a trial, as JSON; None if the trial is not ours."""
    owner = trial.system_attrs.get(OWNER, trial.user_attrs.get(_OWNER_BEFORE))
    return None if owner is None else str(owner)


def run_number(trial: StoredTrial) -> int:
    """Number of the run a trial belongs to."""
    tag = tag_of(trial)
    return trial.number if tag is None or tag.run is None else tag.run


def state_of(trials: list[StoredTrial]) -> RunState:
    """Where the run with these trials stands."""
    newest = trials[-1]
    if newest.state == TrialState.COMPLETE:
        return RunState.COMPLETE
    if newest.state == TrialState.PRUNED:
        return RunState.PRUNED
    if not newest.state.is_finished():
        return RunState.RUNNING
    reason = newest.user_attrs.get(REASON)
    num_lost = sum(a.user_attrs.get(REASON) == "lost" and not _ended_an_epoch(a) for a in trials)
    if reason in RESUMABLE_REASONS and num_lost < MAX_LOST_TRIALS:
        return RunState.INTERRUPTED
    return RunState.FAILED


def stopped_at(trials: Sequence[StoredTrial]) -> int | None:
    """Epoch of the rung at which a run was stopped."""
    pruned = (trial for trial in trials if trial.state == TrialState.PRUNED)
    return next((int(trial.user_attrs[STOPPED_AT]) for trial in pruned), None)


def _up_to_its_stop(trials: list[StoredTrial]) -> list[StoredTrial]:
    for i, trial in enumerate(trials, start=1):
        if trial.state == TrialState.PRUNED:
            return trials[:i]
    return trials


def _losses(trials: Sequence[StoredTrial]) -> dict[int, float]:
    return {epoch: loss for trial in trials for epoch, loss in trial.losses.items()}


def _ended_an_epoch(trial: StoredTrial) -> bool:
    return bool(trial.losses) or AS_TRAINED in trial.user_attrs


def _lesson(key: str, trials: list[StoredTrial]) -> EndedRun | None:
    """What a run that has ended teaches; what the machine did to it teaches nothing."""
    seen = _up_to_its_stop(trials)
    newest = seen[-1]
    if newest.state == TrialState.FAIL and newest.user_attrs.get(REASON) in RESUMABLE_REASONS:
        return None
    if COUNTS_OTHER in newest.user_attrs:
        return None  # it was stopped, went on and failed: nobody knows its loss over fewer
    tag = own_tag(newest)
    return EndedRun(
        Point.from_json(tag.point),
        newest.value,
        tag.unused,
        key=key,
        stopped_at=stopped_at(seen),
        is_finished=len(seen) < len(trials),
        never_fitted=newest.state == TrialState.FAIL
        and newest.user_attrs.get(REASON) == OutcomeKind.OUT_OF_MEMORY.value
        and not any(map(_ended_an_epoch, seen)),
    )


def _run(trials: list[StoredTrial], tag: RunTag) -> Run:
    newest = trials[-1]
    attributes: dict[str, Any] = {**newest.user_attrs, _OWNER_BEFORE: owner_text(newest)}
    return Run(
        number=run_number(newest),
        trial_number=newest.number,
        state=state_of(trials),
        validation_loss=newest.value if newest.state == TrialState.COMPLETE else None,
        labels=newest.params,
        losses=_losses(trials),
        attributes=attributes,
        reason=str(newest.user_attrs.get(REASON, "")),
        duplicate_of=newest.user_attrs.get(DUPLICATE_OF),
        started=trials[0].started,
        ended=newest.ended,
        num_trials=len(trials),
        key=tag.key,
        ordinal=tag.ordinal,
        point=tag.point,
        is_of_other_data=OF_OTHER_DATA in newest.user_attrs,
        is_outside=OUTSIDE_SPACE in newest.user_attrs,
        counts_other_positions=COUNTS_OTHER in newest.user_attrs,
        host=tag.host,
        folder=tag.folder,
        artifacts=_artifacts(newest),
        stopped_at=stopped_at(trials),
        logarithmic=newest.logarithmic,
        unused=tag.unused,
    )


def _artifacts(trial: StoredTrial) -> dict[str, str]:
    """File name -> id."""
    with understood(f"the artifacts of trial {trial.number}"):
        found = {each["filename"]: each["artifact_id"] for each in described(trial.system_attrs)}
        for part in (*found, *found.values()):
            require({"the name or id of one": (part, str)})
        return found
