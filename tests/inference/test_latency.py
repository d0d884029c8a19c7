"""The models of a study are measured where they are, once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sequifier_hpo.config.locate import StudySource
from sequifier_hpo.inference.latency import measured, this_machine
from sequifier_hpo.records import Run
from sequifier_hpo.report.latencies import Latency, keep_latencies
from tests.inference.conftest import export, small_config
from tests.report.conftest import MakeRun, make_run

__all__ = ["make_run"]

Measure = Callable[[], list[float | None]]


@pytest.fixture
def source(tmp_path: Path) -> StudySource:
    folder = tmp_path / "studies/shop"
    folder.mkdir(parents=True)
    return StudySource("shop", "sqlite://", None, folder, None)


@pytest.fixture
def runs(source: StudySource, make_run: MakeRun) -> list[Run]:
    """Run 0 has a model, run 1 none, and under the name of run 2 lies another's."""
    root = source.paths.root
    for number in (0, 2):
        inputs = ["cat1", "val1"]
        export(small_config(root, inputs, ["cat1"], model_name=f"shop-run-{number}"), root)
    figures = {"attributes": {"epochs_run": 1}}
    return [make_run(0, 1.0, **figures), make_run(1, 1.0, **figures), make_run(2, 0.5, **figures)]


def test_models_that_are_here_are_measured_once(source: StudySource, runs: list[Run]) -> None:
    told: list[str] = []

    found = measured(source, runs, told.append)
    again = measured(source, [*runs[:2]], told.append)

    time = found[0].figures.milliseconds_per_event
    assert time is not None
    assert 0 < time < 100
    assert found[0].figures.measured_on == this_machine()
    assert [run.figures.milliseconds_per_event for run in found[1:]] == [None, None]
    assert again[0].figures.milliseconds_per_event == time
    assert told == ["measuring the latency of 2 models"]


def test_what_another_machine_has_measured_is_measured_here(
    source: StudySource, runs: list[Run]
) -> None:
    elsewhere = Latency(validation_loss=1.0, milliseconds_per_event=9e9, measured_on="elsewhere")
    keep_latencies(source.study_folder, {0: elsewhere, 1: elsewhere})

    found = measured(source, runs[:2], lambda _: None)

    machines = {run.figures.measured_on for run in found}
    assert machines in ({"elsewhere", None}, {this_machine(), None}), "never both"
    assert '"elsewhere"' in (source.study_folder / "latencies.json").read_text()


def test_the_report_of_a_folder_that_cannot_be_written_to_has_the_figures(
    source: StudySource, runs: list[Run]
) -> None:
    (source.study_folder / "latencies.json").mkdir()

    found = measured(source, runs, lambda _: None)

    assert found[0].figures.milliseconds_per_event


def test_large_models_do_not_hold_up_the_report(source: StudySource, runs: list[Run]) -> None:
    hours = iter(range(0, 10_000_000, 3600))

    found = measured(source, runs, lambda _: None, clock=lambda: float(next(hours)))

    assert [run.figures.milliseconds_per_event for run in found] == [None, None, None]
