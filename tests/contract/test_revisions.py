"""A study whose search space changes: what stays, what comes, and what Optuna sees of it."""

import warnings
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.search_space import intersection_search_space
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from sequifier_hpo.errors import InputError
from sequifier_hpo.records import RunState
from sequifier_hpo.report.leaderboard import leaderboard, progress
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study import (
    Consent,
    Ledger,
    SpaceChangedError,
    StudyMovedOnError,
    read_study,
)
from sequifier_hpo.study.identity import IDENTITY, SPACE
from sequifier_hpo.study.transactions import study_system_attrs
from tests.conftest import WriteSearch
from tests.contract.conftest import DATA, Opener, Plan, data_of
from tests.contract.test_study import finish_all, plan_of

MODEL, TRAINING = "model_hyperparameter_sampling", "training_hyperparameter_sampling"
LAYERS, DROPOUT, SIZE = f"{MODEL}.num_layers", f"{TRAINING}.dropout", f"{TRAINING}.batch_size"
ACCEPTED = Consent(changes=True)


def keys_of(plan: Plan) -> set[str]:
    """The keys of all distinct runs of a space without continuous ranges."""
    places = range(plan.effective.num_distinct)
    cells = (plan.effective.representative(place) for place in places)
    return {plan.keyer.key(plan.space.point_at(cell)) for cell in cells}


def finish_some(study: Ledger, number: int) -> list[str]:
    keys = []
    for _ in range(number):
        claim = study.claim()
        assert claim is not None
        study.report(claim, 1, 0.5)
        study.complete(claim, 0.5, {"best_epoch": 1})
        keys.append(claim.key)
    return keys


def optunas_view(opener: Opener) -> optuna.Study:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        plain = RDBStorage(opener.url.replace("postgresql:", "postgresql+psycopg:"))
    study = optuna.load_study(study_name="shop", storage=plain)
    loaded = optuna.create_study()
    loaded.add_trials(study.trials)
    for trial, copied in zip(study.trials, loaded.trials, strict=True):
        copied.system_attrs.update(trial.system_attrs)
    best = study.best_trial.number
    plain.remove_session()
    plain.engine.dispose()
    loaded.set_user_attr("best", best)
    return loaded


def stored(opener: Opener, *keys: str) -> dict[str, Any]:
    with opener.storage.reading() as connection:
        study_id = opener.storage.cached.get_study_id_from_name("shop")
        return study_system_attrs(connection, study_id, keys)


def test_three_revisions_with_kills_end_with_the_union_and_train_nothing_twice(
    write_search: WriteSearch, opener: Opener
) -> None:
    first = plan_of(write_search)
    added = plan_of(write_search, {LAYERS: [1, 2, 3]})
    removed = plan_of(write_search, {LAYERS: [1, 3]})
    wider = {"low": 0.0, "high": 0.2, "step": 0.1}
    widened = plan_of(write_search, {LAYERS: [1, 3], DROPOUT: wider})
    handed_out = []

    study = opener.study(first)
    handed_out += finish_some(study, 5)
    assert (lost := study.claim()) is not None
    opener.die()  # in the middle of the sixth
    study = opener.study(added, ACCEPTED)
    handed_out += finish_some(study, 3)
    assert handed_out[5] == lost.key, "what was interrupted goes on first"
    for plan, number in ((removed, 2), (widened, 3)):
        assert study.claim() is not None
        opener.die()
        study = opener.study(plan, ACCEPTED)
        other = opener.study(plan)
        handed_out += finish_some(study, number)
        assert other.claim() is not None
        opener.die()
    handed_out += finish_all(opener.study(widened))

    runs = opener.study(widened).runs()
    inside = [run for run in runs if not run.is_outside]
    assert len(handed_out) == len(set(handed_out))
    assert {run.key for run in inside} == keys_of(widened)
    assert all(run.state is RunState.COMPLETE for run in inside)
    outside = {run.point["num_layers"] for run in runs if run.is_outside}
    assert outside == {2}, "without dropout all are in the widened space"
    assert len({run.ordinal for run in runs}) == len(runs)


