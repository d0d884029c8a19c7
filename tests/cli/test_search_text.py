"""What the end of a search says."""

import signal
from pathlib import Path

import pytest

from sequifier_hpo.cli.search_text import exit_code, next_commands, why_it_gave_up
from sequifier_hpo.cli.verify_text import exit_code_of_check
from sequifier_hpo.config.search import load_search
from sequifier_hpo.coordinator.observer import SearchEnd
from sequifier_hpo.records import Failure, Run
from sequifier_hpo.report.failures import what_failures_share
from sequifier_hpo.report.leaderboard import Progress
from sequifier_hpo.searchspace import compile_space
from tests.conftest import WriteSearch
from tests.report.conftest import MakeRun, make_run

__all__ = ["make_run"]

UNDISTURBED = SearchEnd(stopped_by=None, gave_up_after=())
VARYING = ("learning_rate", "epochs", "dropout")


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


def failures(*reasons: str) -> list[Failure]:
    return [Failure(number, reason) for number, reason in enumerate(reasons)]


@pytest.fixture
def half_absurd(make_run: MakeRun) -> list[Run]:
    """A study in which all runs with a learning rate of 1e30 failed, and no other."""
    schedules = [{"learning_rate": 1e30, "epochs": 8}, {"learning_rate": 0.001, "epochs": 12}]
    return [
        make_run(
            number,
            0.5 if number % 2 else None,
            point={"training_schedule": schedules[number % 2], "dropout": (0.0, 0.1)[number // 8]},
        )
        for number in range(16)
    ]


def test_a_search_that_gave_up_names_the_values_that_its_failures_share(
    half_absurd: list[Run],
) -> None:
    text = why_it_gave_up(
        [Failure(number, "bad") for number in range(0, 10, 2)], half_absurd, VARYING
    )

    lines = text.splitlines()
    assert lines[1] == "    8 of 8 failed at learning_rate=1e+30, epochs=8 (0 of 8 elsewhere)"
    assert len(lines) == 3


def test_a_search_without_a_success_names_the_values_that_its_failures_share(
    half_absurd: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [run for run in half_absurd if run.validation_loss is None]
    after = Progress(8, 0, 8, 0, 0, 0, 0, None)

    assert exit_code("--config-path s.yaml", UNDISTURBED, after, runs, VARYING) == 4
    shared = "8 of 8 failed at learning_rate=1e+30, epochs=8 (no run had another value)"
    assert f"    {shared}\n" in capsys.readouterr().err


def test_a_check_without_a_success_names_the_values_that_its_failures_share(
    half_absurd: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    trained = [run for run in half_absurd if run.validation_loss is None]

    assert exit_code_of_check(UNDISTURBED, [], trained, VARYING) == 4
    assert "    8 of 8 failed at learning_rate=1e+30" in capsys.readouterr().err


def test_a_value_that_no_run_can_have_otherwise_explains_no_failure(
    half_absurd: list[Run],
) -> None:
    runs = [run for run in half_absurd if run.validation_loss is None]

    assert what_failures_share(runs, {run.trial_number for run in runs}, {"dropout"}) == []


def test_what_nearly_all_runs_have_explains_no_failure(make_run: MakeRun) -> None:
    runs = [
        make_run(i, None if i < 3 else 1.0, point={"dropout": 0.1 if i < 38 else 0.2})
        for i in range(40)
    ]

    assert what_failures_share(runs, {0, 1, 2}, {"dropout"}) == []


def test_a_field_varies_if_two_cells_have_it_otherwise(write_search: WriteSearch) -> None:
    file = write_search(
        {
            "training_hyperparameter_sampling.optimizer": [
                {"name": "AdamW", "weight_decay": 0.01},
                {"name": "AdEMAMix", "weight_decay": 0.01},
            ],
            "training_hyperparameter_sampling.dropout": [0.0, 0.1],
            "training_hyperparameter_sampling.batch_size": [32],
        }
    )

    varying = compile_space(load_search(file).config).varying_fields

    assert varying >= {"optimizer", "dropout"}
    assert not varying & {"optimizer.weight_decay", "batch_size"}


def test_failures_are_followed_by_the_way_to_their_reasons() -> None:
    assert "sequifier-hpo status --config-path s.yaml    # why did runs fail?" in _words(6, 2)
    assert "why did runs fail" not in _words(8, 0)


def test_reasons_that_differ_in_the_number_of_the_run_are_one_reason() -> None:
    reasons = [f"cannot write models/shop-run-{k}-best-4.onnx: Read-only" for k in range(5)]

    text = why_it_gave_up(failures(*reasons), [], ())

    assert f"5 runs in a row failed, all of them with: {reasons[0]}" in text


def test_the_most_frequent_of_several_reasons_is_told() -> None:
    text = why_it_gave_up(failures("lost in epoch 3", "no room", "lost in epoch 1"), [], ())

    assert "3 runs in a row failed, 2 of them with: lost in epoch 3" in text
    assert "--retry-failed" in text


@pytest.mark.parametrize(("num_complete", "expected"), [(7, 130), (8, 0)])
def test_a_stop_after_the_last_result_has_stopped_nothing(
    num_complete: int, expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    after = Progress(8, num_complete, 0, 0, 8 - num_complete, 0, 0, None)
    end = SearchEnd(stopped_by=signal.SIGINT, gave_up_after=())

    assert exit_code("--config-path s.yaml", end, after, [], ()) == expected
    assert ("resume with" in capsys.readouterr().err) == (expected != 0)
