"""Whoever wants to know is told of a search, as the guide says; and nothing of it disturbs it."""

import json
from pathlib import Path

import pytest

from sequifier_hpo.config.user_file import user_file_path
from tests.end_to_end.conftest import Project
from tests.end_to_end.shop import FILE, preprocess, write_search
from tests.notification.conftest import Service, service

__all__ = ["service"]
SEARCH = ("hyperparameter-search", "--config-path", FILE)


@pytest.fixture
def shop(tmp_path: Path) -> Project:
    project = Project(tmp_path)
    preprocess(project, seed=1)
    write_search(project, n_samples=1)
    return project


@pytest.mark.slow
def test_a_service_and_a_command_are_told_of_a_search(
    shop: Project, service: Service, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    user_file_path().parent.mkdir(parents=True)
    user_file_path().write_text("on_event: exit 1\nnotify_best: true\n")

    ended = shop.run_program(
        *SEARCH, "--notify", service.url, "--on-event", "cat >> events.jsonl", "--time-budget", "8h"
    )

    assert ended.code == 0, ended.stderr
    assert [service.next()["title"], service.next()["title"]] == [
        "search shop has a new best run",
        "search shop has ended",
    ]
    assert service.told.empty()
    events = map(json.loads, (shop.root / "events.jsonl").read_text().splitlines())
    assert [(event["event"], event["best"]["run"]) for event in events] == [
        ("new_best", 0),
        ("ended", 0),
    ]
    written = [path for path in shop.root.rglob("*") if path.is_file() and path != user_file_path()]
    assert not any(b"sesame" in path.read_bytes() for path in written)
    assert "sesame" not in ended.stdout + ended.stderr


def test_what_nobody_can_send_is_a_mistake_before_anything_is_trained(shop: Project) -> None:
    ended = shop.run(*SEARCH, "--notify", "jsom://user:sesame@localhost")

    assert ended.code == 2
    assert "apprise cannot send notifications to `jsom://***`" in ended.stderr
    assert "sesame" not in ended.stderr
    assert not (shop.root / "studies/shop/study.db").exists()
