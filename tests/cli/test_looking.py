"""`status`, `best`, `export` and `report`: a study looked at while and after it runs."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from sequifier_hpo.study.snapshot import NUM_RUNS
from tests.cli.conftest import Run, Study
from tests.conftest import WriteSearch

FILE = ("--config-path", "configs/search.yaml")
COMMANDS = ("status", "best", "export", "report")


def test_status_shows_progress_running_runs_and_the_leaderboard(run: Run, study: Study) -> None:
    study.complete(0.75, 0.5)
    claim = study.study.claim()
    assert claim is not None
    study.study.report(claim, 1, 1.25)

    shown = run("status", *FILE)

    assert shown.code == 0
    assert "shop: 2 of 8 runs complete, 1 running; best 0.5 (run 1)" in shown.stdout
    assert "run 2: epoch 1, validation loss 1.25" in shown.stdout
    assert re.search(r"1\s+1\s+0\.500000.*\n.*2\s+0\s+0\.750000", shown.stdout)
    assert "left" in shown.stdout


def test_status_as_json_is_complete(run: Run, study: Study) -> None:
    study.complete(0.75, 0.5)

    found = json.loads(run("status", *FILE, "--json", "--top", "1").stdout)

    assert (found["complete"], found["num_runs"], found["is_over"]) == (2, 8, False)
    assert found["best"]["run"] == 1
    assert [record["run"] for record in found["leaderboard"]] == [1]


def test_a_run_whose_coordinator_died_counts_as_interrupted(run: Run, study: Study) -> None:
    assert study.study.claim() is not None
    study.die()

    shown = run("status", *FILE)

    assert "0 of 8 runs complete, 1 interrupted" in shown.stdout
    assert "sequifier-hpo hyperparameter-search --config-path configs/search.yaml" in shown.stdout


def test_status_names_the_reasons_of_failures(run: Run, study: Study) -> None:
    claim = study.study.claim()
    assert claim is not None
    study.study.fail(claim, "crashed", {"explanation": "ValueError: no such thing"})

    assert "run 0 failed: ValueError: no such thing" in run("status", *FILE).stdout


def test_watch_ends_when_nothing_is_left_to_run(run: Run, study: Study) -> None:
    study.complete(*(1.0 + i for i in range(8)))

    shown = run("status", *FILE, "--watch", "--json")

    assert shown.code == 0
    assert json.loads(shown.stdout)["is_over"] is True


def test_watch_waits_for_a_study_that_is_about_to_be_started(
    run: Run, write_search: WriteSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, started = write_search(), []

    def start_it(_seconds: float) -> None:
        started.append(Study(file))
        started[-1].complete(*(1.0 + i for i in range(8)))

    monkeypatch.setattr("sequifier_hpo.cli.status.time.sleep", start_it)

    shown = run("status", *FILE, "--watch", "--json")

    for study in started:
        study.storage.close()
    assert len(started) == 1
    assert shown.stderr == "waiting for the study shop to be started\n"
    assert json.loads(shown.stdout)["complete"] == 8


def test_a_study_that_has_not_said_how_many_runs_it_will_have_is_not_over(
    run: Run, study: Study
) -> None:
    study.study.describe_study({NUM_RUNS: 0}, "")

    assert json.loads(run("status", *FILE, "--json").stdout)["is_over"] is False


def test_a_study_is_found_by_storage_and_name_alone(run: Run, study: Study) -> None:
    study.complete(0.5)

    shown = run("status", "--storage", study.url, "--study-name", "shop", "--json")

    assert json.loads(shown.stdout)["complete"] == 1


def test_a_search_file_in_mid_edit_does_not_hide_the_study(run: Run, study: Study) -> None:
    study.complete(0.5)
    file = Path("configs/search.yaml")
    file.write_text(file.read_text().replace("dim_model", "dim_modell"))

    assert run("status", *FILE).code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_looking_does_not_wait_for_who_writes(run: Run, study: Study, command: str) -> None:
    study.complete(0.5)

    with study.locked():
        shown = run(command, *FILE)

    assert shown.code == 0, shown.stderr


def test_best_shows_the_run_and_where_its_file_is(run: Run, study: Study) -> None:
    study.complete(0.75, 0.5)

    shown = run("best", *FILE)

    assert "run 1, validation loss 0.5" in shown.stdout
    assert "configs/hp_search/shop-run-1.yaml" in shown.stdout


def test_best_write_copies_the_train_file(run: Run, study: Study) -> None:
    study.complete(0.75, 0.5)

    shown = run("best", *FILE, "--write", "configs/train.yaml")

    assert shown.code == 0
    assert Path("configs/train.yaml").read_text() == "model_name: shop-run-1\n"
    assert "sequifier-hpo train --config-path configs/train.yaml" in shown.stderr


def test_best_write_does_not_replace_other_content_unasked(run: Run, study: Study) -> None:
    study.complete(0.5)
    Path("configs/train.yaml").write_text("mine: true\n")

    refused = run("best", *FILE, "--write", "configs/train.yaml")
    kept = Path("configs/train.yaml").read_text()
    forced = run("best", *FILE, "--write", "configs/train.yaml", "--force")

    assert (refused.code, kept, forced.code) == (2, "mine: true\n", 0)
    assert "--force" in refused.stderr
    assert Path("configs/train.yaml").read_text() == "model_name: shop-run-0\n"


def test_best_write_spares_a_file_that_is_no_text(run: Run, study: Study) -> None:
    study.complete(0.5)
    Path("picture.png").write_bytes(b"\x89PNG\xff")

    assert run("best", *FILE, "--write", "picture.png").code == 2
    assert run("best", *FILE, "--write", "configs").code == 2


def test_best_write_asks_for_the_search_file_where_only_it_knows(run: Run, study: Study) -> None:
    study.complete(0.5)

    shown = run("best", "--storage", study.url, "--study-name", "shop", "--write", "x.yaml")

    assert shown.code == 2
    assert "add --config-path" in shown.stderr


def test_best_of_nothing_exits_with_4(run: Run, study: Study) -> None:
    shown = run("best", *FILE)

    assert (shown.code, shown.stdout) == (4, "")
    assert "no run of the study shop is complete yet" in shown.stderr
    assert "sequifier-hpo status --config-path configs/search.yaml" in shown.stderr


def test_best_as_csv_is_one_row_in_full_precision(run: Run, study: Study) -> None:
    study.complete(0.75, 1 / 3)

    rows = list(csv.DictReader(io.StringIO(run("best", *FILE, "--format", "csv").stdout)))

    assert [(row["run"], row["validation_loss"]) for row in rows] == [("1", repr(1 / 3))]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--seeds", "3"), "--seeds: only with --verify"),
        (("--workers", "1", "--retry-failed"), "--workers, --retry-failed: only with --verify"),
        (
            ("--verify", "2", "--write", "configs/train.yaml"),
            "--write cannot be combined with --verify",
        ),
        (("--verify", "0"), "--verify"),
        (("--verify", "2", "--seeds", "1"), "--seeds"),
    ],
)
def test_options_of_best_that_do_not_go_together_are_refused(
    run: Run, study: Study, options: tuple[str, ...], named: str
) -> None:
    refused = run("best", *FILE, *options)

    assert (refused.code, refused.stdout) == (2, "")
    assert named in refused.stderr


def test_export_gives_rows_or_records_to_other_programs(run: Run, study: Study) -> None:
    study.complete(0.75, 1 / 3)

    rows = list(csv.DictReader(io.StringIO(run("export", *FILE).stdout)))
    records = json.loads(run("export", *FILE, "--format", "json").stdout)

    assert [float(row["validation_loss"]) for row in rows] == [1 / 3, 0.75]
    assert [record["validation_loss"] for record in records] == [1 / 3, 0.75]
    assert records[0]["validation_loss_by_epoch"] == {"1": 1 / 3 + 1, "2": 1 / 3}


def test_export_writes_a_file(run: Run, study: Study) -> None:
    study.complete(0.5)

    shown = run("export", *FILE, "-o", "out/runs.csv")

    assert (shown.code, shown.stdout) == (0, "")
    assert Path("out/runs.csv").read_text().startswith("rank,run,state,validation_loss")


def test_report_writes_one_file_into_the_folder_of_the_study(run: Run, study: Study) -> None:
    study.complete(0.75, 0.5)

    shown = run("report", *FILE)

    page = Path("studies/shop/report.html").read_text()
    assert "wrote studies/shop/report.html: 2 complete runs" in shown.stdout
    assert "model_name: shop-run-1" in page
    assert not list(Path("studies/shop").glob("*.tmp"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_study_that_was_never_started_is_said_to_be_so(
    run: Run, study: Study, command: str
) -> None:
    shown = run(command, *FILE, "--study-name", "nope")

    assert shown.code == 2
    assert "the study `nope` was never started" in shown.stderr
    assert "check --storage and --study-name" in shown.stderr
    assert not Path("studies/nope").exists()


def test_how_to_start_a_study_repeats_the_storage_that_was_given(run: Run, study: Study) -> None:
    shown = run("status", *FILE, "--storage", "sqlite:///other.db")

    assert shown.code == 2
    options = "--config-path configs/search.yaml --storage sqlite:///other.db"
    assert f"start it with `sequifier-hpo hyperparameter-search {options}`" in shown.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_from_another_folder_the_one_of_the_project_is_named(
    run: Run, study: Study, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    project = Path.cwd()
    monkeypatch.chdir("configs")

    shown = run(command, "--config-path", "search.yaml")

    assert shown.code == 2
    assert f"no studies/shop/study.db in the working directory {project / 'configs'}" in (
        shown.stderr
    )
    assert f"`cd {project}` first" in shown.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_storage_alone_asks_for_the_name_of_the_study(
    run: Run, study: Study, command: str
) -> None:
    shown = run(command, "--storage", study.url)

    assert shown.code == 2
    assert "add --study-name" in shown.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_study_in_a_storage_is_named_with_those_that_exist(
    run: Run, study: Study, command: str
) -> None:
    shown = run(command, "--storage", study.url, "--study-name", "nope")

    assert shown.code == 2
    assert "studies there: shop" in shown.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_search_file_is_an_input_error(run: Run, project: Path, command: str) -> None:
    assert run(command, *FILE).code == 2


def remove_run_files() -> None:
    for file in Path("configs/hp_search").glob("*.yaml"):
        file.unlink()


def test_where_the_run_files_were_removed_the_copy_of_the_study_takes_their_place(
    run: Run, study: Study
) -> None:
    study.complete(0.75, 0.5)
    remove_run_files()

    shown, written = run("best", *FILE), run("best", *FILE, "--write", "configs/train.yaml")
    record, reported = run("best", *FILE, "--json"), run("report", *FILE)

    assert "run file  studies/shop/artifacts/" in shown.stdout
    assert (written.code, reported.code) == (0, 0)
    assert Path("configs/train.yaml").read_text() == "model_name: shop-run-1\n"
    assert Path(json.loads(record.stdout)["train_config"]).is_file()
    assert "model_name: shop-run-1" in Path("studies/shop/report.html").read_text()


def test_a_run_file_that_is_nowhere_is_said_to_be_removed(run: Run, study: Study) -> None:
    study.complete(0.5)
    remove_run_files()
    for file in Path("studies/shop/artifacts").iterdir():
        file.unlink()

    shown, written = run("best", *FILE), run("best", *FILE, "--write", "configs/train.yaml")
    record = json.loads(run("best", *FILE, "--json").stdout)

    assert "configs/hp_search/shop-run-0.yaml, which was removed" in shown.stdout
    assert "--write" not in shown.stdout
    assert (written.code, record["train_config"]) == (2, None)
    assert "does not exist, nor does the study's copy" in written.stderr


def test_the_files_of_options_may_lie_in_the_home_folder(
    run: Run, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.complete(0.5)
    monkeypatch.setenv("HOME", str(Path.cwd()))
    file = "--config-path=~/configs/search.yaml"

    done = [
        run("status", file),
        run("best", file, "--write=~/configs/train.yaml"),
        run("export", file, "--output=~/runs.csv"),
        run("report", file, "--output=~/page.html"),
        run("init", "~/new"),
    ]

    assert [each.code for each in done] == [0] * 5
    names = ("configs/train.yaml", "runs.csv", "page.html", "new/configs/preprocess.yaml")
    assert all(Path(name).is_file() for name in names)
    assert not Path("~").exists()
