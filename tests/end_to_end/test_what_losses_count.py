"""What the validation losses of a search are over, as its user sees it."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.end_to_end.conftest import Finished, Project
from tests.end_to_end.shop import (
    FILE,
    METADATA,
    preprocess,
    preprocess_table,
    results,
    search,
    shown,
    write_search,
)

pytestmark = pytest.mark.slow

Searched = tuple[Project, Finished]
ALL_POSITIONS = "validation_loss_all_positions"


@pytest.fixture(scope="module")
def two_lengths(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """A grid of a run with three positions and one with six, and what the search said."""
    project = Project(tmp_path_factory.mktemp("lengths"))
    preprocess(project, seed=1, stride_by_split=[1, 9, 1], split_ratios=[0.4, 0.5, 0.1])
    write_search(
        project,
        search_strategy="grid",
        input_columns=[["product"]],
        seq_length=[3, 6],
        training_hyperparameter_sampling={"batch_size": [16], "epochs": [2]},
    )
    done = search(project)
    assert done.code == 0, done.stderr
    return project, done


def row_of(project: Project, seq_length: int) -> dict[str, str]:
    return next(row for row in results(project) if row["seq_length"] == str(seq_length))


def test_the_loss_over_all_positions_stands_beside_the_one_that_is_compared(
    two_lengths: Searched,
) -> None:
    project, done = two_lengths
    longer = row_of(project, 6)
    everywhere = longer[ALL_POSITIONS]

    status = project.run("status", "--config-path", FILE).stdout
    log = (project.root / f"logs/sequifier-{longer['model_name']}.log").read_text()
    report = (project.root / "studies/shop/report.html").read_text()

    assert float(everywhere) != float(longer["validation_loss"])
    assert row_of(project, 3)[ALL_POSITIONS] == "", "all of its positions count"
    for table in (done.stdout, status):
        assert "all positions" in table
        assert f"{float(everywhere):.6f}" in table
    assert f"all positions: {float(everywhere):.6e}" in log
    assert "validation loss over all positions" in report
    assert everywhere in report


def test_a_run_file_alone_comes_to_both_losses(two_lengths: Searched) -> None:
    project, _ = two_lengths
    longer = row_of(project, 6)
    file = f"configs/hp_search/{longer['model_name']}.yaml"

    alone = project.run("train", "--config-path", file, "--model-name", "alone")

    assert f"best validation loss {longer['validation_loss']} at epoch" in alone.stdout
    assert f"over all positions {longer[ALL_POSITIONS]}\n" in alone.stdout
    assert alone.stderr.count("over all positions), training loss") == 2


def test_the_plan_says_which_events_are_compared_and_how_more_would_be(
    two_lengths: Searched,
) -> None:
    project, _ = two_lengths

    text = project.run("plan", "--config-path", FILE).stdout
    events = shown(project, "plan")["counted_events"]

    # Of 10 events of a sequence two windows, which begin at its first and at its fourth item,
    # predict the last nine; their last three positions are six of them.
    assert (events["num_counted"], events["num_events"], events["last_positions"]) == (72, 108, 3)
    assert "the last 3 positions of every window, which all runs predict: 67% of" in text
    assert "stride" not in text


def test_a_low_share_comes_with_advice(tmp_path: Path) -> None:
    project = Project(tmp_path)
    preprocess(project, seed=1, stride_by_split=[1, 9, 1], split_ratios=[0.4, 0.5, 0.1])
    write_search(project, seq_length=[1, 6])
    with_gaps = project.run("plan", "--config-path", FILE).stdout
    preprocess(project, seed=1, split_ratios=[0.55, 0.35, 0.1])  # a window for each sequence

    without = project.run("plan", "--config-path", FILE).stdout

    assert "the last position of every window, which all runs predict: 22% of" in with_gaps
    assert "smaller stride: preprocess again with a number of 1 or less" in with_gaps
    assert "17% of" in without
    assert "more would count without the smallest value of seq_length" in without


def write_numbers(project: Project, values: list[float], **changes: Any) -> None:
    """A table of one column of numbers: one sequence, whose first part is for training."""
    preprocess_table(
        project,
        ["level"],
        [[0, item, value] for item, value in enumerate(values)],
        split_ratios=[0.6, 0.4],
        stride_by_split=[1, 1],
    )
    write_search(
        project,
        n_samples=1,
        input_columns=[["level"]],
        target_columns=["level"],
        target_column_types={"level": "real"},
        training_hyperparameter_sampling={"batch_size": [16], "criterion": {"level": "MSELoss"}},
        **changes,
    )


def test_values_equal_to_the_mean_are_events_and_baselines_are_over_those_that_count(
    tmp_path: Path,
) -> None:
    project = Project(tmp_path)
    level = [5.0 if item % 8 < 4 else 4.0 + item % 2 * 2 for item in range(80)]
    write_numbers(project, level, seq_length=[3, 5], search_strategy="grid")
    windows = pl.read_parquet(project.root / "data/shop-split1.parquet").select("3", *"210")
    done = search(project)

    loss = shown(project, "best")["baselines"]["last value"]

    assert done.code == 0, done.stderr
    changes = pl.concat([windows[str(i)] - windows[str(i + 1)] for i in range(3)])
    assert (windows["3"] == 0).any()
    assert loss == pytest.approx((changes**2).mean())


def test_a_target_that_never_changes_is_learned_not_taken_for_padding(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write_numbers(project, [5.0] * 80)

    done = search(project)

    assert done.code == 0, done.stderr
    assert float(results(project)[0]["validation_loss"]) < 1e-3
    assert "padding" not in done.stderr


def test_the_plan_warns_where_padding_of_numbers_is_guessed(tmp_path: Path) -> None:
    project = Project(tmp_path)
    write_numbers(project, [float(item % 7) for item in range(80)])
    sure = project.run("plan", "--config-path", FILE).stdout
    path = project.root / METADATA
    metadata = json.loads(path.read_text())
    del metadata["padding"]  # as Sequifier writes them
    path.write_text(json.dumps(metadata))

    unsure = project.run("plan", "--config-path", FILE).stdout

    assert "padding" not in sure
    assert "leading items that are 0 in every column count as padding" in unsure
    assert shown(project, "plan")["guesses_padding_of_numbers"]
