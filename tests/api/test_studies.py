"""Studies that a program reads."""

import importlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go  # type: ignore[import-untyped]
import polars as pl
import pytest

import sequifier_hpo
from sequifier_hpo.api.frames import runs_table
from sequifier_hpo.api.given import as_file
from sequifier_hpo.cli.continuing import continued_file
from sequifier_hpo.config.locate import DEFAULT_SEARCH_FILE
from sequifier_hpo.errors import ConfigError, EnvironmentFaultError, InputError
from tests.cli.conftest import Study


def test_the_package_loads_nothing_until_it_is_used() -> None:
    code = "import sys; before = set(sys.modules); import sequifier_hpo; print(*set(sys.modules) - before)"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/"
    )

    assert done.stdout.split() == ["sequifier_hpo"]


def test_search_is_the_function_though_a_package_has_that_name() -> None:
    room = importlib.import_module("sequifier_hpo.strategy")

    assert importlib.reload(room) is room
    assert sequifier_hpo.search.__module__ == "sequifier_hpo.api.searching"
    assert {"search", "open_study", "Study", "StudyRun"} <= set(dir(sequifier_hpo))
    with pytest.raises(AttributeError, match="no attribute 'serch'"):
        _ = sequifier_hpo.serch  # type: ignore[attr-defined]


def test_values_of_runs_have_their_types(study: Study) -> None:
    study.complete(1.5, 1.25)

    found = sequifier_hpo.open_study(study.file)

    assert repr(found) == "<Study shop: 2 of 8 runs complete, best 1.25 (run 1)>"
    assert found.best.number == 1
    assert found.best.state == "complete"
    assert found.best.losses == {1: 2.25, 2: 1.25}
    assert found.best.measured.num_parameters == 1234
    assert found.best.train_file == Path("configs/hp_search/shop-run-1.yaml")
    assert {type(found.best.values[name]) for name in ("dim_model", "num_layers")} == {int}
    assert [run.number for run in found.leaderboard] == [1, 0]
    assert found.run(0).rank == 2
    assert "_origin" not in repr(found.best)


def test_a_study_is_a_table_of_runs_and_one_of_epochs(study: Study) -> None:
    study.complete(1.5, 1.25)

    found = sequifier_hpo.open_study(study.file)
    runs = found.to_polars()

    assert runs["run"].to_list() == [1, 0]
    assert runs.schema["dim_model"] == pl.Int64
    assert runs.schema["input_columns"] == pl.String
    assert runs["validation_loss"].to_list() == [1.25, 1.5]
    assert found.losses().rows() == [(0, 1, 2.5), (0, 2, 1.5), (1, 1, 2.25), (1, 2, 1.25)]


def test_a_column_of_several_kinds_is_text_and_one_of_numbers_is_numbers(study: Study) -> None:
    study.complete(1.5, 1.25)
    first, second = sequifier_hpo.open_study(study.file).runs
    runs = [
        replace(first, values={"a": 1, "b": None, "c": "x", "d": 2}),
        replace(second, values={"a": 0.5, "b": 3, "c": 1}),
    ]

    table = runs_table(runs)

    assert table["a"].to_list() == [1.0, 0.5]
    assert table["b"].to_list() == [None, 3]
    assert table["c"].to_list() == ["x", "1"]
    assert table["d"].to_list() == [2, None]


def test_a_missing_pandas_is_said(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with pytest.raises(EnvironmentFaultError, match=r"pandas is not installed\n.*pip install"):
        sequifier_hpo.open_study(study.file).to_pandas()


def test_mistakes_are_said_in_the_words_of_the_command_line(study: Study) -> None:
    found = sequifier_hpo.open_study(study.file)

    with pytest.raises(ConfigError, match=r"configs/absent\.yaml"):
        sequifier_hpo.open_study("configs/absent.yaml")
    with pytest.raises(InputError, match="there is no study `x`"):
        sequifier_hpo.open_study(study.file, study_name="x", storage=study.url)
    with pytest.raises(InputError, match="no run of the study shop is complete yet"):
        _ = found.best
    with pytest.raises(InputError, match="the study shop has no run 7"):
        found.run(7)
    with pytest.raises(InputError, match="workers is 0"):
        sequifier_hpo.search(study.file, workers=0)


def test_a_run_to_go_on_from_is_one_of_the_study(study: Study) -> None:
    study.complete(1.5)
    Path(study.file).rename(DEFAULT_SEARCH_FILE)

    with pytest.raises(InputError, match=r"the study shop has no run 7\n.*it has run 0"):
        continued_file("7", 4)


def test_what_is_asked_of_a_run_is_checked_first(study: Study) -> None:
    study.complete(1.5)
    best = sequifier_hpo.open_study(study.file).best

    with pytest.raises(InputError, match="there is no split `tset`"):
        best.evaluate("tset")
    with pytest.raises(InputError, match="leave one of them out"):
        best.evaluate("test", data="data/new.csv")
    with pytest.raises(InputError, match="steps is 0"):
        best.predict("data/new.csv", steps=0)
    wrong: Any = [1, 2]
    with pytest.raises(InputError, match="a list is no table"):
        best.predict(wrong)


def test_figures_are_those_of_the_report_in_colours_that_plotly_knows(study: Study) -> None:
    study.complete(1.5, 1.25, 1.75)

    figures = sequifier_hpo.open_study(study.file).figures()

    assert {"history", "curves", "parallel", "timeline"} <= set(figures)
    assert any(name.startswith("losses by ") for name in figures)
    assert {type(figure) for figure in figures.values()} == {go.Figure}
    assert '"@' not in "".join(figure.to_json() for figure in figures.values())
    assert figures["history"].layout.paper_bgcolor == "#ffffff"


def test_a_frame_of_pandas_is_read_as_its_csv_and_one_of_polars_as_parquet() -> None:
    class Frame:
        def to_csv(self, path: Any, /, *, index: bool) -> None:
            Path(path).write_text("sequenceId\n1\n")
            assert not index

    with as_file(Frame()) as path:
        assert path.read_text() == "sequenceId\n1\n"
    with as_file(pl.DataFrame({"a": [1]})) as parquet:
        assert pl.read_parquet(parquet)["a"].to_list() == [1]
    assert not path.exists()
    assert not parquet.exists()
