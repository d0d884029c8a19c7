"""What a study promises, on every storage: claims, results, duplicates, orphans and identity."""

import multiprocessing
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage

from sequifier_hpo.config.search import load_search
from sequifier_hpo.errors import InputError
from sequifier_hpo.records import Baseline, BatchPlan, Counted, MemoryNeed, RunState
from sequifier_hpo.searchspace import EffectiveSpace, compile_space
from sequifier_hpo.study import (
    Consent,
    DataChangedError,
    Description,
    LeaseLostError,
    Ledger,
    OwnerLock,
    SpaceChangedError,
    Storage,
    StudyIdentity,
    StudyMissingError,
    StudyMovedOnError,
    batch_plan_attributes,
    memory_attributes,
    read_study,
)
from sequifier_hpo.study.notes import Artifact, artifact_attributes, note_of
from sequifier_hpo.study.snapshot import NUM_RUNS, STRATEGY
from tests.conftest import WriteSearch
from tests.contract.conftest import Opener, Plan, data_of

MODEL = "model_hyperparameter_sampling"


def plan_of(write: WriteSearch, changes: dict[str, Any] | None = None) -> Plan:
    config = load_search(write(changes)).config
    space = compile_space(config)
    effective = EffectiveSpace(space, config.seed)
    limit = config.n_samples or effective.num_distinct
    return Plan(
        space=space,
        effective=effective,
        strategy=config.search_strategy,
        num_runs=effective.at_most(limit),
    )


def finish_all(study: Ledger) -> list[str]:
    keys = []
    while (claim := study.claim()) is not None:
        study.report(claim, 1, 0.5)
        study.complete(claim, 0.5, {"best_epoch": 1})
        keys.append(claim.key)
    return keys


