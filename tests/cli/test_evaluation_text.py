"""The figures of an evaluation as a person reads them."""

from sequifier_hpo.cli.evaluation_text import evaluation_text

CLASSES = {
    "kind": "categorical",
    "loss": 0.75,
    "baselines": {"class frequencies": 0.5},
    "accuracy": 0.5,
    "accuracy_of_most_frequent": 0.25,
    "accuracy_of_last_value": 0.375,
    "top_k_accuracy": {"3": 0.875},
    "macro_f1": None,
    "log_loss": 0.75,
    "calibration": {
        "error": 0.125,
        "bins": [{"mean_probability": 0.625, "accuracy": 0.5, "num_events": 1200}],
    },
    "confusion": {"labels": ["a very long category", "b"], "counts": [[1200, 1], [0, 3]]},
}
NUMBERS = {"kind": "real", "loss": 1.0, "baselines": {}, "mae": 2.0, "rmse": 3.0, "r2": 0.5}
TRIVIAL = {"mean": {"mae": 4.0, "rmse": 5.0, "r2": None}}
FOUND = {
    "model": "run 1 of shop",
    "split": "test",
    "data": "data/shop-split2.parquet",
    "num_events": 1204,
    "loss": 0.75,
    "loss_in_search": None,
    "loss_all_positions": 0.75,
    "baselines": {"class frequencies": 0.5},
    "targets": {"kind": CLASSES},
}


def test_figures_of_classes_stand_beside_those_of_trivial_predictors() -> None:
    lines = evaluation_text(FOUND).splitlines()

    assert lines[0] == "run 1 of shop on the test split, data/shop-split2.parquet: 1,204 events"
    assert "which the model does not beat" in lines[2]
    assert "50.0%   always the most frequent: 25.0%, the last value: 37.5%" in lines[5]
    assert "     62.5%,  50.0% came true (1,200 events)" in lines
    assert "    a very long c…           1,200               1" in lines


def test_figures_of_numbers_are_in_their_own_units_and_a_table_is_no_split() -> None:
    targets = {"kind": CLASSES, "price": {**NUMBERS, "trivial": TRIVIAL}}
    found = {**FOUND, "split": None, "loss_in_search": 0.5, "loss_all_positions": 1.5}

    lines = evaluation_text({**found, "targets": targets}).splitlines()

    assert "on a table of events" in lines[0]
    assert lines[1].endswith("0.75   in the search: 0.5")
    assert lines[2].split() == ["over", "all", "positions", "1.5"]
    assert lines[-2].split() == ["model", "2", "3", "0.500"]
    assert lines[-1].split() == ["trivial:", "mean", "4", "5", "-"]
