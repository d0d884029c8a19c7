"""A stage on which a search can be played without processes, storage, signals or waiting.

A story says what happens in which order: epochs, ends, deaths, outages, takeovers, stops. The
players are strict: a pool that is given two trials for one slot, or a ledger that is told the same
end twice, fails the test at once.
"""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf

from sequifier_hpo.cli.view import LineView, SearchProgress
from sequifier_hpo.config.train import TrainConfig
from sequifier_hpo.coordinator.ledger import Ledger
from sequifier_hpo.coordinator.loop import Coordinator
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.coordinator.pool import Pool, PoolEvent, WorkerGone
from sequifier_hpo.coordinator.reducer import Policy
from sequifier_hpo.coordinator.surroundings import Surroundings
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.messages import BaselinesFound, BatchDone, EpochDone, RunTrial, TrialEnded
from sequifier_hpo.records import (
    Baseline,
    BatchPlan,
    BatchReport,
    EpochReport,
    OutcomeKind,
    TrainingResult,
)
from sequifier_hpo.study import Claim
from tests.coordinator.memory_ledger import Storage
from tests.coordinator.story import NUM_EPOCHS, Deed, Story, config_of

NUM_HALVINGS = NUM_LOST_WORKERS = 3
"""That a trial is allowed; written down here so that no one changes them unnoticed."""
BASELINES = [Baseline(name="mean", loss=0.5)]
_MOST_POLLS = 2_000
_SLEEP_SECONDS = 300.0


