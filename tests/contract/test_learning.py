"""A search that learns has the same runs on every storage, with any workers, killed or not."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from sequifier_hpo.records import Baseline, RunState
from sequifier_hpo.study import Claim, Ledger, SpaceChangedError, StudyMovedOnError
from tests.conftest import WriteSearch
from tests.contract.conftest import Once, Opener, Plan
from tests.contract.test_study import plan_of

SPACE: dict[str, Any] = {
    "search_strategy": "bayesian",
    "n_samples": 26,
    "model_hyperparameter_sampling.num_layers": [1, 2, 3],
    "training_hyperparameter_sampling.batch_size": [4, 8, 16, 32, 64],
    "training_hyperparameter_sampling.dropout": [0.0, 0.1, 0.2, 0.3],
}

RANGES: dict[str, Any] = {
    "search_strategy": "bayesian",
    "n_samples": 26,
    "training_hyperparameter_sampling.learning_rate": [{"low": 1e-4, "high": 1e-1, "log": True}, 1.0],
    "training_hyperparameter_sampling.epochs": [3, {"low": 2, "high": 5}],
    "training_hyperparameter_sampling.batch_size": {"low": 4, "high": 64, "log": True},
    "training_hyperparameter_sampling.dropout": {"low": 0.0, "high": 0.3},
}  # fmt: skip


def loss_of(claim: Claim) -> float:
    """What training would give: bound to the configuration, with something to learn in it."""
    values = claim.point.values
    return 1 + float(values["dropout"]) + abs(int(values["batch_size"]) - 16) / 50


def finish(study: Ledger, claim: Claim) -> None:
    """Every run with much dropout and a large batch diverges."""
    if claim.point.values["dropout"] >= 0.25 and claim.point.values["batch_size"] >= 40:
        study.fail(claim, "diverged", {})
    else:
        study.report(claim, 1, loss_of(claim))
        study.complete(claim, loss_of(claim), {"best_epoch": 1})


def runs_by_ordinal(study: Ledger) -> list[tuple[int, str, float | None]]:
    runs = sorted(study.runs(), key=lambda run: run.ordinal)
    return [(run.ordinal, run.key, run.validation_loss) for run in runs]


def straight(opener: Opener, plan: Plan) -> list[tuple[int, str, float | None]]:
    study = opener.study(plan)
    while (claim := study.claim()) is not None:
        finish(study, claim)
    return runs_by_ordinal(study)


def disturbed(
    opener: Opener, plan: Plan, studies: list[Ledger], random: Random
) -> list[tuple[int, str, float | None]]:
    """Train a study by several coordinators, in any order, all of which die now and then."""
    held: list[tuple[Ledger, Claim]] = []

    while True:
        deed = random.random()
        if deed < 0.04:
            opener.die()  # all of them at once; their runs are found interrupted
            studies, held = [opener.study(plan) for _ in range(random.randint(1, 3))], []
        elif deed < 0.5 and held:
            study, claim = held.pop(random.randrange(len(held)))
            finish(study, claim)
        elif len(held) < 6:
            study = random.choice(studies)
            claimed = study.claim()
            if claimed is not None:
                held.append((study, claimed))
            elif not held and not study.waits_for:
                break
    return runs_by_ordinal(studies[0])


@pytest.mark.parametrize(("seed", "changes"), [(0, SPACE), (1, SPACE), (2, SPACE), (3, RANGES)])
def test_workers_coordinators_and_kills_change_nothing(
    seed: int, changes: dict[str, Any], write_search: WriteSearch, opener: Opener, once: Once
) -> None:
    plan = plan_of(write_search, changes)
    expected = once(changes, lambda: straight(opener, replace(plan, name="straight")))
    studies = [opener.study(plan) for _ in range(2)]

    assert disturbed(opener, plan, studies, Random(seed)) == expected


def test_who_must_wait_says_for_which_runs(write_search: WriteSearch, opener: Opener) -> None:
    plan = replace(plan_of(write_search, SPACE), proposal_gap=3)
    study = opener.study(plan)
    claims = [claim for _ in range(3) if (claim := study.claim()) is not None]

    assert study.claim() is None
    assert list(study.waits_for) == [claims[0].run_number]
    assert study.is_anything_left()
    finish(study, claims[1])
    assert study.claim() is None
    finish(study, claims[0])
    assert study.claim() is not None
    assert list(study.waits_for) == []


def test_an_interrupted_run_is_continued_before_anyone_waits_for_it(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = replace(plan_of(write_search, SPACE), proposal_gap=2)
    study = opener.study(plan)
    first, second = study.claim(), study.claim()
    assert first is not None
    assert second is not None
    study.fail(first, "interrupted", {})

    again = study.claim()

    assert again is not None
    assert again.key == first.key


def test_it_goes_on_to_what_is_better(write_search: WriteSearch, opener: Opener) -> None:
    plan = plan_of(write_search, SPACE)
    learned = straight(opener, plan)
    drawn = straight(opener, replace(plan, name="drawn", strategy="sample"))

    means = []
    for runs in (learned, drawn):
        losses = [loss for _, _, loss in runs[14:] if loss is not None]
        means.append(sum(losses) / len(losses))
    assert means[0] < means[1]
    states = [run.state for run in opener.study(plan).runs()]
    assert states.count(RunState.COMPLETE) + states.count(RunState.FAILED) == plan.num_runs


def test_another_gap_holds_for_what_comes_next_and_ends_who_has_the_former(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, SPACE)
    before = opener.study(plan)
    claims = [claim for _ in range(3) if (claim := before.claim()) is not None]

    after = opener.study(replace(plan, proposal_gap=2))

    assert [(s.since_ordinal, s.settings["proposal_gap"]) for s in after.identity.strategies] == [
        (0, 4),
        (3, 2),
    ]
    with pytest.raises(StudyMovedOnError, match="another search_strategy, pruning or gap"):
        before.claim()
    for claim in claims:
        finish(before, claim)  # what was handed out is kept
    assert after.claim() is not None
    assert opener.study(replace(plan, proposal_gap=2)).identity == after.identity


def test_baselines_are_kept_when_the_strategy_changes(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, SPACE)
    opener.study(plan).keep_baselines([Baseline(name="mean", loss=1.5)])

    assert opener.study(replace(plan, strategy="sample")).baselines


def test_numbers_of_ranges_are_stored_exactly_and_only_where_they_are_used(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, RANGES)
    straight(opener, plan)

    runs = opener.study(plan).runs()
    trials = opener.storage.cached.get_all_trials(
        opener.storage.cached.get_all_studies()[0]._study_id
    )

    assert {len(run.labels) for run in runs} == {7}
    for run, trial in zip(runs, trials, strict=True):
        unused = trial.system_attrs["sequifier_hpo:tag"]["unused"]
        assert unused.keys() == {"learning_rate[0]", "epochs[1]"} - run.labels.keys()
        row = run.point["training_schedule"]
        in_row = "learning_rate[0]" if row["learning_rate"] != 1.0 else "epochs[1]"
        assert run.labels[in_row] in row.values()
        assert run.labels["dropout"] == run.point["dropout"]
        assert trial.params == run.labels
        assert isinstance(trial.params["dropout"], float)
        assert isinstance(trial.params["batch_size"], int)
        assert run.logarithmic == {"batch_size", "learning_rate[0]"} & run.labels.keys()


def test_another_range_is_another_space(write_search: WriteSearch, opener: Opener) -> None:
    opener.study(plan_of(write_search, RANGES))
    wider = {"training_hyperparameter_sampling.dropout": {"low": 0.0, "high": 0.4}}

    with pytest.raises(SpaceChangedError, match=r"dropout: 0 to 0.3 becomes 0 to 0.4 \(wider\)"):
        opener.study(plan_of(write_search, {**RANGES, **wider}))


def test_a_sample_of_ranges_goes_on_as_a_search_that_learns(
    write_search: WriteSearch, opener: Opener
) -> None:
    sample = plan_of(write_search, {**RANGES, "search_strategy": "sample", "n_samples": 12})
    straight(opener, sample)

    study = opener.study(plan_of(write_search, RANGES))
    while (claim := study.claim()) is not None:
        finish(study, claim)

    assert len({run.key for run in study.runs()}) == 26


def test_a_grid_of_steps_goes_on_as_a_search_that_learns(
    write_search: WriteSearch, opener: Opener
) -> None:
    steps = {
        "training_hyperparameter_sampling.dropout": {"low": 0.0, "high": 0.3, "step": 0.1},
        "search_strategy": "grid",
    }
    grid = opener.study(plan_of(write_search, steps))
    for _ in range(3):
        claim = grid.claim()
        assert claim is not None
        finish(grid, claim)

    study = opener.study(
        plan_of(write_search, {**steps, "search_strategy": "bayesian", "n_samples": 99})
    )
    while (claim := study.claim()) is not None:
        finish(study, claim)

    runs = study.runs()
    assert len({run.key for run in runs}) == len(runs) == 32
    assert {run.labels["dropout"] for run in runs} == {0.0, 0.1, 0.2, 0.3}
