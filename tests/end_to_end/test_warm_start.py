"""A search that earlier ones guide, as a user sees it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sequifier_hpo.assembly.prepare import PreparedSearch, prepare_search
from sequifier_hpo.errors import InputError
from sequifier_hpo.preprocessing.inputs import counted_by_search
from sequifier_hpo.study import NO_CONSENT, Consent, StudyPlan
from sequifier_hpo.study.warm_start import with_earlier
from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow

FIXTURE = Path(__file__).parents[1] / "fixtures" / "study-0.1.0"
LEARNING: dict[str, Any] = {"search_strategy": "bayesian", "n_samples": 2}


@pytest.fixture(scope="module")
def after_tiny(
    searched: tuple[Project, Finished], tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A copy of the project in which the grid `tiny` has run to its end."""  # fmt: skip
    root = tmp_path_factory.mktemp("warm") / "project"
    return Project(shutil.copytree(searched[0].root, root))


@pytest.fixture(scope="module")
def guided(after_tiny: Project) -> tuple[Project, Finished]:
    """A search in a smaller space, which the grid guides."""
    changes = {"training__batch_size": [32, 16], "warm_start": ["tiny"]}
    file = after_tiny.write_search("warm", **LEARNING, **changes)
    return after_tiny, after_tiny.run_program("hyperparameter-search", "--config-path", file)


def test_search_plan_and_report_say_which_runs_guide(guided: tuple[Project, Finished]) -> None:
    project, finished = guided

    assert finished.code == 0, finished.stderr
    sentence = (
        "warm start: 2 of 4 runs of tiny guide; 2 do not: batch_size 64 is not a candidate (2)"
    )
    assert sentence in finished.stderr
    report = (project.root / "studies/warm/report.html").read_text()
    assert "2 of 4 runs of tiny guide" in report
    planned = project.run(
        "plan", "--config-path", project.write_search("next", **LEARNING, warm_start=["tiny"])
    )
    assert "warm start: 4 of 4 runs of tiny guide" in planned.stdout
    assert not (project.root / "studies/next").exists()


def test_it_goes_on_when_the_earlier_study_is_gone(
    guided: tuple[Project, Finished], tmp_path: Path
) -> None:
    project = Project(shutil.copytree(guided[0].root, tmp_path / "project"))
    shutil.rmtree(project.root / "studies/tiny")
    changes = {"training__batch_size": [32, 16], "n_samples": 3, "search_strategy": "bayesian"}

    named = project.search(file=project.write_search("warm", **changes, warm_start=["tiny"]))
    assert named.code == 0, named.stderr
    removed = project.search("--json", file=project.write_search("warm", **changes))

    assert removed.code == 0, removed.stderr
    assert "the search file has no `warm_start` any more" in removed.stderr
    assert json.loads(removed.stdout)["guided_by"] == 2
    report = project.run("report", "--config-path", "configs/warm.yaml")
    assert report.code == 0, report.stderr
    assert "2 of 4 runs of tiny guide" in (project.root / "studies/warm/report.html").read_text()


@pytest.mark.parametrize(
    ("warm_start", "changes", "words"),
    [
        (
            ["tiny"],
            {"training__batch_size": [8]},
            "0 of 4 runs of tiny guide; 4 do not: batch_size",
        ),
        (["tiny"], {"seq_length": [5]}, "seq_length 7 is not a candidate (4)"),
        (["tini"], {}, "no study tini: neither studies/tini/study.db nor studies/cold"),
        (["studies/tini/study.db"], {}, "studies/tini/study.db does not exist"),
        (["configs/tiny.yaml/"], {}, "the storage sqlite:///configs/tiny.yaml"),
    ],
)
def test_what_cannot_guide_is_refused_and_leaves_nothing(
    warm_start: list[str], changes: dict[str, Any], words: str, after_tiny: Project
) -> None:
    file = after_tiny.write_search("cold", **LEARNING, **changes, warm_start=warm_start)

    finished = after_tiny.search(file=file)

    assert finished.code in {2, 3}, finished.stdout
    assert words in finished.stderr
    assert "Traceback" not in finished.stderr
    assert not (after_tiny.root / "studies/cold").exists()


@pytest.mark.parametrize(
    ("study", "said"),
    [
        ("shop-grid", "5 of 6 runs of shop-grid guide; 1 do not: still to end (1)"),
        (
            "shop-lengths",
            "1 of 4 runs of shop-lengths guide; 3 do not: its loss counts 8 positions of a window, "
            "here it is 3 (2), still to end (1)",
        ),
    ],
)
def test_a_study_of_0_1_0_guides_where_the_user_vouches_for_its_data(
    study: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(FIXTURE, tmp_path / "project"))
    file = Path(f"configs/{study}.yaml")
    changes = {**LEARNING, "hp_search_name": "new", "warm_start": [study]}
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), **changes}))
    prepared = prepare_search(
        file,
        overrides={},
        skip_metadata=False,
        storage=None,
        workers=None,
        on_progress=lambda _text: None,
    )

    with pytest.raises(InputError, match=r"was started by sequifier-hpo 0\.1\.0"):
        plan_of(prepared, NO_CONSENT)
    warm_start, _ = plan_of(prepared, Consent(same_data=True)).earlier.learn()

    assert warm_start is not None
    assert [str(guide) for guide in warm_start.guides] == [said]


def plan_of(prepared: PreparedSearch, consent: Consent) -> StudyPlan:
    plan = StudyPlan(
        name=prepared.name,
        space=prepared.space,
        data=prepared.data,
        counted=counted_by_search(prepared.loaded.config),
        key_of=lambda point, seed: prepared.keyer.key(point, seed=seed),
    )
    return with_earlier(plan, prepared.storage_url, consent)
