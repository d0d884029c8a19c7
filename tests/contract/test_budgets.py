"""A budget of epochs hands out the first runs of the search without one, whoever trains them."""

from dataclasses import replace
from random import Random

import pytest

from sequifier_hpo.records import Run, RunState
from sequifier_hpo.strategy import Budget
from sequifier_hpo.study import Ledger
from tests.conftest import WriteSearch
from tests.contract.conftest import Once, Opener, Plan
from tests.contract.test_pruning import (
    BAYESIAN,
    NUM_EPOCHS,
    SPACE,
    Training,
    claimed,
    results,
    runs_of,
    trained,
)
from tests.contract.test_study import plan_of

PLAIN = {**SPACE, "pruning": None}
ENDED = {RunState.COMPLETE, RunState.PRUNED, RunState.FAILED}


def budget(plan: Plan, epochs: int) -> Budget:
    return Budget(plan.space.num_epochs_at, epochs=epochs)


def num_epochs(runs: list[Run]) -> int:
    return sum(run.epochs_trained for run in runs)


def search(
    opener: Opener, plan: Plan, epochs: int, random: Random, *, with_kills: bool = True
) -> Ledger:
    """Train with two or three coordinators until each of them finds nothing to claim."""

    def start() -> Ledger:
        return opener.study(plan, limit=budget(plan, epochs))

    studies = [start(), start()]
    held: list[Training] = []
    for _ in range(5_000):
        deed = random.random()
        if with_kills and deed < 0.02:
            opener.die()
            studies, held = [start() for _ in range(random.randint(1, 3))], []
        elif deed < 0.6 and held:
            random.choice(held).go_on()
            held = [training for training in held if training.is_held]
        elif len(held) < 4:
            study = random.choice(studies)
            new = claimed(study)
            if new is not None:
                held.append(new)
            elif not held and not study.is_anything_left():
                return study
    raise AssertionError("the search does not come to its end")


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_without_pruning_they_are_as_many_as_fit(
    seed: int, write_search: WriteSearch, opener: Opener, once: Once
) -> None:
    plan = plan_of(write_search, {**PLAIN, "n_samples": 8})
    straight = once(
        "without pruning", lambda: results(trained(opener, replace(plan, name="straight")))
    )
    lengths = [len(losses) for *_, losses in straight if isinstance(losses, dict)]
    most = sum(lengths[:4])

    for epochs in (most - 1, most, most + NUM_EPOCHS - 1):
        named = replace(plan, name=f"{epochs} epochs")
        study = search(opener, named, epochs, Random(seed))

        found = runs_of(study)
        expected = 3 if epochs < most else 4
        assert results(found) == straight[:expected]
        assert num_epochs(found) == sum(lengths[:expected]) <= epochs


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("changes", [SPACE, BAYESIAN], ids=["sample", "bayesian"])
def test_with_pruning_they_are_the_first_ones(
    changes: dict[str, object], seed: int, write_search: WriteSearch, opener: Opener, once: Once
) -> None:
    plan = plan_of(write_search, changes)
    straight = once(changes, lambda: results(trained(opener, replace(plan, name="straight"))))

    study = search(opener, plan, 60, Random(seed))

    found = runs_of(study)
    assert {run.state for run in found} <= ENDED
    assert results(found) == straight[: len(found)]
    assert 60 - NUM_EPOCHS < num_epochs(found) <= 60
    # More epochs go on to where it ends without a limit.
    rest = search(opener, plan, 10_000, Random(seed))
    assert results(runs_of(rest)) == straight


def test_what_failed_is_not_tried_again_beyond_the_budget(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, PLAIN)
    study = opener.study(plan, limit=budget(plan, 2 * NUM_EPOCHS + 1))
    first = study.claim()
    assert first is not None
    study.report(first, 1, 0.5)
    study.report(first, 2, 0.5)
    study.fail(first, "crashed", {})
    second = study.claim()
    assert second is not None
    assert study.retry_failed() == 1

    again = study.claim()

    assert again is not None
    assert again.key == first.key
    assert study.claim() is None
    study.fail(again, "interrupted", {})
    assert study.is_anything_left()


def test_epochs_that_were_dropped_count(write_search: WriteSearch, opener: Opener) -> None:
    plan = plan_of(write_search, SPACE)
    study = opener.study(plan, limit=budget(plan, NUM_EPOCHS + 6))
    claim = study.claim()
    assert claim is not None
    for epoch in range(1, 7):
        study.report(claim, epoch, 0.5)
    assert study.claim() is None
    assert list(study.waits_for) == [claim.run_number]
    assert study.could_free == "epoch_budget"

    study.report(claim, 7, 0.5)
    study.prune(claim, 2, {})

    (run,) = opener.study(plan).runs()
    assert (len(run.losses), run.epochs_trained) == (2, 7)
    assert study.claim() is None
    assert not study.is_anything_left()
