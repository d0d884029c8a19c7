"""What a coordinator does in the situations that it was made for, one by one."""

import logging
from dataclasses import replace

import pytest

from sequifier_hpo.coordinator.figures import first_plan
from sequifier_hpo.coordinator.loop import STOP_SECONDS
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.coordinator.reducer import Policy
from sequifier_hpo.coordinator.surroundings import Surroundings
from sequifier_hpo.errors import EnvironmentFaultError
from sequifier_hpo.records import BatchPlan, MemoryNeed
from sequifier_hpo.study import (
    HEARTBEAT_SECONDS,
    Claim,
    StorageFaultError,
    batch_plan_attributes,
    batch_plan_of,
)
from tests.coordinator.memory_ledger import MemoryLedger, RunStands
from tests.coordinator.stage import Stage
from tests.coordinator.story import Deed, Story, config_of

ONE = Story(num_runs=1, num_slots=1)
UNDISTURBED = SearchEnd(stopped_by=None, gave_up_after=())


def steps(*deeds: Deed) -> list[tuple[Deed, int]]:
    return [(deed, 0) for deed in deeds]


def staged(story: Story) -> tuple[Stage, MemoryLedger]:
    ledger = MemoryLedger(story.num_runs)
    return Stage(story, ledger, ledger), ledger


def test_a_search_without_incidents_completes_every_run_once() -> None:
    stage, ledger = staged(Story(num_runs=5, num_slots=2))

    end = stage.play()

    assert end == UNDISTURBED
    assert ledger.runs == [RunStands.COMPLETE] * 5
    assert [trial.claim.run_number for trial in ledger.trials] == [0, 1, 2, 3, 4]


class KnowingLedger(MemoryLedger):
    """One whose study knows that a batch size does not fit."""

    too_large = 0

    def claim(self) -> Claim | None:
        claim = super().claim()
        return claim and replace(claim, ran_out=[_need(self.too_large)])


class KnowingStage(Stage):
    """One whose trials may begin with smaller batches."""

    first = BatchPlan(batch_size=8, accumulation_steps=1, oom_retries=0)

    def first_plan(self, trial_number: int) -> BatchPlan:
        return self.first


def _need(batch_size: int) -> MemoryNeed:
    return MemoryNeed(device="H200", like="x", sizes={"batch_size": batch_size})


@pytest.mark.parametrize(
    ("too_large", "deed", "first", "num_foreseen", "stands"),
    [
        (4, Deed.EPOCH, (2, 1, 2), 2, RunStands.COMPLETE),
        (1, Deed.RUN_OUT_OF_MEMORY, (1, 1, 3), 4, RunStands.FAILED),
    ],
)
def test_what_is_known_to_fail_is_counted_and_not_tried(
    monkeypatch: pytest.MonkeyPatch,
    too_large: int,
    deed: Deed,
    first: tuple[int, int, int],
    num_foreseen: int,
    stands: RunStands,
) -> None:
    monkeypatch.setattr(Surroundings, "need", lambda *run: _need(run[-1].batch_size))
    ledger = KnowingLedger(1)
    ledger.too_large = too_large
    stage = KnowingStage(replace(ONE, steps=steps(deed)), ledger, ledger)
    size, accumulation, retries = first
    stage.first = BatchPlan(batch_size=size, accumulation_steps=accumulation, oom_retries=retries)

    stage.play()

    (trial,), (order,) = ledger.trials, stage.pool.records[0].orders
    assert (trial.stands, trial.attributes["oom_foreseen"]) == (stands, num_foreseen)
    assert batch_plan_of(trial.attributes) == stage.first
    assert (order.resume, order.attempt, len(order.notes)) == (False, 1, 1)
    assert order.notes[0].startswith("foreseen: out of memory, as is known")
    assert bool(order.foreseen) is (stands is RunStands.FAILED)


def test_editing_on_out_of_memory_does_not_change_a_run_that_is_half_trained() -> None:
    halved = replace(ONE, steps=steps(Deed.RUN_OUT_OF_MEMORY, Deed.EPOCH, Deed.SIGNAL))
    before, ledger = staged(halved)
    before.play()

    after = Stage(ONE, ledger, ledger, accumulates=True)
    after.play()

    (resumed,) = after.pool.records[1].orders
    spec = resumed.config.training_spec
    assert (spec.batch_size, spec.accumulation_steps, resumed.resume) == (4, 1, True)
    assert resumed.notes == ["batch size 4, from out-of-memory retry 1"]


