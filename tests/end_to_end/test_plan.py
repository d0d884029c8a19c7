"""`plan` tells what a search would run, and spends nothing."""

import json
import shutil
from pathlib import Path

import pytest

from sequifier_hpo.preprocessing.digest_cache import cache_path
from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow


def test_the_plan_of_a_new_search_counts_combinations_and_distinct_runs(prepared: Project) -> None:
    file = prepared.write_search("planned")

    plan = json.loads(prepared.run("plan", "--json", "--config-path", file).stdout)

    assert (plan["num_combinations"], plan["num_distinct"], plan["num_to_come"]) == (8, 4, 4)
    assert plan["parameters"]["data_schema"]["choices"][1]["values"]["input_columns"] == [
        "weather",
        "temp_max",
        "wind",
    ]
    assert any("n_kv_heads is null" in a["adjustment"] for a in plan["adjustments"])
    assert plan["model_parameters"]["minimum"] > 0
    assert not (prepared.root / "studies" / "planned").exists()


def test_the_plan_of_a_finished_search_has_nothing_to_come(
    searched: tuple[Project, Finished],
) -> None:
    project, _ = searched

    finished = project.run("plan", "--config-path", "configs/tiny.yaml")

    assert "so far: 4 complete" in finished.stdout
    assert "remaining: 0 runs" in finished.stdout


def test_the_plan_of_a_search_says_which_data_it_has_to_read_first(
    searched: tuple[Project, Finished],
) -> None:
    project, _ = searched
    splits = [Path("data") / f"seattle-weather-split{i}.parquet" for i in range(2)]
    for split in splits:
        cache_path(project.root / split).unlink()

    finished = project.run("plan", "--config-path", "configs/tiny.yaml")

    assert finished.stderr.splitlines() == [
        f"reading {split} to identify its data" for split in splits
    ]


def test_the_plan_of_another_space_under_an_old_name_is_refused_as_the_search_would_be(
    searched: tuple[Project, Finished],
) -> None:
    project, _ = searched
    file = project.write_search("other", hp_search_name="tiny", seq_length=[5])

    planned = project.run("plan", "--config-path", file)

    assert planned.code == 2
    assert "the search space differs from that of the study `tiny`" in planned.stderr
    assert "seq_length: 7 becomes 5" in planned.stderr
    assert "losses count the last 5 positions of a window from then on" in planned.stderr
    assert "--accept-changes" in planned.stderr


def test_the_plan_warns_of_a_schedule_that_does_not_end_with_the_epochs(
    prepared: Project,
) -> None:
    scheduler = [{"name": "CosineAnnealingLR", "T_max": 9}]
    file = prepared.write_search("warned", training__scheduler=scheduler)

    finished = prepared.run("plan", "--config-path", file)

    assert finished.code == 0
    assert "warning: configs/warned.yaml:" in finished.stdout
    assert "T_max: 2" in finished.stdout


@pytest.mark.parametrize(
    "name",
    [
        "hyperparameter_search.yaml",
        "hyperparameter_search_grid.yaml",
        "hyperparameter_search_bayesian.yaml",
    ],
)
def test_every_search_file_that_comes_with_the_package_loads(prepared: Project, name: str) -> None:
    finished = prepared.run("plan", "--config-path", f"configs/{name}")

    assert finished.code == 0, finished.stderr
    assert "warning" not in finished.stdout


def test_the_plan_lists_choices_that_mean_the_same_run(prepared: Project) -> None:
    file = prepared.write_search("twins")

    shown = prepared.run("plan", "--config-path", file).stdout

    twins = shown.partition("trained once:\n")[2].partition("\n\n")[0]
    assert twins == "  always:\n    attention_type: mha\n    attention_type: gqa"


def test_a_plan_of_a_study_writes_nothing(
    searched: tuple[Project, Finished], tmp_path: Path
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(searched[0].root, root)
    for path in (root / "data").glob(".*.digest.json"):
        path.unlink()
    before = {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}

    planned = Project(root).run("plan", "--config-path", "configs/tiny.yaml")

    assert planned.code == 0, planned.stderr
    assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before
