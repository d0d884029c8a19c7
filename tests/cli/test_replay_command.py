"""`replay`: what a search would have cost on a table of trained runs."""

import json
from itertools import product
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "runs.csv"
    lines = ["width,rate,epoch_1,epoch_2,epoch_3,epoch_4"]
    for width, rate in product(range(5), range(6)):
        end = 0.5 + 0.02 * width + 0.03 * abs(rate - 3)
        curve = ",".join(str(end + 0.5**epoch) for epoch in range(1, 5))
        lines.append(f"{width}: {8 + width},{rate}: rate={rate},{curve}")
    file.write_text("\n".join(lines) + "\n")
    return file


def test_it_compares_the_ways_to_search(run: Run, table: Path) -> None:
    shown = run("replay", str(table), "--seeds", "2")

    assert shown.code == 0
    assert "30 runs, best loss 0.5625" in shown.stderr
    for name in ("sample", "sample + pruning", "bayesian", "bayesian + pruning"):
        assert f"replaying {name}" in shown.stderr
        assert f" {name} " in shown.stdout


def test_as_json_it_is_one_object(run: Run, table: Path) -> None:
    shown = run("replay", str(table), "--seeds", "2", "--n-samples", "12", "--json")

    found = json.loads(shown.stdout)
    assert set(found) == {"sample", "sample + pruning", "bayesian", "bayesian + pruning"}
    assert set(found["sample"]["to_best_1_percent"]) == {"low", "median", "high"}
    assert found["sample"]["winner_stopped"] == 0


def test_a_file_that_is_missing_or_no_table_is_said_in_words(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")

    missing, wrong = (run("replay", str(path)) for path in (tmp_path / "none.csv", other))

    assert (missing.code, wrong.code) == (2, 2)
    assert "there is no table" in missing.stderr
    assert "not a table of runs" in wrong.stderr
    assert "Traceback" not in missing.stderr + wrong.stderr
