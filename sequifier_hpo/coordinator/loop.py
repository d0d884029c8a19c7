"""The loop of a search: events in, decisions from the reducer, actions out."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from sequifier_hpo import messages
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator import reducer
from sequifier_hpo.coordinator.outbox import Outbox
from sequifier_hpo.coordinator.pool import PoolEvent, WorkerGone, WorkerPool
from sequifier_hpo.coordinator.reducer import ActiveTrial, Policy, State
from sequifier_hpo.coordinator.stop_signals import stop_signals
from sequifier_hpo.records import BatchReport, EpochReport, OutcomeKind, TrainingResult
from sequifier_hpo.study import (
    HEARTBEAT_SECONDS,
    Artifact,
    Claim,
    LeaseLostError,
    TrialStudy,
)

_POLL_SECONDS = 1.0
_IDLE_CLAIM_SECONDS = 10.0
_STOP_SECONDS = 20.0  # then trials that do not end by themselves are killed


class Observer(Protocol):
    """Who watches a search: the terminal, a log, a test."""

    def trial_started(self, run: "ActiveRun") -> None:
        """An attempt begins."""

    def trial_progressed(self, run: "ActiveRun", report: BatchReport) -> None:
        """Some batches of an epoch are done."""

    def epoch_ended(self, run: "ActiveRun", report: EpochReport) -> None:
        """A trial has a new validation loss."""

    def trial_completed(self, run: "ActiveRun", result: TrainingResult) -> None:
        """A run has its result, and it is stored."""

    def trial_failed(self, run: "ActiveRun", reason: str, result: TrainingResult) -> None:
        """A run failed for good, or was interrupted, and that is stored."""

    def trial_retried(self, run: "ActiveRun", why: str) -> None:
        """An attempt is repeated."""

    def stopping(self) -> None:
        """A stop was requested; trials write their checkpoints."""

    def storage_lost(self, reason: str) -> None:
        """The storage cannot be used; results are kept here until it can."""

    def storage_returned(self, seconds: float) -> None:
        """The storage can be used again, after so many seconds."""

    def ticked(self) -> None:
        """About a second has passed."""


@dataclass
class ActiveRun:
    """A run in work, as an observer sees it."""

    claim: Claim
    config: TrainConfig
    notes: list[str]
    attempt: int = 1
    started: float = field(default_factory=time.monotonic)
    train_losses: dict[int, float] = field(default_factory=dict)
    """By epoch, as far as this coordinator has seen them."""


@dataclass(frozen=True)
class SearchEnd:
    """Why the loop ended."""

    stopped_by: signal.Signals | None
    """The signal, if the user stopped the search."""
    gave_up_after: tuple[str, ...]
    """Reasons of the failures in a row that made the search give up."""


StorageAction = (
    reducer.Claim
    | reducer.StoreEpoch
    | reducer.StoreResult
    | reducer.StoreFailure
    | reducer.AnnounceRetry
)

Decode = Callable[[Claim], tuple[TrainConfig, list[str]]]
"""Claim -> the run's configuration, and notes for its log."""

Keep = Callable[[ActiveRun, Mapping[int, float]], Sequence[Artifact]]
"""(run, its validation losses) -> files that were kept of it."""


