"""What the study of a winner check promises, on every storage."""

from collections.abc import Callable, Sequence

import optuna
import pytest

from sequifier_hpo.records import BatchPlan, RunState
from sequifier_hpo.study import (
    Claim,
    Retraining,
    SearchPlan,
    SpaceChangedError,
    VerificationStudy,
    batch_plan_attributes,
    read_study,
    verification_name,
)
from sequifier_hpo.study.notes import note_of
from tests.conftest import WriteSearch
from tests.contract.conftest import Opener
from tests.contract.test_study import MODEL, finish_all, plan_of

Wanted = Sequence[tuple[int, int]]
"""(run number, seed) of each training."""
CAME_DOWN_TO = BatchPlan(batch_size=16, accumulation_steps=2, oom_retries=1)
"""What out-of-memory retries have made of the runs of the search."""
OpenCheck = Callable[[Wanted], VerificationStudy]


@pytest.fixture
def plan(write_search: WriteSearch, opener: Opener) -> SearchPlan:
    """A search of 8 runs that is over."""
    plan = plan_of(write_search)
    finish_all(opener.study(plan))
    return plan


@pytest.fixture
def check(plan: SearchPlan, opener: Opener) -> OpenCheck:
    """Open the winner check of some runs with some seeds."""

    def open_check(wanted: Wanted) -> VerificationStudy:
        return opener.verification(plan, retrainings(plan, wanted))

    return open_check


def retrainings(plan: SearchPlan, wanted: Wanted) -> list[Retraining]:
    return [
        Retraining(
            run,
            plan.effective.representative(run),
            seed,
            batch_plan_attributes(CAME_DOWN_TO),
            "a note",
        )
        for run, seed in wanted
    ]


def claim_one(study: VerificationStudy) -> Claim:
    claim = study.claim()
    assert claim is not None
    return claim


def train_all(study: VerificationStudy) -> list[tuple[int, int]]:
    """Train what there is to claim; returns (run number, seed) of each."""
    done = []
    while (claim := study.claim()) is not None:
        what = study.retraining(claim.rank)
        study.complete(claim, what.run_number + what.seed / 1000, {})
        done.append((what.run_number, what.seed))
    return done


def test_every_run_is_trained_once_with_every_seed_in_the_given_order(check: OpenCheck) -> None:
    wanted = [(5, 102), (2, 102), (5, 103), (2, 103)]
    study = check(wanted)

    assert train_all(study) == wanted
    assert not study.is_anything_left()
    assert [run and run.validation_loss for _, run in study.results()] == [
        5.102,
        2.102,
        5.103,
        2.103,
    ]


def test_a_larger_check_trains_only_what_is_new(check: OpenCheck) -> None:
    train_all(check([(5, 102), (2, 102)]))

    more = check([(5, 102), (2, 102), (7, 102), (5, 103), (2, 103), (7, 103)])

    assert train_all(more) == [(7, 102), (5, 103), (2, 103), (7, 103)]
    assert all(run is not None for _, run in more.results())


def test_the_search_sees_nothing_of_the_check_and_goes_on_with_its_own_numbers(
    check: OpenCheck, plan: SearchPlan, opener: Opener
) -> None:
    before = read_study(opener.storage, "shop").runs

    train_all(check([(5, 102)]))

    assert read_study(opener.storage, "shop").runs == before
    assert opener.study(plan).claim() is None


def test_a_check_begun_before_the_search_is_over_leaves_the_next_runs_as_they_were(
    write_search: WriteSearch, opener: Opener
) -> None:
    few = plan_of(write_search, {"search_strategy": "sample", "n_samples": 3})
    finish_all(opener.study(few))
    train_all(opener.verification(few, retrainings(few, [(1, 102), (0, 102)])))

    more = plan_of(write_search, {"search_strategy": "sample", "n_samples": 4})
    claim = opener.study(more).claim()

    assert claim is not None
    assert (claim.run_number, claim.rank) == (3, 3)


def test_a_training_begins_with_the_batch_size_that_the_run_had_come_down_to(
    check: OpenCheck,
) -> None:
    claim = claim_one(check([(5, 102)]))

    assert (claim.is_continuation, claim.batch_plan) == (False, CAME_DOWN_TO)


def test_an_interrupted_training_is_continued_with_the_batch_size_it_had_come_to(
    check: OpenCheck,
) -> None:
    study = check([(5, 102), (2, 102)])
    claim = claim_one(study)
    smaller = BatchPlan(batch_size=4, accumulation_steps=8, oom_retries=3)
    study.annotate(claim, batch_plan_attributes(smaller))
    study.fail(claim, "interrupted", {})

    again = claim_one(check([(5, 102), (2, 102)]))

    assert (again.run_number, again.rank) == (claim.run_number, claim.rank)
    assert (again.is_continuation, again.batch_plan) == (True, smaller)
    assert again.title == "run 5, seed 102"


def test_a_training_whose_coordinator_died_is_taken_over(check: OpenCheck, opener: Opener) -> None:
    claim = claim_one(check([(5, 102)]))
    opener.die()

    again = claim_one(check([(5, 102)]))

    assert (again.run_number, again.is_continuation) == (claim.run_number, True)


def test_a_training_that_another_coordinator_works_on_is_waited_for(check: OpenCheck) -> None:
    claim_one(check([(5, 102)]))

    second = check([(5, 102)])

    assert second.claim() is None
    assert second.is_anything_left()


def test_a_training_that_is_not_wanted_any_more_is_left_alone(check: OpenCheck) -> None:
    study = check([(5, 102)])
    study.fail(claim_one(study), "interrupted", {})

    other = check([(2, 102)])

    assert train_all(other) == [(2, 102)]
    assert not other.is_anything_left()


def test_the_study_and_each_training_explain_themselves_in_the_dashboard(
    check: OpenCheck, opener: Opener
) -> None:
    claim = claim_one(check([(5, 102)]))

    study = optuna.load_study(study_name=verification_name("shop"), storage=opener.storage.cached)

    attrs = opener.storage.cached.get_study_system_attrs(study._study_id)
    assert note_of(attrs)["body"] == "a check"
    assert note_of(attrs, claim.trial_id)["body"] == "a note"
    assert study.user_attrs == {"verifies": "shop"}
    assert study.trials[0].user_attrs == {
        **batch_plan_attributes(CAME_DOWN_TO),
        "verified_run": 5,
        "seed": 102,
    }


def test_a_failed_training_is_repeated_only_when_asked_for(check: OpenCheck) -> None:
    study = check([(5, 102)])
    study.fail(claim_one(study), "diverged", {})

    nothing = study.claim()
    states = [run and run.state for _, run in study.results()]
    num_failed = study.retry_failed()

    assert (nothing, states, num_failed) == (None, [RunState.FAILED], 1)
    assert train_all(study) == [(5, 102)]


def test_the_check_of_a_deleted_search_is_not_taken_for_that_of_another(
    check: OpenCheck, write_search: WriteSearch, opener: Opener
) -> None:
    train_all(check([(5, 102)]))
    other = plan_of(write_search, {f"{MODEL}.num_layers": [1, 3]})

    with pytest.raises(SpaceChangedError, match="num_layers"):
        opener.verification(other, retrainings(other, [(5, 102)]))
