"""What the end of a search says."""

import signal
from pathlib import Path

import pytest

from sequifier_hpo.cli.search_text import exit_code, next_commands, why_it_gave_up
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.report.leaderboard import Progress


def _words(num_complete: int, num_failed: int, num_distinct: int = 100) -> str:
    after = Progress(8, num_complete, num_failed, 0, 0, 0, 0, None)
    return "\n".join(next_commands("--config-path s.yaml", Path("r.yaml"), after, num_distinct))


@pytest.mark.parametrize(
    ("num_complete", "num_failed", "num_distinct", "is_offered"),
    [(8, 0, 100, True), (6, 2, 100, True), (6, 1, 100, False), (8, 0, 8, False)],
)
def test_more_runs_are_offered_where_all_are_done_and_more_are_possible(
    num_complete: int, num_failed: int, num_distinct: int, *, is_offered: bool
) -> None:
    assert ("n_samples" in _words(num_complete, num_failed, num_distinct)) == is_offered


def test_failures_are_followed_by_the_way_to_their_reasons() -> None:
    assert "sequifier-hpo status --config-path s.yaml    # why did runs fail?" in _words(6, 2)
    assert "why did runs fail" not in _words(8, 0)


def test_reasons_that_differ_in_the_number_of_the_run_are_one_reason() -> None:
    reasons = [f"cannot write models/shop-run-{k}-best-4.onnx: Read-only" for k in range(5)]

    text = why_it_gave_up(reasons)

    assert f"5 runs in a row failed, all of them with: {reasons[0]}" in text


def test_the_most_frequent_of_several_reasons_is_told() -> None:
    text = why_it_gave_up(["diverged in epoch 3", "no room", "diverged in epoch 1"])

    assert "3 runs in a row failed, 2 of them with: diverged in epoch 3" in text
    assert "--retry-failed" in text


@pytest.mark.parametrize(("num_complete", "expected"), [(7, 130), (8, 0)])
def test_a_stop_after_the_last_result_has_stopped_nothing(
    num_complete: int, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    after = Progress(8, num_complete, 0, 0, 8 - num_complete, 0, 0, None)
    end = SearchEnd(stopped_by=signal.SIGINT, gave_up_after=())

    assert exit_code("--config-path s.yaml", end, after) == expected
    assert ("resume with" in capsys.readouterr().err) == (expected != 0)