def test_a_change_that_nobody_accepts_changes_nothing(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    finish_all(opener.study(plan))
    before = stored(opener, SPACE, IDENTITY)

    with pytest.raises(SpaceChangedError) as refused:
        opener.study(plan_of(write_search, {LAYERS: [1]}))

    assert str(refused.value) == (
        "the search space differs from that of the study `shop`:\n"
        "      num_layers: 2 removed\n"
        "    with it: 4 of 8 finished runs inside the new space; 4 outside stay, marked and not "
        "ranked; 0 runs to come\n"
        "    fix: continue with --accept-changes; or undo the change, or give the new search "
        "another hp_search_name"
    )
    assert stored(opener, SPACE, IDENTITY) == before
    assert opener.study(plan).claim() is None


def test_a_study_that_was_never_revised_is_stored_as_ever(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    opener.study(plan)
    opener.study(plan, ACCEPTED)

    assert stored(opener, IDENTITY)[IDENTITY].keys() == {
        "study_id",
        "counted",
        "data",
        "strategies",
    }


def test_runs_outside_are_marked_not_ranked_and_come_back(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan, smaller = plan_of(write_search), plan_of(write_search, {LAYERS: [2]})
    finish_all(opener.study(plan))

    study = opener.study(smaller, ACCEPTED)
    marked = study.runs()
    nothing_left = not study.is_anything_left()
    snapshot = read_study(opener.storage, "shop")
    again = opener.study(plan, ACCEPTED).runs()

    assert nothing_left
    assert {run.number for run in marked if run.is_outside} == {
        run.number for run in marked if run.point["num_layers"] == 1
    }
    assert len(leaderboard(marked)) == 4
    assert len(leaderboard(snapshot.with_outside.runs)) == 8
    assert progress(marked, 4).num_outside == 4
    assert not any(run.is_outside for run in again)
    assert len(leaderboard(again)) == 8


def test_an_interrupted_run_outside_rests_until_it_is_inside_again(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {LAYERS: [1, 2], "input_columns": [["product"]]})
    study = opener.study(plan)
    claim = study.claim()
    assert claim is not None
    layers = claim.point.values["num_layers"]
    study.fail(claim, "interrupted", {})

    others = plan_of(write_search, {LAYERS: [3 - layers], "input_columns": [["product"]]})
    done = finish_all(opener.study(others, ACCEPTED))
    back = opener.study(plan, ACCEPTED)
    first = back.claim()

    assert claim.key not in done
    assert first is not None
    assert (first.key, first.is_continuation) == (claim.key, True)


def test_who_works_on_a_former_space_is_given_nothing_more_and_may_finish(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan, larger = plan_of(write_search), plan_of(write_search, {LAYERS: [1, 2, 3]})
    earlier = opener.study(plan)
    running, left = earlier.claim(), earlier.claim()
    assert running is not None
    assert left is not None
    later = opener.study(larger, ACCEPTED)
    fresh = later.claim()

    with pytest.raises(StudyMovedOnError, match="gone on with another search space"):
        earlier.claim()
    earlier.complete(running, 0.5, {})
    earlier.fail(left, "interrupted", {})
    continued = later.claim()

    assert fresh is not None
    assert continued is not None
    assert continued.key == left.key
    assert [run.state for run in later.runs()] == [
        RunState.COMPLETE,
        RunState.RUNNING,
        RunState.RUNNING,
    ]
    assert earlier.runs()[2].labels, "also who does not know of the new choice can read it"


def test_a_coordinator_of_a_former_space_gives_no_cells_a_result(
    write_search: WriteSearch, opener: Opener
) -> None:
    same = {f"{MODEL}.n_kv_heads": [None, 2], "input_columns": [["product"]]}  # one run under mha
    plan = plan_of(write_search, same)
    other = plan_of(write_search, {**same, f"{MODEL}.n_kv_heads": [None, 4]})
    earlier = opener.study(plan)
    running = earlier.claim()
    assert running is not None
    later = opener.study(other, ACCEPTED)

    earlier.complete(running, 0.5, {})
    before = [run for run in later.runs() if run.duplicate_of is not None]
    finish_all(later)
    assert not later.is_anything_left()

    runs = opener.study(other).runs()
    twins = [run for run in runs if run.duplicate_of is not None]
    assert before == []
    assert len(twins) == 4
    assert {run.point["n_kv_heads"] for run in twins} == {4}


def test_a_run_whose_spelling_left_the_space_is_still_a_run_of_it(
    write_search: WriteSearch, opener: Opener
) -> None:
    same = {f"{MODEL}.n_kv_heads": [None, 2], "input_columns": [["product"]]}
    finish_all(opener.study(plan_of(write_search, same)))
    other = plan_of(write_search, {**same, f"{MODEL}.n_kv_heads": [2, 4]})

    study = opener.study(other, ACCEPTED)

    assert study.claim() is None
    own = [run for run in study.runs() if run.duplicate_of is None]
    cells = {
        (run.point["n_kv_heads"], Point(run.point).text)
        for run in study.runs()
        if run.duplicate_of is not None and not run.is_outside
    }
    assert not any(run.is_outside for run in own)
    assert len(cells) == 8, "each cell of the new grid has the result"


def test_optuna_sees_one_space_in_all_trials(write_search: WriteSearch, opener: Opener) -> None:
    fixed = {"search_strategy": "sample", "n_samples": 6, DROPOUT: {"low": 0.0, "high": 0.1}}
    finish_all(opener.study(plan_of(write_search, fixed)))
    grown = {
        **fixed,
        "n_samples": 12,
        LAYERS: [2, 3],
        DROPOUT: {"low": 0.05, "high": 0.4},
        SIZE: [16, 32],
    }
    plan = plan_of(write_search, grown)
    study = opener.study(plan, ACCEPTED)
    while (claim := study.claim()) is not None:
        study.complete(claim, 0.6, {})

    seen = optunas_view(opener)
    space = intersection_search_space(seen.trials)
    assert space.keys() == {
        "data_schema",
        "model_backbone",
        "num_layers",
        "batch_size",
        "dropout",
    }
    assert space["num_layers"] == CategoricalDistribution(("0: 1", "1: 2", "2: 3"))
    assert space["dropout"] == FloatDistribution(0.0, 0.4)
    sizes = {trial.params["batch_size"] for trial in seen.trials[:6]}
    assert len(sizes) == 1, "earlier runs have the value that was fixed"
    inside = {run.trial_number for run in study.runs() if not run.is_outside}
    assert seen.user_attrs["best"] in inside
    for run, trial in zip(study.runs(), seen.trials, strict=True):
        assert trial.params == run.labels
        assert trial.params["dropout"] == run.point["dropout"]
        assert trial.params["num_layers"].endswith(f": {run.point['num_layers']}")


def test_a_list_that_becomes_a_range_and_a_row_that_becomes_two_parameters_stay_whole(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {"search_strategy": "sample", "n_samples": 3, DROPOUT: [0.0, 0.1]})
    finish_all(opener.study(plan))
    changes = {
        "search_strategy": "sample",
        "n_samples": 8,
        DROPOUT: {"low": 0.05, "high": 0.3},
        f"{TRAINING}.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    }

    study = opener.study(plan_of(write_search, changes), ACCEPTED)
    finish_all(study)

    runs = study.runs()
    inside = {run.point["dropout"] >= 0.05 for run in runs if not run.is_outside}
    assert inside == {True}
    assert sum(not run.is_outside for run in runs) == 8
    assert all(run.labels["learning_rate"] == run.values["learning_rate"] for run in runs)
    assert all(run.labels["dropout"] == run.point["dropout"] for run in runs)


@pytest.mark.parametrize("strategy", ["sample", "bayesian"])
def test_n_samples_counts_the_runs_inside(
    write_search: WriteSearch, opener: Opener, strategy: str
) -> None:
    plan = plan_of(write_search, {"search_strategy": strategy, "n_samples": 6, SIZE: [16, 32, 64]})
    finish_all(opener.study(plan))
    changes = {"search_strategy": strategy, "n_samples": 12, SIZE: [16, 64], LAYERS: [1, 2, 3]}

    study = opener.study(plan_of(write_search, changes), ACCEPTED)
    finish_all(study)

    runs = study.runs()
    assert sum(not run.is_outside for run in runs) == 12
    assert len({run.key for run in runs}) == len(runs)


def test_a_learning_search_learns_from_runs_for_which_a_value_was_fixed(
    write_search: WriteSearch, opener: Opener
) -> None:
    learning = {"search_strategy": "bayesian", SIZE: [8, 16, 24, 32, 40, 48, 56, 64]}
    few = plan_of(write_search, {**learning, "n_samples": 14})
    more = replace(
        plan_of(write_search, {**learning, "n_samples": 22, DROPOUT: [0.0, 0.1]}), proposal_gap=1
    )

    def finish(study: Ledger) -> list[Point]:
        points = []
        while (claim := study.claim()) is not None:
            study.complete(claim, claim.point.values["batch_size"] / 10, {})
            points.append(claim.point)
        return points

    finish(opener.study(few))

    points = finish(opener.study(more, ACCEPTED))

    assert len(points) == 8
    assert sum(point.values["batch_size"] for point in points) / 8 < 20, "the mean is 36"


def test_columns_that_come_into_use_are_part_of_a_revision_and_no_change_of_the_data(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {"input_columns": [["product"]]})
    plan = replace(plan, data=data_of(product="a"))
    finish_all(opener.study(plan))
    more = plan_of(write_search, {"input_columns": [["product"], ["product", "weekday"]]})
    more = replace(more, data=data_of(product="a", weekday="c"))

    study = opener.study(more, ACCEPTED)
    finish_all(study)
    fewer = opener.study(plan, ACCEPTED)

    assert not any(run.is_of_other_data for run in study.runs())
    assert len(leaderboard(study.runs())) == 8
    assert len(leaderboard(fewer.runs())) == 4
    changed = replace(more, data=data_of(product="a", weekday="other"))
    with pytest.raises(InputError, match="`weekday` changed"):
        opener.study(changed, ACCEPTED)


def test_another_loss_is_no_revision(write_search: WriteSearch, opener: Opener) -> None:
    opener.study(plan_of(write_search))
    other = plan_of(write_search, {f"{TRAINING}.loss_weights": {"product": 2.0}})

    with pytest.raises(SpaceChangedError, match="loss_weights: null becomes"):
        opener.study(other, ACCEPTED)


def test_a_claim_whose_answer_was_lost_is_found_after_a_revision_too(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    opener.study(plan)
    study = opener.study(plan_of(write_search, {LAYERS: [1, 2, 3]}), ACCEPTED)

    done = finish_all(study)

    assert len(done) == len(set(done)) == 12
    assert plan.data == DATA
    assert all(trial.state is TrialState.COMPLETE for trial in optunas_view(opener).trials)
