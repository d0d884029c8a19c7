"""Runs as records for programs."""

import json

from sequifier_hpo.report.leaderboard import progress
from sequifier_hpo.report.tables import detailed_records, run_records
from tests.report.conftest import MakeRun


def test_records_are_best_first_and_then_what_is_not_complete(make_run: MakeRun) -> None:
    runs = [make_run(0), make_run(1, 2.0), make_run(2, 1.0)]

    assert [record["run"] for record in run_records("shop", runs)] == [2, 1, 0]


def test_a_record_is_json_without_bookkeeping(make_run: MakeRun) -> None:
    run = make_run(7, 0.1, losses={1: float("inf"), 2: 0.1})

    (record,) = json.loads(json.dumps(detailed_records("shop", [run]), allow_nan=False))

    assert record["model_name"] == "shop-run-7"
    assert record["parameters"] == {"model_backbone": "dim_model=32 n_head=4", "dropout": "0.1"}
    assert record["validation_loss_by_epoch"] == {"1": None, "2": 0.1}
    assert "owner" not in record["attributes"]


def test_a_duplicate_has_the_files_of_the_run_it_equals(make_run: MakeRun) -> None:
    (record,) = run_records("shop", [make_run(7, 0.1, duplicate_of=3)])

    assert (record["model_name"], record["duplicate_of"]) == ("shop-run-3", 3)


def test_a_study_with_more_runs_than_asked_for_now_is_whole(make_run: MakeRun) -> None:
    runs = [make_run(0, 1.0), make_run(1, 2.0), make_run(2)]

    found = progress(runs, num_runs=1)

    assert (found.num_complete, found.num_failed, found.num_runs) == (2, 1, 3)
