"""Artifacts: what is kept of a run, under which name, and when it cannot be."""

from pathlib import Path

import pytest

from sequifier_hpo.report.artifacts import keep_artifacts
from sequifier_hpo.study import Artifact

RUN_FILE = Path("run.yaml")


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    RUN_FILE.write_text("model_name: shop-run-5\n")


def keep(
    folder: str = "kept",
    *,
    trial: str = "shop/7",
    run_file: Path = RUN_FILE,
    losses: dict[int, float] | None = None,
) -> list[Artifact]:
    return keep_artifacts(
        Path(folder),
        trial,
        run_file,
        title="shop-run-5",
        losses={1: 0.75} if losses is None else losses,
        train_losses={1: 0.5},
    )


def test_the_run_file_and_the_loss_curve_are_kept_under_their_ids() -> None:
    kept = keep()

    texts = {a.filename: (Path("kept") / a.artifact_id).read_text() for a in kept}
    assert texts["train.yaml"] == "model_name: shop-run-5\n"
    assert texts["loss-curve.svg"].startswith("<svg")
    assert "shop-run-5" in texts["loss-curve.svg"]


def test_the_same_trial_gives_the_same_artifacts_and_another_gives_others() -> None:
    first, again, of_other = (keep(trial=trial) for trial in ("shop/7", "shop/7", "shop/8"))

    assert first == again
    assert not {a.artifact_id for a in first} & {a.artifact_id for a in of_other}


def test_a_run_that_never_had_an_epoch_has_no_curve() -> None:
    kept = keep(losses={})

    assert [artifact.filename for artifact in kept] == ["train.yaml"]


def test_what_cannot_be_read_or_written_is_left_out() -> None:
    Path("file").touch()

    without_run_file = keep(run_file=Path("missing"))
    without_folder = keep("file")

    assert [artifact.filename for artifact in without_run_file] == ["loss-curve.svg"]
    assert without_folder == []
