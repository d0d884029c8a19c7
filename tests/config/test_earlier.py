"""How a search file names the earlier studies that guide a new one."""

from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.config.earlier import EarlierStudy
from sequifier_hpo.config.paths import ProjectPaths
from sequifier_hpo.config.search import load_search
from sequifier_hpo.errors import ConfigError, ConfigIssue
from tests.conftest import WriteSearch

OWN = "postgresql://me:secret@db/hpo"
LEARNING = {"search_strategy": "bayesian", "n_samples": 5}


def named(write: WriteSearch, *entries: Any) -> list[EarlierStudy]:
    earlier: list[EarlierStudy] = load_search(
        write({**LEARNING, "warm_start": list(entries)})
    ).config.warm_start
    return earlier


def issues_of(write: WriteSearch, changes: dict[str, Any]) -> list[ConfigIssue]:
    with pytest.raises(ConfigError) as caught:
        load_search(write({**LEARNING, **changes}))
    return list(caught.value.issues)


def test_a_study_is_found_by_name_folder_file_or_url(
    write_search: WriteSearch, project: Path
) -> None:
    for name in ("old", "far"):
        (project / "studies" / name).mkdir(parents=True)
    (project / "studies/old/study.db").touch()
    paths = ProjectPaths(Path())
    mapping = {"study": "a", "storage": "sqlite:///other.db"}

    entries = named(
        write_search, "old", "elsewhere", "studies/far", "../x/study.db", "/a/b.db", mapping, OWN
    )

    assert [entry.url(paths, OWN) for entry in entries] == [
        "sqlite:///studies/old/study.db",
        OWN,
        "sqlite:///studies/far/study.db",
        "sqlite:///../x/study.db",
        "sqlite:////a/b.db",
        "sqlite:///other.db",
        OWN,
    ]
    assert [entry.study for entry in entries] == ["old", "elsewhere", None, None, None, "a", None]


@pytest.mark.parametrize(
    "storage", [OWN, "postgresql:/me:secret@db/hpo", "postgresql://me:a/secret@db/hpo", "me:secret@db"]
)  # fmt: skip
def test_nobody_is_shown_a_password(storage: str, write_search: WriteSearch) -> None:
    (text, mapping) = named(
        write_search, storage if "/" in storage else {"storage": storage}, {"study": "a", "storage": storage}
    )  # fmt: skip

    for entry in (text, mapping):
        assert "secret" not in f"{entry} {entry!r}"
        assert "@db" in str(entry)
        assert entry.url(ProjectPaths(Path()), "") == storage


@pytest.mark.parametrize("strategy", ["sample", "grid"])
def test_a_search_that_looks_at_no_results_has_nothing_to_guide(
    strategy: str, write_search: WriteSearch
) -> None:
    (issue,) = issues_of(write_search, {"search_strategy": strategy, "warm_start": ["old"]})

    assert issue.path == "warm_start"
    assert f"with search_strategy `{strategy}`, runs are chosen without a look at" in issue.problem
    assert issue.allowed == "search_strategy: bayesian"


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ("old", "warm_start", "is not a list"),
        ([3], "warm_start[0]", "is not a mapping"),
        ([{}], "warm_start[0]", "is not a mapping"),
        ([{"name": "old"}], "warm_start[0].name", "there is no field `name` here"),
        (["shop"], "warm_start[0]", "no study guides itself"),
        (["old", "old"], "warm_start[1]", "old is named twice"),
        ([{"storage": "postgresql://me:secret@db/hpo", "study": 4}], "warm_start[0].study", "text"),
    ],
)
def test_a_mistake_has_its_place(
    value: Any, path: str, words: str, write_search: WriteSearch
) -> None:
    (issue,) = issues_of(write_search, {"warm_start": value})

    assert issue.path == path
    assert words in issue.problem
    assert "secret" not in str(issue)
