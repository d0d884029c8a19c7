from dataclasses import replace

from sequifier_hpo.report.leaderboard import ALL_POSITIONS, results_csv
from tests.report.conftest import MakeData, MakeRun


def test_runs_that_were_begun_count_also_when_fewer_are_wanted_now(make_data: MakeData) -> None:
    data = replace(make_data(3), num_runs=2)

    assert (data.progress.num_complete, data.progress.num_runs) == (3, 3)


def test_the_loss_over_all_positions_is_the_last_column_where_a_study_has_it(
    make_run: MakeRun,
) -> None:
    usual = [make_run(0, 0.5), make_run(1, 0.25)]
    counted = [make_run(2, 0.75, attributes={ALL_POSITIONS: 1.5}), make_run(3)]

    without, with_it = (
        [line.split(",") for line in results_csv("shop", runs).splitlines()]
        for runs in (usual, [*usual, *counted])
    )

    assert without[0][-1] == "model_name"
    assert with_it[0] == [*without[0], "validation_loss_all_positions"]
    assert [row[-1] for row in with_it[1:]] == ["", "", "1.5", ""]
