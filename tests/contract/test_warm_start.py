"""Earlier studies guide the proposals of a new one, and nothing else of it, on every storage."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import optuna
import pytest

from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.records import Counted
from sequifier_hpo.study import Consent, GoOn, Storage, StudyMissingError, read_study
from sequifier_hpo.study.lessons import LESSONS, Lesson, lesson_attributes, stored_lessons
from sequifier_hpo.study.transactions import set_study_system_attrs
from sequifier_hpo.study.warm_start import with_earlier
from tests.conftest import WriteSearch
from tests.contract.conftest import Opener, Plan, data_of
from tests.contract.test_learning import RANGES, SPACE, disturbed, straight
from tests.contract.test_study import plan_of

TRAINING = "training_hyperparameter_sampling"
NAMED = {"warm_start": ["small"]}
FIRST = 12
"""Runs of the new study that no result of its own can have guided."""


@pytest.fixture
def earlier(write_search: WriteSearch, opener: Opener) -> Callable[..., Plan]:
    """Run a study called `small` to its end; returns its plan."""

    def run(changes: dict[str, Any] | None = None, **others: Any) -> Plan:
        plan = replace(plan_of(write_search, {**SPACE, **(changes or {})}), name="small", **others)
        straight(opener, plan)
        return plan

    return run


def guided(write_search: WriteSearch, changes: dict[str, Any] | None = None) -> Plan:
    """A new study with a seed of its own, guided by `small`; nothing is seen of its own runs."""
    plan = plan_of(write_search, {**SPACE, "seed": 7, **NAMED, **(changes or {})})
    return replace(plan, proposal_gap=FIRST)


def first_losses(opener: Opener, plan: Plan) -> list[float]:
    losses = [loss for _, _, loss in straight(opener, plan)[:FIRST]]
    return [2.5 if loss is None else loss for loss in losses]


@pytest.mark.slow
@pytest.mark.parametrize("changes", [SPACE, RANGES])
def test_the_first_runs_are_proposed_from_what_the_earlier_ones_came_to(
    changes: dict[str, Any],
    earlier: Callable[..., Plan],
    write_search: WriteSearch,
    opener: Opener,
) -> None:
    earlier(changes)
    plan = guided(write_search, changes)

    warm = first_losses(opener, plan)
    cold = first_losses(opener, replace(plan, name="cold"))  # named otherwise: it learns from none

    assert sum(warm) < sum(cold) - 1


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "changes"), [(0, SPACE), (2, RANGES)])
def test_workers_kills_and_the_loss_of_the_earlier_study_change_nothing(
    seed: int,
    changes: dict[str, Any],
    earlier: Callable[..., Plan],
    write_search: WriteSearch,
    opener: Opener,
) -> None:
    earlier(changes)
    plan = replace(guided(write_search, changes), proposal_gap=4)
    expected = straight(opener, plan)
    optuna.delete_study(study_name="shop", storage=opener.storage.cached)
    studies = [opener.study(plan) for _ in range(2)]
    optuna.delete_study(study_name="small", storage=opener.storage.cached)

    assert disturbed(opener, plan, studies, Random(seed)) == expected


def test_a_creation_that_was_killed_is_made_up_for(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()
    plan = guided(write_search)
    expected = straight(opener, plan)
    optuna.delete_study(study_name="shop", storage=opener.storage.cached)
    # What a coordinator leaves that dies before the one transaction that makes it ours.
    optuna.create_study(study_name="shop", storage=opener.storage.cached)

    assert straight(opener, plan) == expected


def test_earlier_runs_are_no_runs_of_the_study(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()
    plan = replace(guided(write_search), num_runs=3)
    straight(opener, plan)

    found = read_study(opener.storage, "shop")

    assert len(found.runs) == 3
    assert len(opener.storage.cached.get_all_trials(_id(opener, "shop"))) == 3
    assert found.identity is not None
    assert found.identity.warm_start is not None
    assert found.identity.warm_start.num_lessons == 26
    assert found.identity.warm_start.named == ("small",)


def _id(opener: Opener, name: str) -> int:
    return opener.storage.cached.get_study_id_from_name(name)


def test_what_lies_outside_is_counted_with_why(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()
    small = read_study(opener.storage, "small").runs
    plan = guided(write_search, {f"{TRAINING}.dropout": [0.0, 0.1, 0.2]})

    study = opener.study(plan)

    outside = sum(run.point["dropout"] == 0.3 for run in small)
    assert study.identity.warm_start is not None
    (guide,) = study.identity.warm_start.guides
    assert 0 < outside < 26
    assert str(guide) == (
        f"{26 - outside} of 26 runs of small guide; {outside} do not: "
        f"dropout 0.3 is not a candidate ({outside})"
    )


def test_failures_teach_where_they_are_the_runs_own(
    write_search: WriteSearch, opener: Opener
) -> None:
    small = opener.study(replace(plan_of(write_search, SPACE), name="small"))
    claims = [claim for _ in range(4) if (claim := small.claim()) is not None]
    for claim, reason in zip(claims, ("diverged", "out_of_memory", "interrupted"), strict=False):
        small.fail(claim, reason, {})
    small.report(claims[3], 1, 0.5)
    small.complete(claims[3], 0.5, {})

    study = opener.study(guided(write_search))

    assert study.identity.warm_start is not None
    (guide,) = study.identity.warm_start.guides
    assert dict(guide.outside) == {
        "failed (out_of_memory), which may not happen here": 1,
        "still to end": 1,
    }
    with opener.storage.reading() as connection:
        lessons = stored_lessons(connection, _id(opener, "shop"))
    assert [(lesson.loss, lesson.point) for lesson in lessons] == [
        (None, claims[0].point.values),
        (0.5, claims[3].point.values),
    ]


def test_a_stopped_run_teaches_as_one_that_was_stopped(
    write_search: WriteSearch, opener: Opener
) -> None:
    pruned = {**SPACE, f"{TRAINING}.epochs": [4], "pruning": "median"}
    small = opener.study(replace(plan_of(write_search, pruned), name="small"))
    claim = small.claim()
    assert claim is not None
    for epoch, loss in enumerate((0.9, 0.7, 0.8), start=1):
        small.report(claim, epoch, loss)
    small.prune(claim, 2, {})

    opener.study(guided(write_search, {f"{TRAINING}.epochs": [4]}))

    with opener.storage.reading() as connection:
        (lesson,) = stored_lessons(connection, _id(opener, "shop"))
    assert (lesson.loss, lesson.stopped_at) == (0.7, 2)


def test_numbers_of_ranges_that_a_run_did_not_use_come_along(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier(RANGES)

    opener.study(guided(write_search, RANGES))

    with opener.storage.reading() as connection:
        lessons = stored_lessons(connection, _id(opener, "shop"))
    small = sorted(read_study(opener.storage, "small").runs, key=lambda run: run.ordinal)
    assert [lesson.unused for lesson in lessons] == [run.unused for run in small]
    assert any(lesson.unused for lesson in lessons)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": data_of(product="other", price="b")}, "in the validation split, `product` chang"),
        ({"counted": Counted(last_positions=3)}, "its loss counts 6 positions of a window, here it is 3"),
    ],
)  # fmt: skip
def test_other_data_or_another_loss_is_refused_and_leaves_nothing(
    changes: dict[str, Any],
    words: str,
    earlier: Callable[..., Plan],
    write_search: WriteSearch,
    opener: Opener,
) -> None:
    earlier()
    plan = replace(guided(write_search), **changes)

    with pytest.raises(InputError, match=words) as caught:
        opener.study(plan)

    assert "small cannot guide this search: 0 of 26 runs of small guide" in str(caught.value)
    with pytest.raises(StudyMissingError):
        read_study(opener.storage, "shop")


def test_other_values_of_a_column_that_some_runs_read_leave_these_outside(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()
    plan = replace(guided(write_search), data=data_of(product="a", price="other", weekday="c"))

    study = opener.study(plan)

    reading = [
        run for run in read_study(opener.storage, "small").runs
        if "price" in run.point["data_schema"]["input_columns"]
    ]  # fmt: skip
    assert study.identity.warm_start is not None
    assert study.identity.warm_start.num_lessons == 26 - len(reading)
    assert reading


def test_one_length_of_window_may_become_several(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()  # of windows of 6, all of whose positions count
    plan = guided(write_search, {"seq_length": [6, 7]})

    study = opener.study(replace(plan, counted=Counted(last_positions=6)))

    assert study.identity.warm_start is not None
    assert study.identity.warm_start.num_lessons == 26


def test_a_study_that_has_begun_learns_from_no_others(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()
    plan = guided(write_search)
    study = opener.study(plan)
    straight(opener, replace(plan, name="other"))

    more = guided(write_search, {"warm_start": ["small", "other"]})
    with pytest.raises(InputError, match="has learned from small when it was created"):
        opener.study(more)
    named = {"hp_search_name": "other", "warm_start": ["small"]}
    with pytest.raises(InputError, match="had no `warm_start` when it was created"):
        opener.study(replace(plan_of(write_search, named), name="other"))
    removed = guided(write_search, {"hp_search_name": "shop", "warm_start": []})
    assert opener.study(removed).identity == study.identity


def test_after_a_change_of_the_data_guides_what_read_none_of_it(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()
    plan = guided(write_search)
    before = opener.study(plan)
    changed = replace(plan, data=data_of(product="a", price="other", weekday="c"))

    after = opener.study(changed, Consent(new_data=True))

    first, second = before.identity.warm_start, after.identity.warm_start
    assert first is not None
    assert second is not None
    with opener.storage.reading() as connection:
        lessons = stored_lessons(connection, _id(opener, "shop"))
    reading = [each for each in lessons if "price" in each.point["data_schema"]["input_columns"]]
    assert 0 < len(reading) < first.num_lessons
    assert [each for each in lessons if each.is_set_aside] == reading
    assert second.num_lessons == len(after._index.lessons) == first.num_lessons - len(reading)
    assert list(second.lines())[-1].startswith(f"{len(reading)} of these runs guide no longer")
    again = opener.study(plan, Consent(new_data=True))
    assert again.identity.warm_start == first
    assert len(again._index.lessons) == first.num_lessons


def test_several_studies_guide_in_their_order(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    plan = earlier()
    straight(opener, replace(plan, name="more"))
    two = {"warm_start": ["more", {"study": "small", "storage": opener.url}]}

    study = opener.study(guided(write_search, two))

    assert study.identity.warm_start is not None
    assert [guide.name for guide in study.identity.warm_start.guides] == ["more", "small"]
    assert study.identity.warm_start.num_lessons == 52


def test_the_same_study_under_two_names_is_refused(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()
    twice = {"warm_start": ["small", {"study": "small", "storage": opener.url}]}

    with pytest.raises(InputError, match="is named twice"):
        opener.study(guided(write_search, twice))


def test_a_study_of_stock_optuna_is_refused(write_search: WriteSearch, opener: Opener) -> None:
    study = optuna.create_study(study_name="small", storage=opener.storage.cached)
    study.optimize(lambda trial: trial.suggest_float("dropout", 0, 1), n_trials=2)

    with pytest.raises(InputError, match="was not made by sequifier-hpo"):
        opener.study(guided(write_search))


def test_a_study_that_is_not_there_is_named_with_those_that_are(
    write_search: WriteSearch, opener: Opener
) -> None:
    optuna.create_study(study_name="large", storage=opener.storage.cached)

    with pytest.raises(InputError, match="warm_start: there is no study `small` in") as caught:
        opener.study(guided(write_search))

    assert "studies there: large" in str(caught.value)


def test_a_storage_with_several_studies_needs_a_name(
    write_search: WriteSearch, opener: Opener, tmp_path: Path
) -> None:
    url = sqlite_url(tmp_path / "many.db")
    storage = Storage(url)
    for name in ("a", "b", "b/verify"):
        optuna.create_study(study_name=name, storage=storage.cached)
    storage.close()
    plan = guided(write_search, {"warm_start": [str(tmp_path / "many.db")]})

    with pytest.raises(InputError, match="holds several studies: a and b"):
        opener.study(plan)


def test_a_damaged_lesson_is_said_to_be_damaged(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    earlier()
    plan = guided(write_search)
    opener.study(plan)
    study_id = _id(opener, "shop")
    with opener.storage.writing() as connection:
        set_study_system_attrs(connection, study_id, {f"{LESSONS}0": [{"point": 3}]})

    with pytest.raises(EnvironmentFaultError, match="the runs of earlier studies"):
        opener.study(plan)


def test_pruning_does_not_compare_with_earlier_runs(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    pruned = {f"{TRAINING}.epochs": [4], "pruning": "median", "pruning_gap": 1}
    earlier({f"{TRAINING}.epochs": [4]})  # whose losses are far better
    study = opener.study(guided(write_search, pruned))

    for _ in range(3):
        claim = study.claim()
        assert claim is not None
        for epoch in range(1, 5):
            study.report(claim, epoch, 100.0 - epoch)
            assert study.verdict(claim) == GoOn()
        study.complete(claim, 96.0, {})


def test_a_thousand_lessons_are_stored_exactly_and_read_quickly(
    earlier: Callable[..., Plan], write_search: WriteSearch, opener: Opener
) -> None:
    plan = earlier()
    study_id = _id(opener, "small")
    point = read_study(opener.storage, "small").runs[0].point
    lessons = [
        Lesson(key=f"{i}", point={**point, "number": i}, loss=i / 7, unused={"dropout": 0.1 + i})
        for i in range(1000)
    ]

    began = time.process_time()
    with opener.storage.writing() as connection:
        set_study_system_attrs(connection, study_id, lesson_attributes(lessons))
    study = opener.study(plan)
    seconds = time.process_time() - began

    with opener.storage.reading() as connection:
        assert stored_lessons(connection, study_id) == lessons
    assert study.claim() is None
    assert seconds < 2


def test_a_study_of_0_1_0_needs_the_users_word(write_search: WriteSearch, opener: Opener) -> None:
    source = Path(__file__).parents[1] / "fixtures/study-0.1.0/studies/shop-grid/study.db"
    plan = guided(write_search, {"warm_start": [str(source)]})

    with pytest.raises(InputError, match=r"was started by sequifier-hpo 0\.1\.0"):
        opener.study(plan)
    with pytest.raises(InputError, match="shop-grid guide"):
        with_earlier(plan.study, opener.url, Consent(same_data=True)).earlier.learn()
