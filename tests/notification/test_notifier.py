"""What is to be told is told; what hangs, fails or floods costs the search nothing."""

import json
import os
import shlex
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.notification import Notifier, notifier, shown_service
from sequifier_hpo.notification.telling import Command
from tests.notification.conftest import Service

EVENT: dict[str, Any] = {"event": "ended", "title": "search shop has ended", "text": "12 runs ✓"}


def kill(telling: Notifier) -> None:
    """End the process that tells, at any moment."""
    with suppress(ProcessLookupError):
        os.killpg(telling._process.pid, signal.SIGKILL)
    telling._process.wait()
    telling.close()


def test_a_service_and_a_command_are_told_of_every_event(tmp_path: Path, service: Service) -> None:
    file = tmp_path / "events"
    telling = Notifier([service.url], f"cat >> {shlex.quote(str(file))}")

    telling.tell(EVENT)
    telling.tell({**EVENT, "event": "gave_up", "is_trouble": True})

    failed = telling.close()
    told = [service.next(), service.next()]
    assert [each["type"] for each in told] == ["info", "failure"]
    assert (told[0]["title"], told[0]["message"]) == (EVENT["title"], EVENT["text"])
    assert [json.loads(line)["event"] for line in file.read_text().splitlines()] == [
        "ended",
        "gave_up",
    ]
    assert failed == []


def test_a_signal_to_all_processes_of_a_search_does_not_keep_its_end_from_being_told(
    service: Service,
) -> None:
    telling = Notifier([service.url], None)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(telling._process.pid, number)
    telling.tell(EVENT)

    assert service.next()["title"] == EVENT["title"]
    assert telling.close() == []


def test_a_service_that_refuses_is_named_without_its_secrets(service: Service) -> None:
    service.status = 500
    telling = Notifier([service.url], "exit 3")

    telling.tell(EVENT)

    assert sorted(telling.close()) == [
        "json://***: the service did not take it",
        "the command: exit code 3",
    ]


def test_the_end_of_a_search_does_not_wait_for_what_hangs(
    tmp_path: Path, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "CLOSE_SECONDS", 0.5)
    service.is_to_answer.clear()
    file = tmp_path / "pid"
    telling = Notifier([service.url], f"echo $$ > {shlex.quote(str(file))}; exec sleep 600")
    began = time.monotonic()

    for _ in range(50):
        telling.tell(EVENT)
    telling.look()
    telling.close()

    assert time.monotonic() - began < 10
    while not file.exists() or not file.read_text():
        assert time.monotonic() - began < 60
        time.sleep(0.05)  # the process that tells goes on by itself
    os.killpg(int(file.read_text()), signal.SIGKILL)
    kill(telling)


def test_too_many_events_are_dropped_and_not_waited_for(tmp_path: Path) -> None:
    telling = Notifier([], "cat > /dev/null; sleep 3")
    began = time.monotonic()

    for _ in range(1_000):
        telling.tell(EVENT)
    failed = telling.close()

    assert time.monotonic() - began < 30
    assert set(failed) == {"the command: too many were waiting"}
    kill(telling)


def test_a_process_that_was_killed_costs_nothing(service: Service) -> None:
    telling = Notifier([service.url], None)
    os.killpg(telling._process.pid, signal.SIGKILL)

    telling.tell(EVENT)
    telling.tell(EVENT)

    assert telling.look() == []
    assert telling.close() == []


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("cat > /dev/null", ""),
        ("exit 7", "exit code 7"),
        ("no-such-command-of-ours", "exit code 127"),
        ("true", ""),  # which does not read what it is given
        ("head -c 50000000 /dev/zero; head -c 50000000 /dev/zero >&2", ""),
        ("sleep 600 & sleep 600", "it did not end within 1 s"),
    ],
)
def test_a_command_is_kept_within_its_time_whatever_it_does(command: str, why: str) -> None:
    assert Command(command, seconds=1 if why.startswith("it") else 60)(EVENT) == why


def test_one_that_hangs_keeps_no_other_from_being_told(service: Service) -> None:
    telling = Notifier([service.url], "sleep 5")

    for _ in range(3):
        telling.tell(EVENT)

    assert [service.next()["title"] for _ in range(3)] == [EVENT["title"]] * 3
    kill(telling)


def test_a_url_of_no_service_is_a_mistake_told_without_it(service: Service) -> None:
    with pytest.raises(InputError) as error:
        Notifier([service.url, "jsom://user:sesame@host", "sesame"], None)

    assert "cannot send notifications to `jsom://***`, `***`" in str(error.value)
    assert "sesame" not in str(error.value)


def test_without_the_library_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "find_spec", lambda _name: None)

    with pytest.raises(EnvironmentFaultError, match=r"pip install 'sequifier-hpo\[notify\]'"):
        Notifier(["json://localhost"], None)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("tgram://123:token/chat", "tgram://***"),
        ("mailto://me:sesame@example.org", "mailto://***"),
        ("sesame", "***"),
        ("se same://x", "***"),
    ],
)
def test_all_but_the_kind_of_a_service_may_be_secret(url: str, shown: str) -> None:
    assert shown_service(url) == shown
