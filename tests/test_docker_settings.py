"""The script that writes the settings of docker/compose.yaml. `make cluster` runs all the rest."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "docker/settings.sh"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone, as far as the script needs it."""
    return _clone(tmp_path / "clone")


def _clone(folder: Path) -> Path:
    (folder / "docker").mkdir(parents=True)
    shutil.copy(SCRIPT, folder / "docker")
    return folder


def _run(clone: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", clone / "docker/settings.sh", *arguments],
        cwd=clone.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def _settings(clone: Path) -> dict[str, str]:
    lines = (clone / "docker/.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_settings_name_the_project_absolutely_and_are_for_their_owner_alone(clone: Path) -> None:
    (clone.parent / "my project").mkdir()

    assert _run(clone, "my project").returncode == 0

    assert _settings(clone)["PROJECT"] == f"'{clone.parent}/my project'"
    assert (clone / "docker/.env").stat().st_mode & 0o777 == 0o600


def test_name_and_password_stay_when_settings_are_written_again(clone: Path) -> None:
    _run(clone)
    before = _settings(clone)

    assert _run(clone).returncode == 0

    assert _settings(clone) == before
    assert len(before["POSTGRES_PASSWORD"]) == 32


def test_two_clones_have_names_of_their_own(clone: Path, tmp_path: Path) -> None:
    other = _clone(tmp_path / "other")
    _run(clone)
    _run(other)

    assert _settings(clone)["COMPOSE_PROJECT_NAME"] != _settings(other)["COMPOSE_PROJECT_NAME"]


def test_a_project_that_is_not_there_is_refused(clone: Path) -> None:
    done = _run(clone, "nowhere")

    assert (done.returncode, done.stderr) == (2, "settings.sh: there is no folder nowhere\n")
    assert not (clone / "docker/.env").exists()
