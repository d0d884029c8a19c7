"""Who is told is said by the user, and by no project."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.config.preprocess import load_preprocess_config
from sequifier_hpo.config.search import load_search
from sequifier_hpo.config.train import load_train_config
from sequifier_hpo.config.user_file import NOTIFY_VARIABLE, Wanted, user_file_path, wanted_by
from sequifier_hpo.errors import ConfigError
from tests.conftest import WriteSearch

FILE = """
notify: [mailto://me:sesame@example.org, "json://a"]
on_event: cat >> events
notify_best: true
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv(NOTIFY_VARIABLE, raising=False)
    user_file_path().parent.mkdir(parents=True)
    return tmp_path


def test_what_is_given_comes_first_then_the_environment_then_the_users_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert wanted_by([], None, tells_best=False) == Wanted()
    user_file_path().write_text(FILE)

    in_file = wanted_by([], None, tells_best=False)
    monkeypatch.setenv(NOTIFY_VARIABLE, "json://b  json://c,d\n")
    in_environment = wanted_by([], None, tells_best=False)
    given = wanted_by(["json://e"], "true", tells_best=False)
    monkeypatch.setenv(NOTIFY_VARIABLE, "")
    none = wanted_by([], "", tells_best=False)

    assert in_file.urls == ("mailto://me:sesame@example.org", "json://a")
    assert (in_file.command, in_file.tells_best) == ("cat >> events", True)
    assert in_environment.urls == ("json://b", "json://c,d")
    assert (given.urls, given.command) == (("json://e",), "true")
    assert (none.urls, none.command) == ((), None)
    assert "sesame" not in repr(in_file)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("notify: mailto://me:sesame@example.org", "is not a list"),
        ("notify: [{mailto: sesame}]", "is not text"),
        ("notifi: [sesame://]", "did you mean `notify`?"),
        ("on_event: [sesame]", "is not text"),
    ],
)
def test_a_mistake_in_the_users_file_is_told_without_secrets(
    text: str, found: str, home: Path
) -> None:
    user_file_path().write_text(text)

    with pytest.raises(ConfigError) as error:
        wanted_by([], None, tells_best=False)

    assert found in str(error.value)
    assert "config/sequifier-hpo/config.yaml:1" in str(error.value)
    assert "sesame" not in str(error.value)


def test_without_a_folder_for_configurations_it_is_in_the_home_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    for folder in ("", "relative"):
        monkeypatch.setenv("XDG_CONFIG_HOME", folder)

        assert user_file_path() == Path("/home/ada/.config/sequifier-hpo/config.yaml")


@pytest.mark.parametrize("key", ["notify", "on_event", "notify_best"])
@pytest.mark.parametrize(
    "load", [load_search, load_train_config, load_preprocess_config], ids=lambda f: f.__name__
)
def test_in_a_file_of_a_project_it_is_an_error_that_says_why(
    load: Callable[[Path], Any], key: str, write_search: WriteSearch
) -> None:
    path = write_search()
    path.write_text(f"{path.read_text()}\n{key}: sesame\n")

    with pytest.raises(ConfigError) as error:
        load(path)

    assert f"there is no field `{key}` here" in str(error.value)
    assert "must neither run their command nor send them messages" in str(error.value)
    assert f"--{key.replace('_', '-')}" in str(error.value)
    assert "sesame" not in str(error.value)
