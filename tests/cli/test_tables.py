"""What tables and lines on the terminal say about losses."""

import pytest

from sequifier_hpo.cli.tables import baseline_lines, leaderboard_table, what_the_best_share
from sequifier_hpo.records import Baseline, Run, RunState

BASELINES = (
    Baseline(name="class frequencies", loss=1.5),
    Baseline(name="the last value", loss=0.75),
)


@pytest.mark.parametrize("columns", [60, 200])
def test_the_leaderboard_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    measured = {"best_epoch": 12, "num_parameters": 1_234_567, "seconds": 1234.5}
    run = Run(11, 11, RunState.COMPLETE, 0.123456, {}, {}, measured, "", None, None, None, 1)

    lines = leaderboard_table([run]).splitlines()

    assert max(len(line) for line in lines) <= min(columns, 100)
    assert lines[-2].split() == ["1", "11", "0.123456", "12", "1,234,567", "1,234.5"]


def test_no_number_is_cut_off_where_the_terminal_is_too_narrow_for_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    run = Run(11, 11, RunState.COMPLETE, 0.123456, {}, {}, {}, "", None, None, None, 1)

    assert leaderboard_table([run]).splitlines()[-2].split() == ["1", "11", "0.123456"]


def test_the_losses_of_trivial_predictors_are_named() -> None:
    assert baseline_lines(0.5, BASELINES) == [
        "trivial predictor, class frequencies: 1.5",
        "trivial predictor, the last value: 0.75",
    ]


@pytest.mark.parametrize("loss", [0.75, 0.8, 2.0])
def test_a_best_run_that_is_no_better_than_a_trivial_predictor_is_called_so(loss: float) -> None:
    assert (
        "no run beats the trivial predictor (the last value)"
        in (baseline_lines(loss, BASELINES)[-1])
    )


def test_without_known_baselines_nothing_is_said() -> None:
    assert baseline_lines(1.0, ()) == []


def test_the_loss_over_all_positions_is_shown_beside_the_one_that_counts() -> None:
    counted = {"validation_loss_all_positions": 0.75}
    runs = [
        Run(number, number, RunState.COMPLETE, 0.5, {}, {}, attributes, "", None, None, None, 1)
        for number, attributes in enumerate((counted, {}))
    ]

    shown, usual = leaderboard_table(runs), leaderboard_table(runs[1:])

    assert "all positions" in shown
    assert [line.split()[2:] for line in shown.splitlines()[-3:-1]] == [
        ["0.500000", "0.750000"],
        ["0.500000"],
    ]
    assert "all positions" not in usual


def runs_with_parameters(number: int) -> list[Run]:
    """Runs that all have their own learning rate; the best half share an optimizer."""
    return [
        Run(
            i,
            i,
            RunState.COMPLETE,
            i / 10,
            {"optimizer": f"{2 * i // number}: {'AB'[2 * i // number]}", "rate": 0.1 + i},
            {},
            {},
            "",
            None,
            None,
            None,
            1,
        )
        for i in range(number)
    ]


def test_the_leaderboard_has_the_parameters_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {}
    for columns in (70, 85, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        table = leaderboard_table(runs_with_parameters(8))
        shown[columns] = [name for name in ("optimizer", "rate") if name in table.splitlines()[1]]
        assert all(len(line) <= columns for line in table.splitlines())

    assert shown[70] != shown[120]
    assert shown[120] == ["optimizer", "rate"]
    assert "3.1" in leaderboard_table(runs_with_parameters(8))


def test_what_the_best_share_is_said_where_others_lack_it() -> None:
    assert what_the_best_share(runs_with_parameters(8)) == "the best 4 share optimizer=A\n"
    assert what_the_best_share(runs_with_parameters(40)) == "the best 10 share optimizer=A\n"
    assert what_the_best_share(runs_with_parameters(4)) == "", "of two, chance decides"
    assert what_the_best_share(runs_with_parameters(8)[:4]) == "", "all have it"
