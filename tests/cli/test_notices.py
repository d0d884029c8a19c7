"""Which events of a search are told, and what is told of them."""

import json
import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sequifier_hpo.cli.notebook import quiet_view
from sequifier_hpo.cli.notices import OUTAGE_SECONDS, Notices, notices
from sequifier_hpo.cli.view import LineView, SearchProgress
from sequifier_hpo.config.user_file import Wanted
from sequifier_hpo.coordinator.observer import ActiveRun, SearchEnd
from sequifier_hpo.errors import EnvironmentFaultError, InputError
from sequifier_hpo.records import Failure, OutcomeKind, TrainingResult
from sequifier_hpo.report.leaderboard import Progress
from sequifier_hpo.searchspace import Point
from sequifier_hpo.study import Claim
from tests.coordinator.stage import Clock
from tests.coordinator.story import config_of

DONE = Progress(
    num_runs=3, num_complete=2, num_failed=1, num_running=0, num_interrupted=0, num_duplicates=0,
    num_of_other_data=0, best=None,
)  # fmt: skip
UNDISTURBED = SearchEnd(stopped_by=None, gave_up_after=())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events"


@contextmanager
def telling(file: Path, *, best: bool = False) -> Iterator[Notices]:
    """A search that tells, really, by a command that writes a file."""
    wanted = Wanted(command=f"cat >> {shlex.quote(str(file))}", tells_best=best)
    with notices("shop", "postgresql://ada:***@db/studies", wanted, print) as found:
        found.has_trained = True
        yield found


def told(file: Path) -> Sequence[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def view_of(notices: Notices, shown: SearchProgress) -> LineView:
    return notices.view(quiet_view)(shown, lambda: None, "shop")


def run_of(number: int) -> ActiveRun:
    claim = Claim(
        number, number, number, f"run {number}", "key", Point({}),
        is_continuation=False, batch_plan=None,
    )  # fmt: skip
    return ActiveRun(claim, config_of(number, 8), [])


def result(loss: float) -> TrainingResult:
    return TrainingResult(
        kind=OutcomeKind.COMPLETED, best_validation_loss=loss, best_epoch=1, batch_size=8
    )


def test_the_end_is_told_with_what_came_of_it(file: Path) -> None:
    with telling(file) as notices:
        notices.ended(UNDISTURBED, DONE, "")

    (event,) = told(file)
    assert event["event"] == "ended"
    assert event["title"] == "search shop has ended"
    assert event["text"].startswith("2 of 3 runs complete, 1 failed\n(on ")
    assert (event["num_runs"], event["complete"], event["failed"]) == (3, 2, 1)
    assert event["storage"] == "postgresql://ada:***@db/studies"
    assert "sesame" not in file.read_text()


@pytest.mark.parametrize(
    ("end", "event", "first_line"),
    [
        (SearchEnd(signal.SIGTERM, ()), "ended", "stopped by SIGTERM"),
        (SearchEnd(None, (), "time_budget"), "ended", "stopped by its time budget: 2 runs left"),
        (SearchEnd(None, (Failure(1, "x"),)), "gave_up", "stopped: 5 runs in a row failed"),
    ],
)
def test_why_it_ended_is_told_first(
    end: SearchEnd, event: str, first_line: str, file: Path
) -> None:
    left = Progress(**{**vars(DONE), "num_runs": 5})
    with telling(file) as notices:
        why = "stopped: 5 runs in a row failed\n    fix: nothing" if end.gave_up_after else ""
        notices.ended(end, left, why)

    (found,) = told(file)
    assert found["event"] == event
    assert found["text"].splitlines()[0] == first_line
    assert found["is_trouble"] == (event == "gave_up")


def test_where_there_was_nothing_to_do_nothing_is_told(file: Path) -> None:
    with telling(file) as notices:
        notices.has_trained = False
        notices.ended(UNDISTURBED, DONE, "")

    assert told(file) == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (EnvironmentFaultError("the storage postgresql://a:sesame@db is gone"), "the storage"),
        (RuntimeError("a bug"), "a bug"),
        (InputError("a mistake"), None),
        (KeyboardInterrupt(), None),
    ],
)
def test_an_error_that_ends_it_is_told_unless_it_is_the_users(
    error: BaseException, text: str | None, file: Path
) -> None:
    with suppress(type(error)), telling(file):
        raise error

    events = told(file)
    assert [event["event"] for event in events] == ([] if text is None else ["gave_up"])
    assert all(event["text"].startswith(text) for event in events)
    assert "sesame" not in str(events)


def test_a_storage_that_is_lost_for_a_minute_is_told_once(file: Path) -> None:
    clock = Clock()
    with telling(file) as notices:
        notices.clock = clock
        view = view_of(notices, SearchProgress(3, 0, None, None))
        view.storage_lost("the server does not answer")
        clock.now += OUTAGE_SECONDS - 1
        view.ticked()
        view.storage_returned(OUTAGE_SECONDS - 1)
        assert told(file) == []
        view.storage_lost("the server does not answer")
        for _ in range(3):
            clock.now += OUTAGE_SECONDS + 1
            view.ticked()

    (event,) = told(file)
    assert (event["event"], event["is_trouble"]) == ("storage_lost", True)
    assert event["text"].startswith("the server does not answer\ntraining continues")


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_a_new_best_run_is_told_if_it_is_asked_for(
    is_asked_for: bool,  # noqa: FBT001 - a parameter of the test
    file: Path,
) -> None:
    with telling(file, best=is_asked_for) as notices:
        view = view_of(notices, SearchProgress(3, 0, best_loss=0.5, best_run="run 0"))
        for number, loss in enumerate((0.6, 0.4, 0.4, 0.3), start=1):
            view.trial_started(run_of(number))
            view.trial_completed(run_of(number), result(loss))

    bests = [event["best"]["run"] for event in told(file)]
    assert bests == ([2, 4] if is_asked_for else [])


def test_what_cannot_be_told_is_said_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with notices("shop", "sqlite", Wanted(command="exit 3"), print) as found:
        found.has_trained = True
        found.ended(UNDISTURBED, DONE, "")

    said = capsys.readouterr().out
    assert said == "warning: 1 notification failed: the command: exit code 3\n"
