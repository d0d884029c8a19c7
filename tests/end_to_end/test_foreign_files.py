"""Files of the user's, or of somebody else's, in a project, with the names of modules."""

import shutil
import sys
import urllib.request
from http import HTTPStatus
from importlib.metadata import packages_distributions

import pytest

from tests.end_to_end.conftest import Finished, Project

pytestmark = pytest.mark.slow

HOSTILE = """
from pathlib import Path
Path({log!r}).open("a").write({name!r} + "\\n")
raise SystemExit("a file of the working directory was imported")
"""


@pytest.fixture(scope="module")
def foreign(prepared: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a file for every module and a package for every package that there is."""
    root = tmp_path_factory.mktemp("foreign") / "project"
    shutil.copytree(prepared.root, root)
    for name in {*sys.stdlib_module_names, "sitecustomize", "usercustomize"}:
        (root / f"{name}.py").write_text(HOSTILE.format(log=str(root / "imported"), name=name))
    for name in {*packages_distributions(), "sequifier"} - {"sequifier_hpo"}:
        (root / name).mkdir(exist_ok=True)
        hostile = HOSTILE.format(log=str(root / "imported"), name=name)
        (root / name / "__init__.py").write_text(hostile)
    return Project(root)


def run_untouched(project: Project, *arguments: str) -> Finished:
    """Run a command that must succeed, and must have run none of the files."""
    done = project.run_program(*arguments)
    assert not (project.root / "imported").exists(), (project.root / "imported").read_text()
    assert done.code == 0, done.stderr
    return done


def write_single_run(project: Project, name: str, **changes: object) -> str:
    single = {"input_columns": [["weather"]], "model__attention_type": ["mha"]}
    return project.write_search(name, **single, training__batch_size=[64], **changes)


def test_doctor_runs_none_of_them(foreign: Project) -> None:
    assert "trains on" in run_untouched(foreign, "doctor").stdout


def test_a_search_its_check_and_its_winner_run_none_of_them(foreign: Project) -> None:
    file = ("--config-path", write_single_run(foreign, "single"))
    run_file = foreign.root / "configs/hp_search/single-run-0.yaml"

    run_untouched(foreign, "hyperparameter-search", *file)
    run_untouched(foreign, "best", *file, "--verify", "1", "--seeds", "2")
    run_file.write_text(run_file.read_text().replace("single-run-0", "again"))
    trained = run_untouched(foreign, "train", "--config-path", str(run_file))

    assert "sequifier-again-best-2.onnx" in trained.stdout


def test_the_dashboard_runs_none_of_them(foreign: Project) -> None:
    file = ("--config-path", write_single_run(foreign, "shown"))
    run_untouched(foreign, "hyperparameter-search", *file)

    dashboard = foreign.start("dashboard", *file, "--port", "0")
    try:
        assert dashboard.stdout is not None
        base, _, study_id = dashboard.stdout.readline().strip().partition("/dashboard/studies/")
        for place in ("studies", f"studies/{study_id}?after=0", "meta"):
            with urllib.request.urlopen(f"{base}/api/{place}") as answer:
                assert answer.status == HTTPStatus.OK
    finally:
        dashboard.terminate()
        dashboard.communicate(timeout=60)

    assert not (foreign.root / "imported").exists()


def test_shards_are_written_and_read_lazily_without_them(foreign: Project) -> None:
    file = foreign.root / "configs/preprocess.yaml"
    file.write_text(file.read_text().replace("write_format: parquet", "write_format: pt"))
    search = write_single_run(
        foreign, "lazy", read_format="pt", training__load_full_data_to_ram=False
    )

    run_untouched(foreign, "preprocess")
    run_untouched(foreign, "hyperparameter-search", "--config-path", search)