@dataclass
class Clock:
    """Time as the story tells it."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Stops:
    """Signals as the story sends them."""

    received: list[signal.Signals] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @contextmanager
    def listening(self, wake_on: Callable[[int], None]) -> Iterator[None]:
        yield


@dataclass
class Attempt:
    """A trial in a slot of the scripted pool."""

    order: RunTrial
    slot: int
    epoch: int
    """The last one that it has finished."""
    hangs: bool = False
    is_asked_to_end: bool = False


@dataclass
class TrialRecord:
    """What a trial has really been through."""

    epochs: list[tuple[int, float]] = field(default_factory=list)
    """That the coordinator was told of."""
    orders: list[RunTrial] = field(default_factory=list)
    result: TrainingResult | None = None
    why_again: Deed | None = None
    num_lost_workers: int = 0
    """In a row, without an epoch."""


class ScriptedPool(Pool):
    """A pool without processes, to which happens what a story says."""

    def __init__(self, stage: "Stage", steps: Sequence[tuple[Deed, int]]) -> None:
        self._stage = stage
        self._steps = list(reversed(steps))
        self.is_asked_to_stop = False
        self._num_polls = 0
        self._has_baselines = stage.story.has_baselines
        self._sleeps: list[float] = []
        self.running: dict[int, Attempt] = {}
        """By trial number."""
        self.records: dict[int, TrialRecord] = {}
        self.num_failures = 0
        """In a row."""
        self.most_failures = 0

    @property
    def slots(self) -> range:
        return range(self._stage.story.num_slots)

    def run(self, slot: int, order: RunTrial) -> None:
        number = order.trial_number
        assert slot not in {attempt.slot for attempt in self.running.values()}, "the slot is taken"
        runs = [self._stage.claims[other].run_number for other in self.running]
        assert self._stage.claims[number].run_number not in runs, "the run is being trained"
        assert not self.is_asked_to_stop, "a trial is started after the stop"
        record = self.records.setdefault(number, TrialRecord())
        self._check_order(order, record)
        record.orders.append(order)
        epoch = record.epochs[-1][0] if record.epochs and order.resume else 0
        self.running[number] = Attempt(order, slot, epoch)

    def poll(self, timeout_seconds: float) -> list[PoolEvent]:
        self._num_polls += 1
        assert self._num_polls < _MOST_POLLS, "the search does not come to its end"
        events = self._happen(*self._steps.pop()) if self._steps else self._go_well()
        events += self._end_what_was_asked_to()
        self._stage.clock.now += 0.01 if events else timeout_seconds
        return events

    def wake_on(self, descriptor: int) -> None:
        raise AssertionError("there are no signals here")

    def stop_trials(self) -> None:
        self.is_asked_to_stop = True

    def end_trial(self, trial_number: int) -> None:
        assert trial_number in self.records, "nobody has started it"
        if trial_number in self.running:  # else its end was polled together with what led to this
            self.running[trial_number].is_asked_to_end = True

    def kill_trial(self, trial_number: int) -> None:
        self.running.pop(trial_number, None)

    def close(self) -> None:
        self.running.clear()

    def kill(self) -> None:
        self.running.clear()

    def seconds_slept_since(self, moment: float) -> float:
        """How long the machine has slept after a moment."""
        return _SLEEP_SECONDS * sum(woken > moment for woken in self._sleeps)

    # What may be expected of an order

    def _check_order(self, order: RunTrial, record: TrialRecord) -> None:
        spec, story = order.config.training_spec, self._stage.story
        found = BatchPlan(
            batch_size=spec.batch_size,
            accumulation_steps=spec.accumulation_steps,
            oom_retries=sum(o.attempt > 1 and not o.resume for o in [*record.orders, order]),
        )
        first = self._stage.first_plan(order.trial_number)
        factor = 2**found.oom_retries
        accumulated = factor if self._stage.accumulates else 1
        assert first.accumulation_steps is not None
        assert (found.batch_size, found.accumulation_steps) == (
            first.batch_size // factor,
            first.accumulation_steps * accumulated,
        )
        assert first.oom_retries + found.oom_retries <= NUM_HALVINGS
        assert record.num_lost_workers <= NUM_LOST_WORKERS
        assert order.attempt == len(record.orders) + 1
        if record.orders:
            assert order.resume is (record.why_again is Deed.LOSE_WORKER)
        else:
            assert order.resume is self._stage.claims[order.trial_number].is_continuation
        assert order.wants_baselines is not self._has_baselines
        assert self.num_failures < story.max_consecutive_failures, "it should have given up"

    # What happens

    def _end_what_was_asked_to(self) -> list[PoolEvent]:
        heeding = [
            n
            for n, attempt in self.running.items()
            if not attempt.hangs and (self.is_asked_to_stop or attempt.is_asked_to_end)
        ]
        return [self._end(number, OutcomeKind.INTERRUPTED) for number in heeding]

    def _go_well(self) -> list[PoolEvent]:
        storage = self._stage.storage
        storage.is_out, storage.answers_until_loss = False, 0
        storage.let_go(completing=False)
        events: list[PoolEvent] = []
        for number, attempt in list(self.running.items()):
            if self.is_asked_to_stop:
                continue
            if attempt.order.wants_baselines:
                events.append(self._baselines(number))
            if attempt.epoch < NUM_EPOCHS or self._stage.story.loss_of is None:
                events.append(self._epoch(number))
            if attempt.epoch >= NUM_EPOCHS:
                events.append(self._end(number, OutcomeKind.COMPLETED))
        return events

    def _happen(self, deed: Deed, pick: int) -> list[PoolEvent]:
        if deed in _OF_A_TRIAL:
            if not self.running:
                return []
            number = sorted(self.running)[pick % len(self.running)]
            return self._happen_to(deed, number)
        if deed is Deed.BREAK:
            raise EnvironmentFaultError("a worker process could not start")
        if deed is Deed.STRAY_END:
            return self._stray_end(pick)
        self._happen_around(deed, pick)
        return []

    def _stray_end(self, pick: int) -> list[PoolEvent]:
        gone = sorted(self.records.keys() - self.running.keys())
        result = _result(OutcomeKind.OUT_OF_MEMORY, self._stage.story.batch_size)
        return [TrialEnded(trial_number=gone[pick % len(gone)], result=result)] if gone else []

    def _happen_around(self, deed: Deed, pick: int) -> None:
        storage, stops, clock = self._stage.storage, self._stage.stops, self._stage.clock
        match deed:
            case Deed.OUTAGE:
                storage.is_out = not storage.is_out
            case Deed.LOSE_ANSWER:
                storage.answers_until_loss = 1 + pick
            case Deed.LET_GO:
                storage.let_go(completing=pick % 2 == 1)
            case Deed.SLEEP:
                clock.now += _SLEEP_SECONDS
                self._sleeps.append(clock.now)
            case Deed.SIGNAL:
                stops.received.append(signal.SIGINT)
                stops.times.append(clock.now)
            case _:
                assert deed is Deed.NOTHING

    def _happen_to(self, deed: Deed, number: int) -> list[PoolEvent]:
        attempt = self.running[number]
        match deed:
            case Deed.EPOCH:
                if self._stage.story.loss_of is not None and attempt.epoch == NUM_EPOCHS:
                    return [self._end(number, OutcomeKind.COMPLETED)]
                return [self._epoch(number)]
            case Deed.BATCH:
                return [BatchDone(trial_number=number, report=_BATCH)]
            case Deed.BASELINES:
                return [self._baselines(number)]
            case Deed.LOSE_WORKER:
                return [self._lose_worker(number)]
            case Deed.HANG:
                attempt.hangs = True
            case Deed.BE_TAKEN_OVER:
                self._stage.storage.take_over(number)
            case _:
                if deed is Deed.COMPLETE and not self.records[number].epochs:
                    return [self._epoch(number), self._end(number, OutcomeKind.COMPLETED)]
                return [self._end(number, _ENDS[deed])]
        return []

    def _baselines(self, number: int) -> PoolEvent:
        self._has_baselines = True
        return BaselinesFound(trial_number=number, baselines=BASELINES)

    def _epoch(self, number: int) -> PoolEvent:
        attempt, record = self.running[number], self.records[number]
        attempt.epoch += 1
        if self._stage.story.loss_of is not None:
            loss = self._stage.story.loss_of(self._stage.claims[number].run_number, attempt.epoch)
        else:
            loss = 1.0 / (attempt.epoch + number + 100 * len(record.orders))
        record.epochs.append((attempt.epoch, loss))
        record.num_lost_workers = 0
        return EpochDone(trial_number=number, report=report_of(attempt.epoch, loss))

    def _end(self, number: int, kind: OutcomeKind) -> PoolEvent:
        attempt, record = self.running.pop(number), self.records[number]
        batch_size = attempt.order.config.training_spec.batch_size
        loss = min((loss for _, loss in record.epochs), default=None)
        record.result = _result(kind, batch_size, loss)
        record.why_again = None
        if kind is OutcomeKind.OUT_OF_MEMORY:
            record.why_again = Deed.RUN_OUT_OF_MEMORY
        self._count(number, kind)
        return TrialEnded(trial_number=number, result=record.result)

    def _lose_worker(self, number: int) -> PoolEvent:
        record = self.records[number]
        del self.running[number]
        record.why_again = Deed.LOSE_WORKER
        record.num_lost_workers += 1
        if record.num_lost_workers > NUM_LOST_WORKERS and not self.is_asked_to_stop:
            self._count_failure()
        return WorkerGone(number, -signal.SIGKILL)

    def _count(self, number: int, kind: OutcomeKind) -> None:
        match kind:
            case OutcomeKind.COMPLETED:
                self.num_failures = 0
            case OutcomeKind.OUT_OF_MEMORY:
                orders = self.records[number].orders
                retries = sum(o.attempt > 1 and not o.resume for o in orders)
                retries += self._stage.first_plan(number).oom_retries
                is_last = orders[-1].config.training_spec.batch_size < 2 or retries >= NUM_HALVINGS
                if is_last and not self.is_asked_to_stop:
                    self._count_failure()
            case OutcomeKind.INTERRUPTED:
                pass
            case _:
                self._count_failure()

    def _count_failure(self) -> None:
        self.num_failures += 1
        self.most_failures = max(self.most_failures, self.num_failures)


_ENDS = {
    Deed.COMPLETE: OutcomeKind.COMPLETED,
    Deed.FAIL: OutcomeKind.CRASHED,
    Deed.RUN_OUT_OF_MEMORY: OutcomeKind.OUT_OF_MEMORY,
    Deed.BE_STOPPED_BY_OTHERS: OutcomeKind.INTERRUPTED,
}
_OF_A_TRIAL = {
    Deed.BATCH,
    Deed.EPOCH,
    Deed.BASELINES,
    Deed.LOSE_WORKER,
    Deed.HANG,
    Deed.BE_TAKEN_OVER,
    *_ENDS,
}
_BATCH = BatchReport(
    epoch=1, batch=1, num_batches=2, train_loss=1.0, learning_rate=0.1, tokens_per_second=1.0
)


def report_of(epoch: int, loss: float) -> EpochReport:
    return EpochReport(
        epoch=epoch,
        train_loss=loss,
        validation_loss=loss,
        validation_loss_by_target={"product": loss},
        learning_rate=0.1,
        is_best=True,
        seconds=1.0,
        tokens_per_second=1.0,
        peak_memory_bytes=1,
        num_parameters=9,
        total_seconds=float(epoch),
    )


def _result(kind: OutcomeKind, batch_size: int, loss: float | None = None) -> TrainingResult:
    reason = "" if kind is OutcomeKind.COMPLETED else kind.value
    return TrainingResult(
        kind=kind, reason=reason, batch_size=batch_size, best_validation_loss=loss, best_epoch=1
    )


class Stage:
    """Where a story is played, once."""

    def __init__(
        self,
        story: Story,
        ledger: Ledger,
        storage: Storage,
        *,
        clock: Clock | None = None,
        accumulates: bool | None = None,
        seconds: float = inf,
    ) -> None:
        """Set the stage.

        Args:
            story: What happens.
            ledger: Where runs come from.
            storage: What of it can go wrong.
            clock: Goes on; None = a new one.
            accumulates: Replaces the story's.
            seconds: To train.
        """
        self.story = story
        self.storage = storage
        self.clock = clock or Clock()
        self.accumulates = story.accumulates if accumulates is None else accumulates
        self.stops = Stops()
        self.claims: dict[int, Claim] = {}
        self.pool = ScriptedPool(self, story.steps)
        shown = SearchProgress(story.num_runs, num_done=0, best_loss=None, best_run=None)
        self._coordinator = Coordinator(
            ledger,
            self.pool,
            Policy(story.max_consecutive_failures, self.accumulates),
            LineView(shown, write_results=lambda: None),
            Surroundings(self._decode, lambda config: f"{config.model_name}.yaml"),
            has_baselines=story.has_baselines,
            stops=self.stops,
            seconds_left=lambda: seconds - self.clock.now,
            clock=self.clock,
        )

    def play(self) -> SearchEnd:
        """Run the search to its end."""
        return self._coordinator.run()

    def first_plan(self, trial_number: int) -> BatchPlan:
        """What a trial is to begin with."""
        stored = self.claims[trial_number].batch_plan
        asked = BatchPlan(batch_size=self.story.batch_size, accumulation_steps=1, oom_retries=0)
        return stored or asked

    def _decode(self, claim: Claim) -> tuple[TrainConfig, list[str]]:
        self.claims[claim.trial_number] = claim
        return config_of(claim.run_number, self.story.batch_size), []