class Coordinator:
    """Runs a study to its end on this machine."""

    def __init__(
        self,
        study: TrialStudy,
        pool: WorkerPool,
        policy: Policy,
        observer: Observer,
        *,
        decode: Decode,
        config_path: Callable[[TrainConfig], str],
        keep: Keep = lambda _run, _losses: (),
    ) -> None:
        """Put the parts together.

        Args:
            study: Where runs come from and results go.
            pool: Where trials run.
            policy: When to retry and when to give up.
            observer: Who is told.
            decode: From a claim to a configuration.
            config_path: Where the run file of a configuration is written.
            keep: Keeps the artifacts of a run that has its end.
        """
        self._study = study
        self._pool = pool
        self._observer = observer
        self._decode = decode
        self._config_path = config_path
        self._keep = keep
        self._state = State(policy, free_slots=frozenset(pool.slots))
        self._runs: dict[int, ActiveRun] = {}
        self._outbox: Outbox[StorageAction] = Outbox(
            self._tell_storage,
            on_outage=lambda error: observer.storage_lost(error.problem),
            on_return=self._return_to_storage,
        )
        self._signals: list[signal.Signals] = []
        self._last_beat = self._last_idle_claim = time.monotonic()
        self._last_turn = _clock_of_the_world()
        self._stop_deadline: float | None = None

    def run(self) -> SearchEnd:
        """Work until every run is done, the user stops, or too many runs fail in a row.

        Raises:
            StorageFaultError: If results could not be stored before a stop.
        """
        with self._listening(), self._releasing():
            self._feed(reducer.Started())
            while not self._is_over():
                events = self._pool.poll(_POLL_SECONDS)
                self._notice_standstill()
                for event in events:
                    self._take(event)
                self._look_at_clock()
                self._outbox.flush()
        return SearchEnd(
            stopped_by=self._signals[0] if self._signals else None,
            gave_up_after=self._state.recent_failures if self._state.gave_up else (),
        )

    # Events

    def _take(self, event: PoolEvent) -> None:
        if isinstance(event, messages.EpochDone):
            self._feed(reducer.EpochEnded(event.trial_number, event.report))
        elif isinstance(event, messages.TrialEnded):
            self._feed(reducer.TrialEnded(event.trial_number, event.result))
        elif isinstance(event, WorkerGone):
            self._feed(reducer.WorkerLost(event.trial_number))
        elif isinstance(event, messages.BatchDone) and event.trial_number in self._runs:
            self._observer.trial_progressed(self._runs[event.trial_number], event.report)

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        if self._signals and not self._state.is_stopping:
            self._observer.stopping()
            self._stop_deadline = now + _STOP_SECONDS
            self._feed(reducer.StopRequested())
            for claim in self._outbox.remove(lambda action: isinstance(action, reducer.Claim)):
                assert isinstance(claim, reducer.Claim)
                self._feed(reducer.NothingToClaim(claim.slot))
        if self._is_out_of_patience(now):
            for trial_number in list(self._state.trials):
                self._pool.kill_trial(trial_number)
                self._feed(reducer.WorkerLost(trial_number))
        if self._outbox.outage is None:
            with self._outbox.minding_outages():
                self._visit_storage(now)
        self._observer.ticked()

    def _notice_standstill(self) -> None:
        """After standing still, with the whole machine perhaps, judge nobody who did as well."""
        before, self._last_turn = self._last_turn, _clock_of_the_world()
        if self._last_turn - before > HEARTBEAT_SECONDS:
            self._study.judge_later()

    def _is_out_of_patience(self, now: float) -> bool:
        return len(self._signals) > 1 or (self._stop_deadline or now) < now

    def _visit_storage(self, now: float) -> None:
        """Beat, and look for work that another coordinator has lost, when it is time to."""
        if now - self._last_beat > HEARTBEAT_SECONDS:
            self._last_beat = now
            self._study.beat([run.claim for run in self._runs.values()])
        if self._state.is_exhausted and now - self._last_idle_claim > _IDLE_CLAIM_SECONDS:
            self._last_idle_claim = now
            if self._study.is_anything_left():
                self._feed(reducer.WorkLeft())

    def _return_to_storage(self, seconds: float) -> None:
        """Beat before anything else: the others may have waited for us longer than they should."""
        self._study.beat([run.claim for run in self._runs.values()])
        self._study.is_anything_left()  # there may have been nothing to beat for
        if seconds > HEARTBEAT_SECONDS:
            self._study.judge_later()
        self._observer.storage_returned(seconds)

    def _is_over(self) -> bool:
        if not reducer.is_over(self._state):
            return False
        outage = self._outbox.outage
        if self._state.is_stopping and outage and self._is_out_of_patience(time.monotonic()):
            raise outage.error
        if len(self._outbox):
            return False
        if self._state.is_stopping or self._state.gave_up:
            return True
        # Another coordinator may still lose the run it works on; someone must be there.
        is_left = True
        if outage is None:
            with self._outbox.minding_outages():
                is_left = self._study.is_anything_left()
        return not is_left

    @contextmanager
    def _releasing(self) -> Iterator[None]:
        """When the search ends by an error, leave its runs ready to be continued."""
        try:
            yield
        except BaseException:
            # Without a storage the next start finds the runs abandoned, and continues them.
            runs = self._runs.values() if self._outbox.outage is None else ()
            for run in runs:
                with suppress(Exception):  # the first error is the one to be told
                    self._study.fail(run.claim, OutcomeKind.INTERRUPTED.value, {})
            raise

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Turn the signals to stop into entries of `_signals`, waking the pool's poll."""
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        self._pool.wake_on(reading)
        before_descriptor = signal.set_wakeup_fd(writing)
        before = {
            number: signal.signal(number, lambda got, _: self._signals.append(signal.Signals(got)))
            for number in stop_signals()
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_descriptor)
            os.close(writing)

    # Actions

    def _feed(self, event: reducer.Event) -> None:
        self._state, actions = reducer.reduce(self._state, event)
        for action in actions:
            self._perform(action)

    def _perform(self, action: reducer.Action) -> None:
        if isinstance(action, reducer.Train):
            self._train(action)
        elif isinstance(action, reducer.StopTrials):
            self._pool.stop_trials()
        elif isinstance(action, reducer.Abandon):
            self._pool.kill_trial(action.trial_number)
            self._forget(action.trial_number)
        else:
            if isinstance(action, reducer.AnnounceRetry):
                self._runs[action.trial.trial_number].notes.append(f"retried: {action.why}")
            self._outbox.put(action)

    def _tell_storage(self, action: StorageAction) -> None:
        """Carry out an action that needs the storage; repeated as it is after a fault."""
        if isinstance(action, reducer.Claim):
            self._claim(action.slot)
            return
        run = self._runs.get(_trial_number(action))
        if run is None:
            return  # its lease was lost while the action waited
        try:
            if isinstance(action, reducer.AnnounceRetry):
                self._retry(run, action)
            elif isinstance(action, reducer.StoreEpoch):
                self._store_epoch(run, action.report)
            else:
                self._store_end(run, action)
        except LeaseLostError:
            self._forget(run.claim.trial_number)
            self._feed(reducer.LeaseLost(run.claim.trial_number))

    def _forget(self, trial_number: int) -> None:
        self._runs.pop(trial_number, None)

    def _claim(self, slot: int) -> None:
        is_ending = self._state.is_stopping or self._state.gave_up
        claim = None if is_ending else self._study.claim()
        if claim is None:
            self._feed(reducer.NothingToClaim(slot))
            return
        config, notes = self._decode(claim)
        self._runs[claim.trial_number] = ActiveRun(claim, config, notes)
        trial = ActiveTrial(
            trial_number=claim.trial_number,
            slot=slot,
            batch_size=config.training_spec.batch_size,
            accumulation_steps=config.training_spec.accumulation_steps or 1,
            oom_retries=claim.oom_retries,
        )
        self._feed(reducer.Claimed(trial, claim.is_continuation))

    def _retry(self, run: ActiveRun, action: reducer.AnnounceRetry) -> None:
        """Remember what a retry changed, before it starts if possible: a crash must not forget."""
        trial = action.trial
        attributes = {
            "effective_batch_size": trial.batch_size,
            "oom_retries": trial.oom_retries,
        }
        self._study.annotate(run.claim, attributes)
        self._observer.trial_retried(run, action.why)

    def _train(self, action: reducer.Train) -> None:
        trial = action.trial
        if trial.trial_number not in self._state.trials:
            return  # its lease was lost a moment ago
        run = self._runs[trial.trial_number]
        run.config = _with_batch(run.config, trial)
        run.attempt = trial.attempt
        self._pool.run(
            trial.slot,
            messages.RunTrial(
                trial_number=trial.trial_number,
                attempt=trial.attempt,
                config=run.config,
                config_path=self._config_path(run.config),
                resume=action.resume,
                notes=run.notes,
            ),
        )
        self._observer.trial_started(run)

    def _store_epoch(self, run: ActiveRun, report: EpochReport) -> None:
        run.train_losses[report.epoch] = report.train_loss
        self._study.report(run.claim, report.epoch, report.validation_loss, {})
        self._observer.epoch_ended(run, report)

    def _store_end(
        self, run: ActiveRun, action: reducer.StoreResult | reducer.StoreFailure
    ) -> None:
        attributes = _attributes(run, action.trial, action.result)
        is_to_be_continued = action.result.kind == OutcomeKind.INTERRUPTED
        artifacts = () if is_to_be_continued else self._keep(run, self._study.losses(run.claim))
        if isinstance(action, reducer.StoreResult):
            loss = action.result.best_validation_loss
            assert loss is not None, "a completed run has a loss"
            self._study.complete(run.claim, loss, attributes, artifacts)
        else:
            explained = {**attributes, "explanation": action.result.reason}
            self._study.fail(run.claim, action.reason, explained, artifacts)
        self._forget(run.claim.trial_number)
        if isinstance(action, reducer.StoreResult):
            self._observer.trial_completed(run, action.result)
        else:
            self._observer.trial_failed(run, action.reason, action.result)


