"""What the study of a winner check promises, on every storage."""

from collections.abc import Callable, Sequence

import optuna
import pytest

from sequifier_hpo.records import BatchPlan, RunState
from sequifier_hpo.searchspace import Point
from sequifier_hpo.strategy import ChosenRuns
from sequifier_hpo.study import (
    Claim,
    Description,
    Proposal,
    read_study,
)
from sequifier_hpo.study.notes import note_of
from tests.conftest import WriteSearch
from tests.contract.conftest import Opener, Plan
from tests.contract.test_study import MODEL, finish_all, plan_of

Wanted = Sequence[tuple[int, int]]
"""(run number, seed) of each training."""
CAME_DOWN_TO = {"effective_batch_size": 16, "effective_accumulation_steps": 2, "oom_retries": 1}
"""What out-of-memory retries have made of the runs of the search."""


class Check:
    """A winner check, and what it was to train."""

    def __init__(self, opener: Opener, plan: Plan, wanted: Wanted) -> None:
        self.wanted = {}
        chosen = []
        for run, seed in wanted:
            cell = plan.effective.representative(run)
            point = plan.space.point_at(cell)
            key = plan.keyer.key(point, seed=seed)
            self.wanted[key] = (run, seed)
            chosen.append(Proposal(key, point, plan.space.labels_at(cell)))
        self.ledger = opener.check(plan, ChosenRuns(chosen), self._describe)

    def _describe(self, key: str, _point: Point) -> Description:
        run, seed = self.wanted[key]
        return Description(
            title=lambda _: f"run {run}, seed {seed}",
            attributes={**CAME_DOWN_TO, "verified_run": run, "seed": seed},
            note=lambda _: "a note",
        )

    def claim(self) -> Claim:
        claim = self.ledger.claim()
        assert claim is not None
        return claim

    def train_all(self) -> list[tuple[int, int]]:
        """Train what there is to claim; returns (run number, seed) of each."""
        done = []
        while (claim := self.ledger.claim()) is not None:
            run, seed = self.wanted[claim.key]
            self.ledger.complete(claim, run + seed / 1000, {})
            done.append((run, seed))
        return done


OpenCheck = Callable[[Wanted], Check]


@pytest.fixture
def plan(write_search: WriteSearch, opener: Opener) -> Plan:
    """A search of 8 runs that is over."""
    plan = plan_of(write_search)
    finish_all(opener.study(plan))
    return plan


@pytest.fixture
def check(plan: Plan, opener: Opener) -> OpenCheck:
    """Open the winner check of some runs with some seeds."""

    def open_check(wanted: Wanted) -> Check:
        return Check(opener, plan, wanted)

    return open_check


def test_every_run_is_trained_once_with_every_seed_in_the_given_order(check: OpenCheck) -> None:
    wanted = [(5, 102), (2, 102), (5, 103), (2, 103)]
    study = check(wanted)

    assert study.train_all() == wanted
    assert not study.ledger.is_anything_left()
    assert [run.validation_loss for run in study.ledger.runs()] == [5.102, 2.102, 5.103, 2.103]


def test_a_larger_check_trains_only_what_is_new(check: OpenCheck) -> None:
    check([(5, 102), (2, 102)]).train_all()

    more = check([(5, 102), (2, 102), (7, 102), (5, 103), (2, 103), (7, 103)])

    assert more.train_all() == [(7, 102), (5, 103), (2, 103), (7, 103)]
    assert len(more.ledger.runs()) == 6


def test_the_search_sees_nothing_of_the_check_and_goes_on_with_its_own_numbers(
    check: OpenCheck, plan: Plan, opener: Opener
) -> None:
    before = read_study(opener.storage, "shop").runs

    check([(5, 102)]).train_all()

    assert read_study(opener.storage, "shop").runs == before
    assert opener.study(plan).claim() is None


