"""Runs as records for programs."""

import csv
import json

import pytest

from sequifier_hpo.report.leaderboard import progress
from sequifier_hpo.report.tables import csv_cell, detailed_records, results_csv, run_records
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


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1+cmd|' /C calc'!A0", "'+1+cmd|' /C calc'!A0"),
        ("-a, b", "'-a, b"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" \t=1+1", "' \t=1+1"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        (-0.5, "-0.5"),
        (-3, "-3"),
        ("a=b", "a=b"),
        ("a\x1b[2J", r"a\u001b[2J"),
        (None, ""),
    ],
)
def test_no_cell_is_a_formula_and_numbers_stay_numbers(value: object, cell: str) -> None:
    assert csv_cell(value) == cell


def test_a_table_has_no_formula_in_its_heading_or_its_cells(make_run: MakeRun) -> None:
    run = make_run(0, 1.0, labels={"=a": "0: =b"}, reason="")

    heading, row = csv.reader(results_csv("=shop", [run]).splitlines())

    assert "'=a" in heading
    assert row[heading.index("'=a")] == "'=b"
    assert row[heading.index("model_name")] == "'=shop-run-0"