@pytest.mark.parametrize(
    ("policy", "expected"), [(Policy(5, accumulates=False), 3), (Policy(5, accumulates=True), 12)]
)
def test_a_plan_of_0_1_0_is_read_as_it_was_then(policy: Policy, expected: int) -> None:
    asked = config_of(0, batch_size=8)
    spec = asked.training_spec.model_copy(update={"accumulation_steps": 3})
    asked = asked.model_copy(update={"training_spec": spec})
    stored = BatchPlan(batch_size=2, accumulation_steps=None, oom_retries=2)

    plan = first_plan(asked, stored, policy)

    assert plan == BatchPlan(batch_size=2, accumulation_steps=expected, oom_retries=2)


def test_a_retry_is_stored_before_anything_else_is_known_of_it() -> None:
    stage, ledger = staged(replace(ONE, steps=steps(Deed.RUN_OUT_OF_MEMORY, Deed.BREAK)))

    with pytest.raises(EnvironmentFaultError, match="could not start"):
        stage.play()

    plan = BatchPlan(batch_size=4, accumulation_steps=1, oom_retries=1)
    assert ledger.runs == [RunStands.INTERRUPTED]
    assert ledger.trials[0].attributes.items() >= batch_plan_attributes(plan).items()


def test_a_trial_that_does_not_heed_a_stop_is_killed_when_patience_ends() -> None:
    stage, ledger = staged(replace(ONE, steps=steps(Deed.EPOCH, Deed.HANG, Deed.SIGNAL)))

    end = stage.play()

    assert end.stopped_by is not None
    assert ledger.runs == [RunStands.INTERRUPTED]
    assert STOP_SECONDS <= stage.clock.now - stage.stops.times[0] < STOP_SECONDS + 3


def test_when_the_time_is_up_trials_are_left_for_the_next_start() -> None:
    ledger = MemoryLedger(4)
    story = Story(steps(Deed.EPOCH, *[Deed.NOTHING] * 9), num_runs=4, num_slots=2)
    stage = Stage(story, ledger, ledger, seconds=5)

    end = stage.play()

    assert end == SearchEnd(stopped_by=None, gave_up_after=(), stopped_by_budget="time_budget")
    assert ledger.runs == [RunStands.INTERRUPTED] * 2 + [RunStands.WAITING] * 2
    assert 5 <= stage.clock.now < 7
    after = Stage(Story(num_runs=4, num_slots=2), ledger, ledger)
    assert after.play() == UNDISTURBED
    assert ledger.runs == [RunStands.COMPLETE] * 4


def test_when_the_time_is_up_nobody_waits_for_another_coordinator() -> None:
    ledger = MemoryLedger(2, proposal_gap=1)
    story = Story(steps(Deed.BE_TAKEN_OVER, *[Deed.NOTHING] * 50), num_runs=2, num_slots=2)
    stage = Stage(story, ledger, ledger, seconds=8)

    end = stage.play()

    assert end.stopped_by_budget == "time_budget"
    assert stage.clock.now < 11
    assert ledger.runs == [RunStands.ELSEWHERE, RunStands.WAITING]


def test_a_storage_that_is_out_when_the_time_is_up_is_not_waited_for_much_longer() -> None:
    ledger = MemoryLedger(1)
    story = replace(ONE, steps=steps(Deed.OUTAGE, Deed.EPOCH, *[Deed.NOTHING] * 50))
    stage = Stage(story, ledger, ledger, seconds=3)

    with pytest.raises(StorageFaultError, match="it is out"):
        stage.play()

    assert stage.clock.now < 3 + STOP_SECONDS + 3
    assert ledger.runs == [RunStands.HERE]  # for the next start to find it abandoned


def test_a_trial_that_hangs_when_the_time_is_up_is_killed() -> None:
    ledger = MemoryLedger(1)
    stage = Stage(replace(ONE, steps=steps(Deed.EPOCH, Deed.HANG)), ledger, ledger, seconds=1)

    end = stage.play()

    assert end.stopped_by_budget == "time_budget"
    assert ledger.runs == [RunStands.INTERRUPTED]
    assert STOP_SECONDS <= stage.clock.now < STOP_SECONDS + 4


def test_a_second_signal_kills_at_once() -> None:
    deeds = steps(Deed.EPOCH, Deed.HANG, Deed.SIGNAL, Deed.SIGNAL)
    stage, ledger = staged(replace(ONE, steps=deeds))

    stage.play()

    assert ledger.runs == [RunStands.INTERRUPTED]
    assert stage.clock.now < 5


def test_a_trial_that_hangs_does_not_keep_a_search_from_giving_up() -> None:
    deeds = [(Deed.HANG, 1), *steps(Deed.FAIL)]
    story = Story(deeds, num_runs=3, num_slots=2, max_consecutive_failures=1)
    stage, ledger = staged(story)

    end = stage.play()

    assert [failure.reason for failure in end.gave_up_after] == ["crashed"]
    assert ledger.runs == [RunStands.FAILED, RunStands.INTERRUPTED, RunStands.WAITING]


