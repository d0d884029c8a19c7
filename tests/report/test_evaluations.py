"""What `evaluate` kept of a study's runs is shown in its report."""

import json
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.report.evaluations import evaluations_section, read_evaluations
from sequifier_hpo.report.page import report_page
from sequifier_hpo.report.page_frame import PageAssets
from tests.report.conftest import MakeData

CLASSES: dict[str, Any] = {
    "kind": "categorical",
    "loss": 0.5,
    "baselines": {"class frequencies": 1.25},
    "accuracy": 0.75,
    "top_k_accuracy": {"3": 0.875},
    "macro_f1": 0.5,
    "calibration": {
        "error": 0.125,
        "bins": [{"mean_probability": 0.625, "accuracy": 0.5, "num_events": 8}],
    },
    "confusion": {"labels": ["<b>sun", "rain"], "counts": [[5, 1], [1, 1]]},
}
NUMBERS: dict[str, Any] = {
    "kind": "real",
    "loss": 2.0,
    "baselines": {},
    "mae": 1.5,
    "rmse": 2.5,
    "r2": None,
    "trivial": {"last value": {"mae": 3.5, "rmse": 4.5, "r2": 0.25}},
}


def keep(folder: Path, run: int, **changes: Any) -> None:
    content = {
        "study_id": "s-1",
        "run": run,
        "split": "test",
        "data": "data/shop-split2.parquet",
        "num_events": 8,
        "loss": 2.5,
        "baselines": {"class frequencies and mean": 3.5},
        "targets": {"weather": CLASSES, "price": NUMBERS},
    }
    (folder / "evaluations").mkdir(exist_ok=True)
    path = folder / f"evaluations/run-{run}-test.json"
    path.write_text(json.dumps(content | changes))


def test_the_report_shows_the_figures_of_every_kept_evaluation(
    tmp_path: Path, make_data: MakeData
) -> None:
    keep(tmp_path, 3)
    keep(tmp_path, 1)
    found = read_evaluations(tmp_path, "s-1")

    page = report_page(make_data(evaluations=found), PageAssets("", "", ""))

    assert [kept.run for kept in found] == [1, 3]
    shown = page.partition("What runs are worth")[2]
    for text in (
        "Run 3 on the test split",
        "75.0%",
        "87.5%",
        "62.5%",
        "2.5",
        "4.5",
        "&lt;b&gt;sun",
    ):
        assert text in shown
    assert "<b>sun" not in shown


@pytest.mark.parametrize("changes", [{"study_id": "s-2"}, {"targets": 3}, {"loss": "<script>"}])
def test_what_is_of_another_study_or_no_evaluation_is_left_out(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    keep(tmp_path, 1, **changes)

    assert read_evaluations(tmp_path, "s-1") == []
    assert evaluations_section([]) == ""


def test_what_counted_more_positions_than_the_study_does_by_now_is_left_out(
    tmp_path: Path,
) -> None:
    keep(tmp_path, 1)
    keep(tmp_path, 2, last_positions=6)
    keep(tmp_path, 3, last_positions=3)

    assert [kept.run for kept in read_evaluations(tmp_path, "s-1", recounted_to=3)] == [3]
    assert [kept.run for kept in read_evaluations(tmp_path, "s-1")] == [1, 2, 3]
