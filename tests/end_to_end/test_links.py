"""Top folders of a project that are links work; links under the names of our files do not."""

import shutil
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Project

pytestmark = pytest.mark.slow


def test_folders_on_a_scratch_disk_work_and_a_link_of_a_log_is_not_followed(
    prepared: Project, tmp_path: Path
) -> None:
    project = Project(tmp_path / "project")
    shutil.copytree(prepared.root, project.root, ignore=shutil.ignore_patterns("studies", "logs"))
    folders = ("data", "models", "checkpoints", "logs", "studies")
    for name in folders:
        if (project.root / name).is_dir():
            shutil.move(project.root / name, tmp_path / name)
        (tmp_path / name).mkdir(exist_ok=True)
        (project.root / name).symlink_to(tmp_path / name)
    theirs = tmp_path / "bashrc"
    theirs.write_text("theirs")
    small = {"model__attention_type": ["mha"], "training__batch_size": [32]}
    file = project.write_search("linked", input_columns=[["weather"]], **small)
    harmful = project.write_search("harmful", input_columns=[["weather"]], **small)
    (tmp_path / "logs/sequifier-harmful-run-0.log").symlink_to(theirs)

    again = project.run("preprocess", "--config-path", "configs/preprocess.yaml")
    done = project.search(file=file)
    refused = project.search(file=harmful)

    assert (again.code, done.code) == (0, 0), again.stderr + done.stderr
    assert all((project.root / name).is_symlink() for name in folders)
    assert {"results.csv", "study.db"} <= {p.name for p in (tmp_path / "studies/linked").iterdir()}
    assert (tmp_path / "logs/sequifier-linked-run-0.log").is_file()
    assert list((tmp_path / "models").glob("sequifier-linked-run-0-best-*.onnx"))
    assert refused.code in {3, 4}
    assert "it is a symbolic link" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert theirs.read_text() == "theirs"