def test_a_search_that_gave_up_says_so_although_another_run_succeeded_by_then() -> None:
    story = Story([(Deed.HANG, 1), *steps(Deed.FAIL, Deed.COMPLETE)], max_consecutive_failures=1)
    stage, ledger = staged(story)

    end = stage.play()

    assert [failure.reason for failure in end.gave_up_after] == ["crashed"]
    assert ledger.runs == [RunStands.FAILED, RunStands.COMPLETE, RunStands.WAITING]


def test_an_outage_costs_no_result() -> None:
    deeds = steps(Deed.OUTAGE, Deed.EPOCH, Deed.EPOCH, Deed.COMPLETE)
    stage, ledger = staged(replace(ONE, steps=deeds))

    end = stage.play()

    assert end == UNDISTURBED
    assert ledger.trials[0].losses == stage.pool.records[0].epochs
    assert len(ledger.trials[0].losses) == 2


def test_a_stop_during_an_outage_that_lasts_ends_with_the_fault() -> None:
    deeds = steps(Deed.OUTAGE, Deed.EPOCH, Deed.SIGNAL, Deed.NOTHING, Deed.SIGNAL, Deed.NOTHING)
    stage, ledger = staged(replace(ONE, steps=deeds))

    with pytest.raises(StorageFaultError, match="it is out"):
        stage.play()

    assert ledger.runs == [RunStands.HERE]  # for the next start to find it abandoned


def test_a_run_that_another_coordinator_loses_is_taken_up_by_whoever_is_left() -> None:
    deeds = steps(Deed.BE_TAKEN_OVER, Deed.EPOCH, *[Deed.NOTHING] * 15, Deed.LET_GO)
    stage, ledger = staged(replace(ONE, steps=deeds))

    stage.play()

    assert ledger.runs == [RunStands.COMPLETE]
    assert len(ledger.trials) == 2


def test_no_run_is_trained_twice_at_once_when_its_lease_was_lost_and_came_back() -> None:
    """The new trial of the run is claimed before anything is told of the old one."""
    deeds = [(Deed.BE_TAKEN_OVER, 0), (Deed.LET_GO, 0), (Deed.COMPLETE, 1)]
    stage, ledger = staged(Story(deeds, num_runs=2, num_slots=2))

    stage.play()

    assert ledger.runs == [RunStands.COMPLETE] * 2
    assert stage.pool.records[0].result is None


def test_held_trials_beat_and_a_machine_that_slept_judges_nobody() -> None:
    deeds = [*[Deed.NOTHING] * (2 * HEARTBEAT_SECONDS + 5), Deed.SLEEP, Deed.NOTHING]
    stage, ledger = staged(replace(ONE, steps=steps(*deeds)))

    stage.play()

    assert ledger.beats == [[0]] * 3
    assert ledger.num_late_judgements == 1


def test_attempts_look_for_baselines_until_they_are_found() -> None:
    story = Story(
        steps(Deed.RUN_OUT_OF_MEMORY, Deed.BASELINES), num_runs=2, num_slots=1, has_baselines=False
    )
    stage, ledger = staged(story)

    stage.play()

    orders = [order for record in stage.pool.records.values() for order in record.orders]
    assert [order.wants_baselines for order in orders] == [True, True, False]
    assert len(ledger.baselines) == 1


INCIDENTS = {
    "stopping": steps(Deed.SIGNAL),
    "trial killed": steps(Deed.HANG, Deed.SIGNAL, Deed.SIGNAL),
    "storage lost": steps(Deed.OUTAGE, Deed.EPOCH),
    "storage returned": steps(Deed.OUTAGE, Deed.EPOCH),
    "lease lost": steps(Deed.BE_TAKEN_OVER, Deed.EPOCH),
    "retried": steps(Deed.RUN_OUT_OF_MEMORY),
    "gave up": steps(*[Deed.FAIL] * 3),
}


@pytest.mark.parametrize("message", INCIDENTS)
def test_every_incident_is_one_record_with_its_ids_as_fields(
    message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sequifier_hpo")
    stage, _ = staged(Story(INCIDENTS[message], num_runs=3, num_slots=1))

    stage.play()

    (record,) = [found for found in caplog.records if found.getMessage() == message]
    assert record.name == "sequifier_hpo.coordinator"
    if message in {"trial killed", "lease lost", "retried"}:
        assert (vars(record)["run_number"], vars(record)["trial_number"]) == (0, 0)
