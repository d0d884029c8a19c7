"""Artifacts: what is kept of a run, under which name, and when it cannot be."""

from dataclasses import replace
from pathlib import Path

import pytest

from sequifier_hpo.assembly.artifacts import keep_artifacts
from sequifier_hpo.config.search import load_search
from sequifier_hpo.coordinator.observer import ActiveRun
from sequifier_hpo.searchspace import Point, compile_space, decode
from sequifier_hpo.study import Claim
from tests.conftest import WriteSearch

CLAIM = Claim(
    trial_id=7,
    trial_number=5,
    run_number=5,
    title="run 5",
    key="0" * 64,
    point=Point({}),
    is_continuation=False,
    batch_plan=None,
)


@pytest.fixture
def run(write_search: WriteSearch) -> ActiveRun:
    space = compile_space(load_search(write_search()).config)
    config, _ = decode(space, space.point_at((0, 0, 0)), CLAIM.run_number, device="cpu")
    Path("run.yaml").write_text("model_name: shop-run-5\n")
    return ActiveRun(CLAIM, config, notes=[], train_losses={1: 0.5})


def test_the_run_file_and_the_loss_curve_are_kept_under_their_ids(run: ActiveRun) -> None:
    kept = keep_artifacts(Path("kept"), "shop", run, Path("run.yaml"), {1: 0.75})

    texts = {a.filename: (Path("kept") / a.artifact_id).read_text() for a in kept}
    assert texts["train.yaml"] == "model_name: shop-run-5\n"
    assert texts["loss-curve.svg"].startswith("<svg")
    assert "shop-run-5" in texts["loss-curve.svg"]


def test_the_same_trial_gives_the_same_artifacts_and_another_gives_others(run: ActiveRun) -> None:
    other = replace(run, claim=replace(CLAIM, trial_id=8))

    first, again, of_other = (
        keep_artifacts(Path("kept"), "shop", r, Path("run.yaml"), {1: 0.75})
        for r in (run, run, other)
    )

    assert first == again
    assert not {a.artifact_id for a in first} & {a.artifact_id for a in of_other}


def test_a_run_that_never_had_an_epoch_has_no_curve(run: ActiveRun) -> None:
    kept = keep_artifacts(Path("kept"), "shop", run, Path("run.yaml"), {})

    assert [artifact.filename for artifact in kept] == ["train.yaml"]


def test_what_cannot_be_read_or_written_is_left_out(run: ActiveRun) -> None:
    Path("file").touch()

    without_run_file = keep_artifacts(Path("kept"), "shop", run, Path("missing"), {1: 0.75})
    without_folder = keep_artifacts(Path("file"), "shop", run, Path("run.yaml"), {1: 0.75})

    assert [artifact.filename for artifact in without_run_file] == ["loss-curve.svg"]
    assert without_folder == []
