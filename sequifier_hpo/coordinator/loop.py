"""The loop of a search: events in, decisions from the reducer, actions out."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from math import inf
from typing import assert_never

from sequifier_hpo import messages
from sequifier_hpo.coordinator import reducer
from sequifier_hpo.coordinator.clock import clock_of_the_world
from sequifier_hpo.coordinator.figures import (
    attributes_of,
    attributes_of_batches,
    begun,
    figures_at,
    figures_of,
    interrupted,
    with_batches,
)
from sequifier_hpo.coordinator.ledger import Ledger
from sequifier_hpo.coordinator.observer import ActiveRun, Observer, SearchEnd
from sequifier_hpo.coordinator.outbox import Outbox
from sequifier_hpo.coordinator.pool import Pool, PoolEvent, WorkerGone
from sequifier_hpo.coordinator.reducer import ActiveTrial, Policy, State
from sequifier_hpo.coordinator.stop_signals import StopRequests, StopSignals
from sequifier_hpo.coordinator.surroundings import Surroundings
from sequifier_hpo.records import EpochReport, OutcomeKind
from sequifier_hpo.strategy import TIME
from sequifier_hpo.study import (
    HEARTBEAT_SECONDS,
    LeaseLostError,
    StopAt,
    StorageFaultError,
    Undecided,
)

POLL_SECONDS = 1.0
STOP_SECONDS = 20.0  # after that, trials that have not ended are killed
_IDLE_CLAIM_SECONDS = 10.0
_WAIT_SECONDS = 2.0  # until it is asked again if another coordinator's run has ended
_log = logging.getLogger("sequifier_hpo.coordinator")


class Coordinator:
    """Runs a study to its end on this machine."""

    def __init__(
        self,
        ledger: Ledger,
        pool: Pool,
        policy: Policy,
        observer: Observer,
        surroundings: Surroundings,
        *,
        has_baselines: bool = True,
        stops: StopRequests | None = None,
        seconds_left: Callable[[], float] = lambda: inf,
        clock: Callable[[], float] = clock_of_the_world,
    ) -> None:
        """Put the parts together.

        Args:
            ledger: Where runs come from and results go.
            pool: Where trials run.
            policy: When to retry and when to give up.
            observer: Who is told.
            surroundings: Where the configurations of runs come from and their files go.
            has_baselines: Whether the ledger has them; else attempts look for them until one has.
            stops: What may ask to stop; None = the signals of this process.
            seconds_left: Until trials are to be stopped.
            clock: Monotonic seconds.
        """
        self._ledger, self._pool, self._observer = ledger, pool, observer
        self._around = surroundings
        self._stops = StopSignals() if stops is None else stops
        self._clock, self._seconds_left = clock, seconds_left
        self._is_time_up = False
        self._state = State(policy, frozenset(pool.slots), has_baselines=has_baselines)
        # By trial number: claimed, and their end not stored yet.
        self._runs: dict[int, ActiveRun] = {}
        # Those of them that are trained, while it is open whether they go past a rung.
        self._awaiting: dict[int, reducer.StoreEnd] = {}
        self._is_undecided = False
        # Trial number -> when a trial that was asked to end is killed.
        self._patience: dict[int, float] = {}
        self._outbox = Outbox(
            self._tell_storage,
            on_outage=self._notice_outage,
            on_return=self._return_to_storage,
            clock=clock,
        )
        self._last_beat = self._last_idle_claim = self._last_turn = self._last_look = clock()
        self._stop_deadline: float | None = None

    def run(self) -> SearchEnd:
        """Work until every run is done, the user or the time stops, or too many runs fail in a row.

        Raises:
            StorageFaultError: If results could not be stored before a stop.
        """
        with self._stops.listening(self._pool.wake_on), self._releasing():
            self._feed(reducer.Started())
            while not self._is_over():
                events = self._pool.poll(POLL_SECONDS)
                self._notice_standstill()
                for event in events:
                    self._take(event)
                self._heed_stops()
                self._mind_pruned()
                self._visit_storage()
                self._observer.ticked()
                self._outbox.flush()
        return SearchEnd(
            stopped_by=self._stops.received[0] if self._stops.received else None,
            gave_up_after=self._state.recent_failures if self._state.gave_up else (),
            stopped_by_budget=TIME if self._is_time_up else "",
        )

    # Events

    def _take(self, event: PoolEvent) -> None:
        match event:
            case messages.BatchDone(trial_number=trial_number, report=report):
                if trial_number in self._runs:
                    self._observer.trial_progressed(self._runs[trial_number], report)
            case messages.WorkerReady() | messages.TrialStarted():
                pass
            case (
                messages.EpochsRestored()
                | messages.EpochDone()
                | messages.BaselinesFound()
                | messages.TrialEnded()
                | WorkerGone()
            ):
                self._feed(event)
            case _:
                assert_never(event)

    def _notice_standstill(self) -> None:
        """After a pause, perhaps of the whole machine, do not judge others who paused as well."""
        before, self._last_turn = self._last_turn, self._clock()
        if self._last_turn - before > HEARTBEAT_SECONDS:
            self._ledger.judge_later()

    def _heed_stops(self) -> None:
        received = self._stops.received
        is_time_up = not received and not self._state.is_ending and self._seconds_left() <= 0
        if (received and not self._state.is_stopping) or is_time_up:
            self._is_time_up = is_time_up
            _log.info("stopping", extra={"signal": TIME if is_time_up else received[0].name})
            self._observer.stopping(is_time_up=is_time_up)
            self._feed(reducer.StopRequested())
            for claim in self._outbox.remove(lambda action: isinstance(action, reducer.Claim)):
                assert isinstance(claim, reducer.Claim)
                self._feed(reducer.NothingToClaim(claim.slot))
        if self._is_out_of_patience():
            for trial_number in list(self._state.trials):
                _log.warning("trial killed", extra=self._runs[trial_number].ids)
                self._kill(trial_number)
        while self._state.is_ending and self._awaiting:  # to store one may lose another
            action = self._awaiting.pop(next(iter(self._awaiting)))
            self._outbox.put(replace(action, result=interrupted(action.result)))

    def _mind_pruned(self) -> None:
        """Kill trials that were asked to end at a rung and do not."""
        for trial_number in list(self._state.ending):
            if self._clock() > self._patience[trial_number] or self._is_out_of_patience():
                _log.warning("pruned trial killed", extra={"trial_number": trial_number})
                self._kill(trial_number)
        self._patience = {n: self._patience[n] for n in self._state.ending}

    def _kill(self, trial_number: int) -> None:
        self._pool.kill_trial(trial_number)
        self._feed(WorkerGone(trial_number, -signal.SIGKILL))

    def _is_out_of_patience(self) -> bool:
        is_late = self._stop_deadline is not None and self._clock() > self._stop_deadline
        return is_late or len(self._stops.received) > 1

    def _visit_storage(self) -> None:
        """Send heartbeats and look for runs that another coordinator lost, when it is time to."""
        if self._outbox.outage is not None:
            return
        now = self._clock()
        with self._outbox.minding_outages():
            if now - self._last_beat > HEARTBEAT_SECONDS:
                self._last_beat = now
                self._ledger.beat([run.claim for run in self._runs.values()])
            if self._is_undecided and now - self._last_look > _WAIT_SECONDS:
                self._last_look = now
                self._ledger.look_at_others()
                self._judge()
            if self._state.is_waiting and now - self._last_idle_claim > _WAIT_SECONDS:
                self._last_idle_claim = now
                self._feed(reducer.WorkLeft())
            if self._state.is_exhausted and now - self._last_idle_claim > _IDLE_CLAIM_SECONDS:
                self._last_idle_claim = now
                if self._ledger.is_anything_left():
                    self._feed(reducer.WorkLeft())

    def _notice_outage(self, error: StorageFaultError) -> None:
        _log.warning("storage lost", extra={"reason": error.problem})
        self._observer.storage_lost(error.problem)

    def _return_to_storage(self, seconds: float) -> None:
        """Send heartbeats before anything else: the others may have waited for us too long."""
        self._ledger.beat([run.claim for run in self._runs.values()])
        self._ledger.is_anything_left()  # there may have been no trial to send heartbeats for
        if seconds > HEARTBEAT_SECONDS:
            self._ledger.judge_later()
        _log.info("storage returned", extra={"seconds": round(seconds, 3)})
        self._observer.storage_returned(seconds)

    def _is_over(self) -> bool:
        if not reducer.is_over(self._state):
            return False
        outage = self._outbox.outage
        if outage is not None and self._state.is_stopping and self._is_out_of_patience():
            raise outage.error
        if len(self._outbox) or self._awaiting:
            return False
        if self._state.is_ending:
            return True
        # Another coordinator may still lose the run it works on; someone must be there.
        is_left = True
        if outage is None:
            with self._outbox.minding_outages():
                is_left = self._ledger.is_anything_left()
        return not is_left

    @contextmanager
    def _releasing(self) -> Iterator[None]:
        """When the search ends with an error, leave its runs resumable."""
        try:
            yield
        except BaseException:
            # Without a storage the next start finds the runs abandoned, and continues them.
            runs = self._runs.values() if self._outbox.outage is None else ()
            for run in runs:
                with suppress(Exception):  # the first error is the one to be told
                    self._ledger.fail(run.claim, OutcomeKind.INTERRUPTED.value, {})
            raise

    # Actions

    def _feed(self, event: reducer.Event) -> None:
        self._state, actions = reducer.reduce(self._state, event)
        for action in actions:
            self._perform(action)

    def _perform(self, action: reducer.Action) -> None:
        match action:
            case reducer.Train():
                self._train(action)
            case reducer.EndTrial(trial_number):
                self._patience[trial_number] = self._clock() + STOP_SECONDS
                self._pool.end_trial(trial_number)
            case reducer.Abandon(trial_number):
                self._pool.kill_trial(trial_number)
                self._forget(trial_number)
            case reducer.GiveUp(failures):
                fields = {"num_failures": len(failures), "reason": failures[-1].reason}
                _log.warning("gave up", extra=fields)
            case reducer.StopTrials():
                self._stop_deadline = self._clock() + STOP_SECONDS
                self._pool.stop_trials()
            case reducer.AnnounceRetry(trial, why):
                run = self._runs[trial.trial_number]
                what = "retried" if trial.attempt > 1 else "foreseen"
                run.notes.append(f"{what}: {why}")
                _log.warning(what, extra={**run.ids, "why": why})
                self._outbox.put(action)
            case (
                reducer.Claim()
                | reducer.StoreEpoch()
                | reducer.StoreRestored()
                | reducer.StoreBaselines()
                | reducer.StoreEnd()
                | reducer.StorePruned()
            ):
                self._outbox.put(action)
            case _:
                assert_never(action)

    def _train(self, action: reducer.Train) -> None:
        trial = action.trial
        if trial.trial_number not in self._state.trials:
            return  # its lease was lost a moment ago
        run = self._runs[trial.trial_number]
        run.config = with_batches(run.config, trial.plan)
        run.attempt = trial.attempt
        order = messages.RunTrial(
            trial_number=trial.trial_number,
            attempt=trial.attempt,
            config=run.config,
            config_path=self._around.config_path(run.config),
            resume=action.resume,
            identity=self._around.identity(run.claim),
            counted=self._around.counted,
            wants_baselines=action.wants_baselines,
            foreseen=run.notes[-1] if trial.is_hopeless else "",
            notes=run.notes,
        )
        self._pool.run(trial.slot, order)
        self._observer.trial_started(run)

    def _forget(self, trial_number: int) -> None:
        self._runs.pop(trial_number, None)
        self._awaiting.pop(trial_number, None)

    # Actions that need the storage; each is repeated as it is after a fault

    def _tell_storage(self, action: reducer.ForStorage) -> None:
        match action:
            case reducer.Claim(slot):
                self._claim(slot)
            case reducer.StoreBaselines(baselines):
                self._ledger.keep_baselines(baselines)
            case _:
                self._tell_of_trial(action)

    def _claim(self, slot: int) -> None:
        claim = None if self._state.is_ending else self._ledger.claim()
        if claim is None:
            waits_for = () if self._state.is_ending else self._ledger.waits_for
            if waits_for:
                self._observer.waiting(waits_for, self._ledger.could_free)
            self._feed(reducer.NothingToClaim(slot, must_wait=bool(waits_for)))
            return
        for run in list(self._runs.values()):
            if run.claim.run_number == claim.run_number:
                # To someone who has lost it in turn: no run is trained twice at once.
                self._lose(run)
        config, notes = self._around.decode(claim)
        if (plan := claim.batch_plan) is not None:
            size, retries = plan.batch_size, plan.oom_retries
            notes = [*notes, f"batch size {size}, from out-of-memory retry {retries}"]
        if claim.stopped_at is not None:
            notes = [*notes, f"it was stopped after epoch {claim.stopped_at}; now to its end"]
        need = partial(self._around.need, claim, config)
        run = self._runs[claim.trial_number] = ActiveRun(claim, config, notes, need)
        trial = begun(run, slot, self._state.policy)
        self._feed(reducer.Claimed(trial, claim.is_continuation))
        self._judge()

    def _tell_of_trial(self, action: reducer.OfHeldTrial) -> None:
        run = self._runs.get(action.trial.trial_number)
        if run is None:
            return  # its lease was lost while the action waited
        try:
            match action:
                case reducer.AnnounceRetry(trial, why):
                    # Before the retry starts, if possible: a crash must not forget it.
                    self._ledger.annotate(run.claim, attributes_of_batches(run, trial))
                    self._observer.trial_retried(run, why)
                case reducer.StoreEpoch(_, report):
                    self._store_epoch(run, report)
                case reducer.StoreRestored(_, losses):
                    known = self._ledger.losses(run.claim)
                    for epoch in sorted(losses):
                        if known.get(epoch) != losses[epoch]:
                            self._ledger.report(run.claim, epoch, losses[epoch])
                    self._observer.trial_resumed(run, losses)
                case reducer.StoreEnd():
                    self._store_end(run, action)
                case reducer.StorePruned(trial, rung):
                    self._store_pruned(run, trial, rung)
                case _:
                    assert_never(action)
        except LeaseLostError:
            self._lose(run)
        self._judge()

    def _judge(self) -> None:
        """Take every decision that can be taken about the runs here."""
        self._is_undecided = False
        for trial_number, run in list(self._runs.items()):
            is_awaiting = trial_number in self._awaiting
            if trial_number not in self._state.trials and not is_awaiting:
                continue
            verdict = self._ledger.verdict(run.claim)
            self._is_undecided = self._is_undecided or isinstance(verdict, Undecided)
            if is_awaiting and not isinstance(verdict, Undecided):
                self._outbox.put(self._awaiting.pop(trial_number))
            elif isinstance(verdict, StopAt):
                self._feed(reducer.Pruned(trial_number, verdict.rung))

    def _lose(self, run: ActiveRun) -> None:
        _log.warning("lease lost", extra=run.ids)
        self._forget(run.claim.trial_number)
        self._observer.trial_lost(run)
        self._feed(reducer.LeaseLost(run.claim.trial_number))

    def _store_epoch(self, run: ActiveRun, report: EpochReport) -> None:
        run.reports[report.epoch] = report
        self._ledger.report(run.claim, report.epoch, report.validation_loss)
        self._observer.epoch_ended(run, report)

    def _store_end(self, run: ActiveRun, action: reducer.StoreEnd) -> None:
        trial, result = action.trial, action.result
        if result.kind != OutcomeKind.INTERRUPTED:
            # How it ended counts only if it was not to be stopped before.
            verdict = self._ledger.verdict(run.claim)
            if isinstance(verdict, Undecided):
                self._awaiting[trial.trial_number] = action
                return
            if isinstance(verdict, StopAt):
                self._around.drop(result.model_files)
                self._store_pruned(run, trial, verdict.rung)
                return
        attributes = attributes_of(run, trial, figures_of(result))
        is_to_be_continued = result.kind == OutcomeKind.INTERRUPTED
        artifacts = (
            () if is_to_be_continued else self._around.keep(run, self._ledger.losses(run.claim))
        )
        if result.kind == OutcomeKind.COMPLETED:
            loss = result.best_validation_loss
            assert loss is not None, "a completed run has a loss"
            self._ledger.complete(run.claim, loss, attributes, artifacts)
            self._forget(run.claim.trial_number)
            self._observer.trial_completed(run, result)
        else:
            attributes["explanation"] = result.reason
            self._ledger.fail(run.claim, result.kind.value, attributes, artifacts)
            self._forget(run.claim.trial_number)
            self._observer.trial_failed(run, result)
        self._wake_idle()

    def _store_pruned(self, run: ActiveRun, trial: ActiveTrial, rung: int) -> None:
        losses = {e: loss for e, loss in self._ledger.losses(run.claim).items() if e <= rung}
        attributes = attributes_of(run, trial, figures_at(run, rung, losses))
        self._ledger.prune(run.claim, rung, attributes, self._around.keep(run, losses))
        self._forget(run.claim.trial_number)
        self._observer.trial_pruned(run, rung, min(losses.values()))
        self._wake_idle()

    def _wake_idle(self) -> None:
        """What idle workers wait for may have happened."""
        if self._state.is_waiting:
            self._feed(reducer.WorkLeft())
