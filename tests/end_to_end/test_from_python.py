"""A search, its result and its model, from a program."""

import contextlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import sequifier_hpo
from sequifier_hpo.errors import NoSuccessError
from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow

FILE = "configs/tiny.yaml"


@pytest.fixture(scope="module")
def study(searched: tuple[Project, Finished]) -> Any:
    with contextlib.chdir(searched[0].root):
        yield sequifier_hpo.open_study(FILE)


def test_the_best_run_is_judged_and_the_report_knows(
    study: sequifier_hpo.Study, searched: tuple[Project, Finished]
) -> None:
    found = study.best.evaluate()

    assert found["loss"] == pytest.approx(study.best.validation_loss, abs=1e-5)
    assert found["baselines"] == pytest.approx(study.baselines, abs=1e-6)
    kept = f"studies/tiny/evaluations/run-{study.best.number}-validation.json"
    assert (searched[0].root / kept).is_file()


def test_a_frame_is_predicted_as_its_file_is(
    study: sequifier_hpo.Study, searched: tuple[Project, Finished], tmp_path: Path
) -> None:
    (table,) = (searched[0].root / "data").glob("*.csv")
    frame = pl.read_csv(table).group_by("sequenceId", maintain_order=True).head(30)
    frame.write_csv(tmp_path / "new.csv")

    found = study.best.predict(frame, top_k=2)

    assert found.equals(study.best.predict(tmp_path / "new.csv", top_k=2))
    assert found.height == frame["sequenceId"].n_unique()
    strange = frame.with_columns(pl.lit("hail").alias("weather"))
    with pytest.warns(UserWarning, match="hail.*not trained with them"):
        study.best.predict(strange, sequences=[int(frame["sequenceId"][0])])


def test_a_search_in_a_thread_trains_without_a_word(
    prepared: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    file = prepared.write_search("threaded", search_strategy="sample", n_samples=2)
    handler = signal.getsignal(signal.SIGINT)
    with contextlib.chdir(prepared.root), ThreadPoolExecutor(1) as thread:
        found = thread.submit(sequifier_hpo.search, file, quiet=True).result()

        assert [run.state for run in found.runs] == ["complete", "complete"]
        assert found.to_polars()["learning_rate"].to_list() == [0.01, 0.01]
    assert capfd.readouterr() == ("", "")
    assert signal.getsignal(signal.SIGINT) is handler
    assert (prepared.root / "studies/threaded/report.html").is_file()


def test_a_search_without_one_success_is_an_error(prepared: Project) -> None:
    file = prepared.write_search(
        "hopeless", search_strategy="sample", n_samples=1, training__learning_rate=[1e30]
    )

    with (
        contextlib.chdir(prepared.root),
        pytest.raises(NoSuccessError, match="no run succeeded; see logs/"),
    ):
        sequifier_hpo.search(file, quiet=True)


INTERRUPTED = """
import sequifier_hpo
try:
    sequifier_hpo.search("FILE", workers=1)
except KeyboardInterrupt:
    print([run.state.value for run in sequifier_hpo.open_study("FILE").runs])
print(sequifier_hpo.search("FILE", quiet=True))
"""


def test_an_interrupt_is_raised_when_all_is_stored_and_the_search_can_go_on(
    prepared: Project,
) -> None:
    file = prepared.write_search(
        "interrupted", search_strategy="sample", n_samples=1, training__epochs=[40]
    )
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.replace("FILE", file)],
        cwd=prepared.root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("run 0: started"):
            process.send_signal(signal.SIGINT)
            break

    stdout, stderr = process.communicate(timeout=120)

    assert "stopped by SIGINT; to search again goes on from here" in stderr
    assert process.returncode == 0, stderr
    first, second = stdout.splitlines()
    assert first == "['interrupted']"
    assert second.startswith("<Study interrupted: 1 of 1 run complete")
