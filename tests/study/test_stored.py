"""A study.db that is damaged, or that somebody has doctored."""

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from sequifier_hpo.cli.status import status_json, status_text
from sequifier_hpo.config.locate import StudySource, find_study
from sequifier_hpo.config.storage_url import sqlite_url
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.report.status import status_reader
from sequifier_hpo.report.study_reader import read_source
from sequifier_hpo.report.tables import detailed_records, results_csv
from sequifier_hpo.study import Storage
from sequifier_hpo.study.transactions import note_study

OLD = Path(__file__).parents[1] / "fixtures/study-0.1.0/studies/shop-grid/study.db"
DEEP = '{"a":' * 500 + "1" + "}" * 500
LONG = "1" * 5000


def look(source: StudySource) -> None:
    """Everything that `status`, `best` and `export` read of a study."""
    with status_reader(source) as read:
        found = read()
    status_text(found, 10)
    json.dumps(status_json(found, 10))
    runs = read_source(source).runs
    results_csv(source.name, runs)
    json.dumps(detailed_records(source.name, runs))


def changed(folder: Path, sql: str, value: object) -> StudySource:
    """A copy of a study in which one statement was carried out."""
    path = folder / "study.db"
    shutil.copy(OLD, path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute(sql, (value,)).rowcount > 0
        connection.commit()
    return find_study(None, sqlite_url(path), "shop-grid")


ATTRIBUTE = "UPDATE trial_user_attributes SET value_json = ? WHERE key = "
SYSTEM = "UPDATE trial_system_attributes SET value_json = ? WHERE key = "


@pytest.mark.parametrize(
    ("sql", "value", "problem"),
    [
        (
            f"{ATTRIBUTE}'best_epoch'",
            '"<b>x</b>"',
            "trial 0: best_epoch: Input should be a valid integer",
        ),
        (f"{ATTRIBUTE}'best_epoch'", DEEP, "trial 0: it is nested too deeply"),
        (f"{ATTRIBUTE}'best_epoch'", LONG, "trial 0: it holds a whole number of 5,000 digits"),
        (f"{ATTRIBUTE}'seconds'", "{", "trial 0: Expecting property name"),
        (f"{ATTRIBUTE}'seconds'", "NaN", "trial 0: seconds: Input should be a finite number"),
        ("UPDATE trial_user_attributes SET key = ? WHERE key = 'seconds'", b"\xff", "the name"),
        (f"{SYSTEM}'sequifier_hpo:rank'", '"first"', "trial 0: invalid literal"),
        ("UPDATE trial_values SET value = ?", "small", "trial 1: its loss is 'small'"),
        ("UPDATE trial_values SET value = ?", float("inf"), "trial 1: its loss is 'inf'"),
        ("UPDATE trial_intermediate_values SET intermediate_value = ?", "x", "the loss of epoch"),
        ("UPDATE trial_params SET param_value = ?", 10**9, "trial 0: "),
        ("UPDATE trial_params SET distribution_json = ?", DEEP, "trial 0: "),
        ("UPDATE trials SET number = ?", "first", "its number is 'first'"),
        ("UPDATE trials SET state = ?", "ASLEEP", "trials: 'ASLEEP' is not among"),
        ("UPDATE trials SET datetime_start = ?", "yesterday", "trials: "),
        (
            "UPDATE study_user_attributes SET value_json = ? WHERE key = 'num_runs'",
            '"9"',
            "num_runs",
        ),
        (
            "UPDATE study_system_attributes SET value_json = ? WHERE key = 'sequifier_hpo:space'",
            "[1]",
            "space",
        ),
        ("UPDATE study_user_attributes SET value_json = ?", DEEP, "the study"),
    ],
)
def test_a_value_that_nobody_stores_is_named_with_its_file_and_what_to_do(
    tmp_path: Path, sql: str, value: object, problem: str
) -> None:
    source = changed(tmp_path, sql, value)

    with pytest.raises(EnvironmentFaultError, match=problem) as caught:
        look(source)

    assert str(tmp_path / "study.db") in caught.value.problem
    assert "is damaged, or was changed by someone else" in caught.value.problem
    assert caught.value.fix.startswith(f"restore {tmp_path}/study.db from a backup")
    assert len(caught.value.problem) < 600


def test_the_study_that_is_changed_above_can_be_read(tmp_path: Path) -> None:
    look(
        changed(
            tmp_path,
            "UPDATE studies SET study_name = ? WHERE study_name = 'shop-grid'",
            "shop-grid",
        )
    )


def test_tables_of_another_version_are_no_bug(tmp_path: Path) -> None:
    source = changed(tmp_path, "UPDATE alembic_version SET version_num = ?", "v99")

    with pytest.raises(EnvironmentFaultError, match="by another version of Optuna, or changed"):
        look(source)


def test_a_study_without_a_readable_name_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no study `shop-grid`"):
        look(
            changed(
                tmp_path,
                "UPDATE studies SET study_name = ? WHERE study_name = 'shop-grid'",
                b"\xff\xfe",
            )
        )


def test_a_note_that_is_no_text_is_named(tmp_path: Path) -> None:
    storage = Storage(sqlite_url(tmp_path / "study.db"))
    study = optuna.create_study(study_name="shop", storage=storage.cached)
    for key, value in {"dashboard:note_ver": 1, "dashboard:note_str:0": [1]}.items():
        study._storage.set_study_system_attr(study._study_id, key, value)  # type: ignore[arg-type]

    with (
        pytest.raises(EnvironmentFaultError, match="the study's note"),
        storage.faults(),
        storage.writing() as connection,
    ):
        note_study(connection, study._study_id, "new")
    storage.close()


@pytest.mark.parametrize("value", ["[1]", "null", '"{"', '{"a": 1}', '"[1]"', DEEP])
def test_artifacts_that_nobody_describes_so_are_named(tmp_path: Path, value: str) -> None:
    path = tmp_path / "study.db"
    shutil.copy(OLD, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(
            "INSERT INTO trial_system_attributes (trial_id, key, value_json) "
            "SELECT trial_id, 'artifacts:a', ? FROM trials",
            (value,),
        )
        connection.commit()

    with pytest.raises(EnvironmentFaultError, match="trial"):
        look(find_study(None, sqlite_url(path), "shop-grid"))