def test_a_grid_runs_every_cell_once_and_then_nothing(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    study = opener.study(plan)

    keys = finish_all(study)

    assert len(keys) == len(set(keys)) == plan.space.num_cells
    assert study.claim() is None
    assert not study.is_anything_left()


def test_run_numbers_are_trial_numbers(write_search: WriteSearch, opener: Opener) -> None:
    study = opener.study(plan_of(write_search))

    claims = [study.claim() for _ in range(3)]

    assert [claim and (claim.trial_number, claim.run_number) for claim in claims] == [
        (0, 0),
        (1, 1),
        (2, 2),
    ]


@pytest.mark.parametrize("pause_after", [1, 3])
def test_a_resumed_sample_has_the_runs_of_a_straight_one(
    write_search: WriteSearch, opener: Opener, pause_after: int
) -> None:
    plan = plan_of(write_search, {"search_strategy": "sample", "n_samples": 6})
    expected = finish_all(opener.study(replace(plan, name="straight")))

    study = opener.study(plan)
    keys = []
    for _ in range(pause_after):
        claim = study.claim()
        assert claim is not None
        study.complete(claim, 0.5, {})
        keys.append(claim.key)
    opener.die()
    keys += finish_all(opener.study(plan))

    assert keys == expected
    assert len(set(keys)) == 6


def test_a_larger_n_samples_continues_with_new_runs(
    write_search: WriteSearch, opener: Opener
) -> None:
    few = plan_of(write_search, {"search_strategy": "sample", "n_samples": 3})
    first = finish_all(opener.study(few))
    more = plan_of(write_search, {"search_strategy": "sample", "n_samples": 5})

    second = finish_all(opener.study(more))

    assert len(set(first + second)) == 5


def test_duplicate_grid_cells_take_the_result_of_the_run_they_equal(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {f"{MODEL}.n_kv_heads": [None, 2, 4]})  # all the same under mha
    study = opener.study(plan)

    keys = finish_all(study)

    runs = study.runs()
    assert len(keys) == 8
    assert len(runs) == plan.space.num_cells == 24
    twins = [run for run in runs if run.duplicate_of is not None]
    assert len(twins) == 16
    assert all(run.validation_loss == 0.5 for run in twins)


def test_duplicates_missing_after_a_crash_are_made_up_for(
    write_search: WriteSearch, opener: Opener
) -> None:
    sampled = plan_of(write_search, {"search_strategy": "sample", "n_samples": 8,
                                     f"{MODEL}.n_kv_heads": [None, 2]})  # fmt: skip
    finish_all(opener.study(sampled))  # the same runs, without their duplicates
    grid = plan_of(write_search, {"search_strategy": "grid"})

    study = opener.study(grid)

    assert len(study.runs()) == grid.space.num_cells == 16


def test_the_run_of_a_dead_coordinator_is_continued_under_its_number(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    lost = opener.study(plan).claim()
    assert lost is not None
    opener.die()

    claim = opener.study(plan).claim()

    assert claim is not None
    assert (claim.run_number, claim.key, claim.point) == (lost.run_number, lost.key, lost.point)
    assert claim.is_continuation
    assert claim.trial_number != lost.trial_number


def test_the_run_of_a_living_coordinator_is_left_alone(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    first = opener.study(plan).claim()

    second = opener.study(plan).claim()

    assert first is not None
    assert second is not None
    assert first.key != second.key


def test_a_coordinator_taken_for_dead_cannot_store_its_result(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    frozen = opener.study(plan)
    claim = frozen.claim()
    assert claim is not None
    Path(next(iter((opener.folder / "coordinators").glob("*.lock")))).unlink()
    taken_over = opener.study(plan).claim()

    with pytest.raises(LeaseLostError):
        frozen.complete(claim, 0.1, {})
    with pytest.raises(LeaseLostError):
        frozen.report(claim, 1, 0.1)

    assert taken_over is not None
    assert taken_over.run_number == claim.run_number


def test_an_interrupted_run_comes_before_new_ones(
    write_search: WriteSearch, opener: Opener
) -> None:
    study = opener.study(plan_of(write_search))
    first, _second = study.claim(), study.claim()
    assert first is not None
    study.fail(
        first,
        "interrupted",
        {"effective_batch_size": 4, "effective_accumulation_steps": 2, "oom_retries": 1},
    )

    again = study.claim()

    assert again is not None
    assert again.run_number == first.run_number
    assert again.batch_plan == BatchPlan(batch_size=4, accumulation_steps=2, oom_retries=1)


def test_what_ran_out_of_memory_is_known_to_later_claims_of_every_coordinator(
    write_search: WriteSearch, opener: Opener
) -> None:
    need = MemoryNeed(device="H200", like="x", sizes={"batch_size": 8})
    plan = plan_of(write_search)
    study = opener.study(plan)
    first = study.claim()
    assert first is not None
    assert first.ran_out == []

    study.annotate(first, memory_attributes(0, [need]))
    here, elsewhere = study.claim(), opener.study(plan).claim()

    assert here is not None
    assert elsewhere is not None
    assert here.ran_out == elsewhere.ran_out == [need]


def test_a_run_that_is_continued_keeps_what_was_foreseen_of_it(
    write_search: WriteSearch, opener: Opener
) -> None:
    study = opener.study(plan_of(write_search))
    claim = study.claim()
    assert claim is not None
    plan = BatchPlan(batch_size=4, accumulation_steps=1, oom_retries=2)
    study.fail(claim, "interrupted", batch_plan_attributes(plan) | memory_attributes(2, []))

    again = study.claim()

    assert again is not None
    assert again.batch_plan == plan
    assert study.runs()[0].figures.oom_foreseen == 2


@pytest.mark.parametrize(
    ("reason", "has_epoch", "never_fitted"),
    [("out_of_memory", False, True), ("out_of_memory", True, False), ("crashed", False, False)],
)
def test_a_run_that_ran_out_of_memory_from_the_start_has_never_fitted(
    write_search: WriteSearch,
    opener: Opener,
    reason: str,
    has_epoch: bool,  # noqa: FBT001 - a column of the table above
    never_fitted: bool,  # noqa: FBT001 - the same
) -> None:
    study = opener.study(plan_of(write_search))
    claim = study.claim()
    assert claim is not None
    if has_epoch:
        study.report(claim, 1, 0.5)
    study.fail(claim, reason, {})

    ended = study._index.ended(1)

    assert ended is not None
    assert [run and (run.loss, run.never_fitted) for run in ended] == [(None, never_fitted)]


def test_a_run_that_is_lost_five_times_before_an_epoch_is_given_up(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    keys = []
    for _ in range(6):
        claim = opener.study(plan).claim()
        assert claim is not None
        keys.append(claim.key)
        opener.die()

    assert keys[:5] == [keys[0]] * 5
    assert keys[5] != keys[0]


def test_a_run_that_gets_on_is_continued_however_often_it_is_lost(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    numbers = set()
    for epoch in range(1, 8):
        study = opener.study(plan)
        claim = study.claim()
        assert claim is not None
        study.report(claim, epoch, 0.5)
        numbers.add(claim.run_number)
        opener.die()

    assert numbers == {0}


def test_a_failed_run_is_final_until_asked_for(write_search: WriteSearch, opener: Opener) -> None:
    study = opener.study(plan_of(write_search))
    failed = study.claim()
    assert failed is not None
    study.fail(failed, "diverged", {})
    keys = finish_all(study)

    assert failed.key not in keys
    assert study.retry_failed() == 1
    assert finish_all(study) == [failed.key]


def test_losses_of_all_trials_of_a_run_form_one_curve(
    write_search: WriteSearch, opener: Opener
) -> None:
    study = opener.study(plan_of(write_search))
    first = study.claim()
    assert first is not None
    study.report(first, 1, 0.9)
    study.fail(first, "interrupted", {})
    again = study.claim()
    assert again is not None
    study.report(again, 2, 0.8)
    study.complete(again, 0.8, {})

    (run,) = study.runs()

    assert run.losses == {1: 0.9, 2: 0.8}
    assert run.state == RunState.COMPLETE
    assert run.num_trials == 2


def test_another_search_space_is_refused_with_a_diff(
    write_search: WriteSearch, opener: Opener
) -> None:
    finish_all(opener.study(plan_of(write_search)))
    changed = plan_of(write_search, {f"{MODEL}.num_layers": [1, 2, 3]})

    with pytest.raises(
        SpaceChangedError,
        match=r"(?s)num_layers: 3 added\n.*8 of 8 finished runs inside.*; 4 runs to come.*hp_search_name",
    ):
        opener.study(changed)


def test_reordered_rows_of_a_linked_group_are_refused(
    write_search: WriteSearch, opener: Opener
) -> None:
    finish_all(opener.study(plan_of(write_search)))
    changes = {
        f"{MODEL}.{field}": values
        for field, values in (
            ("dim_model", [128, 64]),
            ("n_head", [8, 4]),
            ("initial_embedding_dim", [128, 64]),
        )
    }

    with pytest.raises(SpaceChangedError, match="model_backbone"):
        opener.study(plan_of(write_search, changes))


def test_the_study_is_an_ordinary_optuna_study(write_search: WriteSearch, opener: Opener) -> None:
    finish_all(opener.study(plan_of(write_search)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        plain = RDBStorage(opener.url.replace("postgresql:", "postgresql+psycopg:"))
    study = optuna.load_study(study_name="shop", storage=plain)
    trials, best = study.trials, study.best_trial
    plain.remove_session()
    plain.engine.dispose()

    assert best.value == 0.5
    assert best.params["model_backbone"] in {
        "0: dim_model=64 n_head=4",
        "1: dim_model=128 n_head=8",
    }
    assert all(trial.intermediate_values == {1: 0.5} for trial in trials)


def test_a_missing_study_is_named_with_those_that_exist(
    write_search: WriteSearch, opener: Opener
) -> None:
    opener.study(plan_of(write_search))

    with pytest.raises(InputError, match=r"nope.*\n.*shop"):
        read_study(opener.storage, "nope")


def test_a_snapshot_reads_the_runs_without_the_search_file(
    write_search: WriteSearch, opener: Opener
) -> None:
    study = opener.study(plan_of(write_search))
    finish_all(study)
    study.describe_study({NUM_RUNS: 8, STRATEGY: plan_of(write_search).strategy})

    snapshot = read_study(opener.storage, "shop")

    assert snapshot.num_runs == 8
    assert list(snapshot.runs) == study.runs()


def claim_until_done(url: str, folder: str, plan_file: str, barrier: Any, found: Any) -> None:
    config = load_search(Path(plan_file)).config
    space = compile_space(config)
    effective = EffectiveSpace(space, config.seed)
    plan = Plan(space, effective, "grid", effective.num_distinct)
    storage, lock = Storage(url), OwnerLock.acquire(Path(folder))
    study = Ledger(storage, lock.owner, plan.study, plan.proposer)
    barrier.wait(60)  # or the first is done before the last has started
    keys = finish_all(study)
    storage.close()
    found.put(keys)


@pytest.mark.slow
def test_three_coordinators_at_once_share_a_grid_without_overlap(
    write_search: WriteSearch, opener: Opener, tmp_path: Path
) -> None:
    file = write_search({f"{MODEL}.dim_feedforward": [8, 16, 24, 32]})
    start = multiprocessing.get_context("forkserver")
    start.set_forkserver_preload(["sequifier_hpo.strategy", "sequifier_hpo.study"])
    found: Any = start.Queue()
    arguments = (opener.url, str(tmp_path / "c"), str(file), start.Barrier(3), found)
    processes = [start.Process(target=claim_until_done, args=arguments) for _ in range(3)]

    for process in processes:
        process.start()
    keys = [key for _ in processes for key in found.get(timeout=60)]
    for process in processes:
        process.join()

    assert len(keys) == len(set(keys)) == 32


def system_attrs(opener: Opener) -> dict[str, Any]:
    rdb = opener.storage.rdb
    return dict(rdb.get_study_system_attrs(rdb.get_study_id_from_name("shop")))


def stored_trials(opener: Opener) -> list[optuna.trial.FrozenTrial]:
    rdb = opener.storage.rdb
    return list(rdb.get_all_trials(rdb.get_study_id_from_name("shop")))


def noted(plan: Plan) -> Plan:
    return replace(
        plan, describe=lambda _key, point: Description(note=lambda run: f"run {run} at {point}")
    )


def test_every_trial_has_its_note_from_its_claim_on_whoever_runs_it(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = noted(plan_of(write_search))
    claims = [opener.study(plan).claim() for _ in range(2)]

    attrs = system_attrs(opener)

    for claim in claims:
        assert claim is not None
        assert note_of(attrs, claim.trial_id)["body"] == f"run {claim.run_number} at {claim.point}"


def test_a_continued_run_keeps_its_name_in_the_note(
    write_search: WriteSearch, opener: Opener
) -> None:
    study = opener.study(noted(plan_of(write_search)))
    first = study.claim()
    assert first is not None
    study.fail(first, "interrupted", {})

    again = study.claim()

    assert again is not None
    body = note_of(system_attrs(opener), again.trial_id)["body"]
    assert body.endswith(f"\n\nrun {first.run_number} at {first.point}")


@pytest.mark.parametrize(
    ("reason", "what", "become"),
    [
        ("interrupted", "was interrupted, and did not fail", "continued"),
        ("crashed", "failed", "tried again"),
    ],
)
def test_a_trial_that_is_continued_and_the_one_that_does_name_each_other(
    write_search: WriteSearch, opener: Opener, reason: str, what: str, become: str
) -> None:
    study = opener.study(noted(plan_of(write_search)))
    first = study.claim()
    assert first is not None
    study.fail(first, reason, {})
    study.retry_failed()

    again = study.claim()

    assert again is not None
    notes = system_attrs(opener)
    head, _, rest = note_of(notes, first.trial_id)["body"].partition("\n\n")
    assert head == f"**This trial {what}; it is {become} by trial {again.trial_number}.**"
    assert rest == f"run {first.run_number} at {first.point}"
    assert note_of(notes, again.trial_id)["body"].startswith(
        f"**Trial {first.trial_number} of this run {what}; it is {become} by this one.**"
    )


def test_duplicates_of_a_run_have_notes_too(write_search: WriteSearch, opener: Opener) -> None:
    twice = {f"{MODEL}.attention_type": ["mha"], f"{MODEL}.n_kv_heads": [None, 2]}
    plan = noted(plan_of(write_search, twice))

    finish_all(opener.study(plan))

    attrs = system_attrs(opener)
    bodies = {note_of(attrs, trial._trial_id)["body"] for trial in stored_trials(opener)}
    assert len(bodies) == plan.space.num_cells == 16


def test_no_more_trials_have_notes_than_the_dashboard_can_bear(
    write_search: WriteSearch, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sequifier_hpo.study.trial_writer.MAX_TRIAL_NOTES", 1)
    study = opener.study(noted(plan_of(write_search)))
    claims = [study.claim() for _ in range(2)]

    attrs = system_attrs(opener)

    versions = [note_of(attrs, claim.trial_id)["version"] for claim in claims if claim]
    assert versions == [1, 0]


@pytest.mark.parametrize("body", ["short", "long " * 2000])
def test_the_note_on_a_study_is_that_of_its_newest_start(
    write_search: WriteSearch, opener: Opener, body: str
) -> None:
    plan = plan_of(write_search)
    for note in ("x" * 5000, body):
        opener.study(plan).describe_study({}, note)

    assert note_of(system_attrs(opener))["body"] == body


def test_a_note_that_a_person_has_written_is_left_alone(
    write_search: WriteSearch, opener: Opener
) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    plan = plan_of(write_search)
    opener.study(plan).describe_study({}, "ours")
    dashboard.save_note(optuna.load_study(study_name="shop", storage=opener.storage.rdb), "mine")

    opener.study(plan).describe_study({}, "ours again")

    assert note_of(system_attrs(opener))["body"] == "mine"


@pytest.mark.parametrize("ending", ["complete", "fail"])
def test_artifacts_are_stored_with_the_end_of_their_trial(
    write_search: WriteSearch, opener: Opener, ending: str
) -> None:
    study = opener.study(plan_of(write_search))
    claim = study.claim()
    assert claim is not None
    kept = [Artifact("0-a", "train.yaml", "text/yaml"), Artifact("0-b", "c.svg", "image/svg+xml")]

    if ending == "complete":
        study.complete(claim, 0.5, {}, kept)
    else:
        study.fail(claim, "crashed", {}, kept)

    (trial,) = stored_trials(opener)
    attrs = opener.storage.rdb.get_trial_system_attrs(trial._trial_id)
    assert {key: attrs[key] for key in attrs if "artifact" in key} == artifact_attributes(kept)


def test_the_losses_of_a_run_include_those_before_it_was_interrupted(
    write_search: WriteSearch, opener: Opener
) -> None:
    study = opener.study(plan_of(write_search))
    first = study.claim()
    assert first is not None
    study.report(first, 1, 0.75)
    study.fail(first, "interrupted", {})
    again = study.claim()
    assert again is not None
    study.report(again, 2, 0.5)

    assert study.losses(again) == {1: 0.75, 2: 0.5}


OTHER_DATA = data_of(product="changed", price="b", weekday="c")


def test_other_data_are_refused_in_words_and_nothing_changes(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    finish_all(opener.study(plan))
    before = read_study(opener.storage, "shop")

    with pytest.raises(
        DataChangedError, match=r"(?s)have changed.*for runs 0-7.*product.*accept-new-data"
    ):
        opener.study(replace(plan, data=OTHER_DATA))

    after = read_study(opener.storage, "shop")
    assert (after.runs, after.identity) == (before.runs, before.identity)


def test_with_consent_runs_of_other_data_stay_marked_and_all_is_run_again(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {"search_strategy": "sample", "n_samples": 4})
    old = finish_all(opener.study(plan))

    study = opener.study(replace(plan, data=OTHER_DATA), Consent(new_data=True))
    new = finish_all(study)

    assert len(new) == 4
    assert not set(old) & set(new)
    assert [run.is_of_other_data for run in study.runs()] == [True] * 4 + [False] * 4


def test_runs_that_read_nothing_of_what_changed_keep_their_place(
    write_search: WriteSearch, opener: Opener
) -> None:
    both = {"input_columns": [["product"], ["product", "price"]], "column_types": None}
    plan = plan_of(write_search, both)
    finish_all(opener.study(plan))
    other = data_of(product="a", price="changed", weekday="c")

    study = opener.study(replace(plan, data=other), Consent(new_data=True))
    new = finish_all(study)

    marked = [run for run in study.runs() if run.is_of_other_data]
    assert len(new) == len(marked) == plan.effective.num_distinct // 2
    assert all("price" in str(run.labels["data_schema"]) for run in marked)


def test_optuna_itself_does_not_find_its_best_trial_among_those_of_other_data(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {"search_strategy": "sample", "n_samples": 1})
    first = opener.study(plan)
    claim = first.claim()
    assert claim is not None
    first.complete(claim, 0.1, {})

    finish_all(opener.study(replace(plan, data=OTHER_DATA), Consent(new_data=True)))

    study = optuna.load_study(study_name="shop", storage=opener.storage.rdb)
    assert study.best_value == 0.5


def test_when_the_first_data_come_back_their_runs_count_again(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {"search_strategy": "sample", "n_samples": 4})
    finish_all(opener.study(plan))
    finish_all(opener.study(replace(plan, data=OTHER_DATA), Consent(new_data=True)))

    study = opener.study(plan, Consent(new_data=True))

    assert study.claim() is None
    assert [run.is_of_other_data for run in study.runs()] == [False] * 4 + [True] * 4


def test_an_interrupted_run_of_other_data_is_not_continued(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    study = opener.study(plan)
    first = study.claim()
    assert first is not None
    study.report(first, 1, 0.8)
    study.fail(first, "interrupted", {})

    claim = opener.study(replace(plan, data=OTHER_DATA), Consent(new_data=True)).claim()

    assert claim is not None
    assert claim.key != first.key
    assert not claim.is_continuation


def test_who_still_works_on_the_earlier_data_is_given_nothing_more(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    earlier = opener.study(plan)
    running = earlier.claim()
    assert running is not None
    opener.study(replace(plan, data=OTHER_DATA), Consent(new_data=True))

    with pytest.raises(StudyMovedOnError, match="gone on with another search space or other data"):
        earlier.claim()
    earlier.complete(running, 0.1, {})

    (run,) = read_study(opener.storage, "shop").runs
    assert run.is_of_other_data


def test_a_study_has_an_id_of_its_own_that_it_keeps(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    ids = [opener.study(plan).identity.study_id for _ in range(2)]

    other = opener.study(replace(plan, name="another")).identity.study_id

    assert ids[0] == ids[1]
    assert other != ids[0]


def test_what_stands_in_the_way_leaves_no_study_behind(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)

    def refuse(identity: StudyIdentity, *, is_new: bool, is_adopted: bool) -> None:
        raise InputError("files of another study are here")

    with pytest.raises(InputError, match="another study"):
        opener.ledger(replace(plan.study, permit=refuse), plan.proposer)

    with pytest.raises(StudyMissingError):
        read_study(opener.storage, "shop")


def test_the_counted_positions_of_a_study_stay_those_it_was_created_with(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = replace(plan_of(write_search), counted=Counted(last_positions=4))
    opener.study(plan)

    study = opener.study(replace(plan, counted=Counted(last_positions=2)))

    assert study.identity.counted == Counted(last_positions=4)
    assert read_study(opener.storage, "shop").identity == study.identity


def test_baselines_are_kept_until_the_data_change(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search)
    study = opener.study(plan)
    assert not study.baselines
    study.keep_baselines([Baseline(name="mean", loss=0.75)])

    again = opener.study(plan)

    assert again.baselines
    assert read_study(opener.storage, "shop").baselines == (Baseline(name="mean", loss=0.75),)
    assert not opener.study(replace(plan, data=OTHER_DATA), Consent(new_data=True)).baselines


def test_a_sample_of_everything_is_everything_once(
    write_search: WriteSearch, opener: Opener
) -> None:
    plan = plan_of(write_search, {"search_strategy": "sample", "n_samples": 8})

    keys = finish_all(opener.study(plan))

    assert len(set(keys)) == plan.effective.num_distinct == 8


def test_a_grid_after_a_sample_runs_only_what_the_sample_left(
    write_search: WriteSearch, opener: Opener
) -> None:
    sampled = finish_all(
        opener.study(plan_of(write_search, {"search_strategy": "sample", "n_samples": 3}))
    )

    rest = finish_all(opener.study(plan_of(write_search, {"search_strategy": "grid"})))

    assert len(rest) == 5
    assert not set(rest) & set(sampled)