def _clock_of_the_world() -> float:
    """Seconds that also count while the machine sleeps, where the system can tell."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


def _trial_number(
    action: reducer.StoreEpoch | reducer.StoreResult | reducer.StoreFailure | reducer.AnnounceRetry,
) -> int:
    if isinstance(action, reducer.StoreEpoch):
        return action.trial_number
    return action.trial.trial_number


def _with_batch(config: TrainConfig, trial: ActiveTrial) -> TrainConfig:
    """The configuration with what an out-of-memory retry has come down to."""
    spec = config.training_spec.model_copy(
        update={
            "batch_size": trial.batch_size,
            "accumulation_steps": trial.accumulation_steps,
        }
    )
    return config.model_copy(update={"training_spec": spec})


def _attributes(run: ActiveRun, trial: ActiveTrial, result: TrainingResult) -> Mapping[str, Any]:
    """What a finished trial carries in the storage: flat, so that tables can sort by it."""
    return {
        "run": run.config.model_name,
        "best_epoch": result.best_epoch,
        "epochs_run": result.last_epoch,
        "seconds": round(result.seconds, 3),
        "tokens_per_second": round(result.tokens_per_second, 1),
        "num_parameters": result.num_parameters,
        "peak_memory_mib": round(result.peak_memory_bytes / 2**20, 1),
        "effective_batch_size": trial.batch_size,
        "oom_retries": trial.oom_retries,
    }
