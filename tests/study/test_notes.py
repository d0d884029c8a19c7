"""Notes and artifacts: the same attributes as those that optuna-dashboard and Optuna write."""

from pathlib import Path
from typing import Any

import optuna
import pytest

from sequifier_hpo.study.notes import (
    Artifact,
    artifact_attributes,
    artifact_store,
    artifacts_of,
    described,
    note_attributes,
    note_of,
)

BODIES = ["short", "x" * 2045, "x" * 2046, "# Überschrift\n\n| a | b |\n" * 400]


@pytest.fixture
def study() -> optuna.Study:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.add_trial(optuna.create_trial(value=1.0))
    return study


def system_attrs(study: optuna.Study) -> dict[str, Any]:
    return study._storage.get_study_system_attrs(study._study_id)


@pytest.mark.parametrize("body", BODIES)
def test_a_note_on_a_study_is_stored_as_the_dashboard_stores_it(
    study: optuna.Study, body: str
) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")

    dashboard.save_note(study, body)

    assert system_attrs(study) == note_attributes(body)


@pytest.mark.parametrize("body", BODIES)
def test_a_note_on_a_trial_is_stored_as_the_dashboard_stores_it(
    study: optuna.Study, body: str
) -> None:
    notes = pytest.importorskip("optuna_dashboard._note")
    trial_id = study.trials[0]._trial_id

    notes.save_note_with_version(study._storage, study._study_id, trial_id, 1, body)

    assert system_attrs(study) == note_attributes(body, trial_id)


@pytest.mark.parametrize("trial_id", [None, 1, 11])
@pytest.mark.parametrize("body", ["", *BODIES])
def test_a_note_is_found_among_others_as_the_dashboard_finds_it(
    body: str, trial_id: int | None
) -> None:
    notes = pytest.importorskip("optuna_dashboard._note")
    others = {**note_attributes("of the study"), **note_attributes("of another", 111)}
    attributes = {**others, **note_attributes(body, trial_id)} if body else {}

    found = note_of(attributes, trial_id)

    assert found == notes.get_note_from_system_attrs(attributes, trial_id)
    assert found["body"] == body


def test_an_artifact_is_stored_as_optuna_stores_it(study: optuna.Study, tmp_path: Path) -> None:
    (tmp_path / "curve.svg").write_text("<svg/>")
    optuna.artifacts.upload_artifact(
        artifact_store=artifact_store(tmp_path),
        file_path=str(tmp_path / "curve.svg"),
        study_or_trial=study,
    )
    stored = system_attrs(study)
    identity = next(iter(stored)).removeprefix("artifacts:")

    assert stored == artifact_attributes([Artifact(identity, "curve.svg", "image/svg+xml")])


def test_artifacts_that_nobody_describes_so_are_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        described({"artifacts:a": "[" * 20_000 + "]" * 20_000})


def test_artifacts_are_listed_as_the_dashboard_lists_them(study: optuna.Study) -> None:
    backend = pytest.importorskip("optuna_dashboard.artifact._backend")
    attributes = {
        **artifact_attributes([Artifact("a", "train.yaml", "text/yaml")]),
        "artifacts:removed": "null",
        "sequifier_hpo:rank": 3,
    }
    trial = study.trials[0]

    found = artifacts_of({}, attributes, trial)

    assert found == backend.list_trial_artifacts({}, attributes, trial)
    assert [artifact["filename"] for artifact in found] == ["train.yaml"]