def test_a_check_begun_before_the_search_is_over_leaves_the_next_runs_as_they_were(
    write_search: WriteSearch, opener: Opener
) -> None:
    few = plan_of(write_search, {"search_strategy": "sample", "n_samples": 3})
    finish_all(opener.study(few))
    Check(opener, few, [(1, 102), (0, 102)]).train_all()

    more = plan_of(write_search, {"search_strategy": "sample", "n_samples": 4})
    claim = opener.study(more).claim()

    assert claim is not None
    assert claim.run_number == 3


def test_a_training_begins_with_the_batch_size_that_the_run_had_come_down_to(
    check: OpenCheck,
) -> None:
    claim = check([(5, 102)]).claim()

    assert not claim.is_continuation
    assert claim.batch_plan == BatchPlan(batch_size=16, accumulation_steps=2, oom_retries=1)


def test_an_interrupted_training_is_continued_with_the_batch_size_it_had_come_to(
    check: OpenCheck,
) -> None:
    study = check([(5, 102), (2, 102)])
    claim = study.claim()
    smaller = {"effective_batch_size": 4, "effective_accumulation_steps": 8, "oom_retries": 3}
    study.ledger.annotate(claim, smaller)
    study.ledger.fail(claim, "interrupted", {})

    again = check([(5, 102), (2, 102)]).claim()

    assert (again.run_number, again.key) == (claim.run_number, claim.key)
    assert again.is_continuation
    assert again.batch_plan == BatchPlan(batch_size=4, accumulation_steps=8, oom_retries=3)
    assert again.title == "run 5, seed 102"


def test_a_training_whose_coordinator_died_is_taken_over(check: OpenCheck, opener: Opener) -> None:
    claim = check([(5, 102)]).claim()
    opener.die()

    again = check([(5, 102)]).claim()

    assert (again.run_number, again.is_continuation) == (claim.run_number, True)


def test_a_training_that_another_coordinator_works_on_is_waited_for(check: OpenCheck) -> None:
    check([(5, 102)]).claim()

    second = check([(5, 102)])

    assert second.ledger.claim() is None
    assert second.ledger.is_anything_left()


def test_a_training_that_is_not_wanted_any_more_is_left_alone(check: OpenCheck) -> None:
    study = check([(5, 102)])
    study.ledger.fail(study.claim(), "interrupted", {})

    other = check([(2, 102)])

    assert other.train_all() == [(2, 102)]
    assert not other.ledger.is_anything_left()


def test_the_study_and_each_training_explain_themselves_in_the_dashboard(
    check: OpenCheck, opener: Opener
) -> None:
    study = check([(5, 102)])
    study.ledger.describe_study({"verifies": "shop"}, "a check")
    claim = study.claim()

    stored = optuna.load_study(study_name="shop/verify", storage=opener.storage.cached)

    attrs = opener.storage.cached.get_study_system_attrs(stored._study_id)
    assert note_of(attrs)["body"] == "a check"
    assert note_of(attrs, claim.trial_id)["body"] == "a note"
    assert stored.user_attrs == {"baselines": [], "verifies": "shop"}
    assert stored.trials[0].user_attrs == {**CAME_DOWN_TO, "verified_run": 5, "seed": 102}


def test_a_failed_training_is_repeated_only_when_asked_for(check: OpenCheck) -> None:
    study = check([(5, 102)])
    study.ledger.fail(study.claim(), "diverged", {})

    nothing = study.ledger.claim()
    states = [run.state for run in study.ledger.runs()]
    num_failed = study.ledger.retry_failed()

    assert (nothing, states, num_failed) == (None, [RunState.FAILED], 1)
    assert study.train_all() == [(5, 102)]


def test_a_check_goes_on_with_its_search_when_that_is_revised(
    check: OpenCheck, write_search: WriteSearch, opener: Opener
) -> None:
    check([(5, 102)]).train_all()
    other = plan_of(write_search, {f"{MODEL}.num_layers": [1, 2, 3]})

    study = Check(opener, other, [(k, 102) for k in range(12)])

    assert len(study.train_all()) == 11
    assert not any(run.is_outside for run in study.ledger.runs())
